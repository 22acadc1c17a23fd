//! Escaping, both languages side by side, and numbers with their units.

use super::data::Unit;
use std::fmt::Write as _;
use yundu_estate::text::Text;

/// Text for an element or a quoted attribute.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            // Control characters have no place on a page, and some end a line for a reader only.
            c if c.is_control() && c != '\n' && c != '\t' => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

/// A statement in both languages; the page shows one of them.
pub fn both(text: &Text) -> String {
    tr(&text.zh, &text.en)
}

/// As [`both`], from two strings.
pub fn tr(zh: &str, en: &str) -> String {
    if zh == en {
        return marked(zh);
    }
    format!(
        "<span lang=zh>{}</span><span lang=en>{}</span>",
        marked(zh),
        marked(en)
    )
}

/// Escaped, with what stands between back-ticks set as code: command lines in reasons and remedies.
fn marked(text: &str) -> String {
    let mut html = String::new();
    let pieces: Vec<&str> = text.split('`').collect();
    let last = pieces.len().saturating_sub(1);
    for (index, piece) in pieces.iter().enumerate() {
        match index % 2 {
            1 if index < last => {
                let _ = write!(html, "<code>{}</code>", escape(piece));
            }
            // A back-tick without its partner is shown as it is.
            1 => {
                let _ = write!(html, "`{}", escape(piece));
            }
            _ => html.push_str(&escape(piece)),
        }
    }
    html
}

/// A digest, short to read and whole in its title.
pub fn digest(text: &str) -> String {
    match text.get(..16) {
        Some(head) if text.len() > 20 => {
            format!("<code title=\"{}\">{}…</code>", escape(text), escape(head))
        }
        _ => format!("<code>{}</code>", escape(text)),
    }
}

/// A number with its unit, as both languages write it.
pub fn quantity(value: i64, unit: Unit) -> (String, &'static str) {
    let decimal = |value: i64, unit: i64| {
        let tenths = value.saturating_mul(10).saturating_add(unit / 2) / unit;
        match tenths % 10 {
            0 => format!("{}", tenths / 10),
            part => format!("{}.{}", tenths / 10, part.abs()),
        }
    };
    match unit {
        Unit::Count => (grouped(value), ""),
        Unit::Microseconds if value < 1_000 => (value.to_string(), "µs"),
        Unit::Microseconds if value < 1_000_000 => (decimal(value, 1_000), "ms"),
        Unit::Microseconds if value < 10_000_000 && value % 1_000_000 != 0 => {
            let hundredths = value.saturating_add(5_000) / 10_000;
            (format!("{}.{:02}", hundredths / 100, hundredths % 100), "s")
        }
        Unit::Microseconds if value < 120_000_000 => (decimal(value, 1_000_000), "s"),
        Unit::Microseconds if value < 7_200_000_000 => (decimal(value, 60_000_000), "min"),
        Unit::Microseconds => (decimal(value, 3_600_000_000), "h"),
        Unit::Bytes if value < 1 << 10 => (value.to_string(), "B"),
        Unit::Bytes if value < 1 << 20 => (decimal(value, 1 << 10), "KiB"),
        Unit::Bytes if value < 1 << 30 => (decimal(value, 1 << 20), "MiB"),
        Unit::Bytes => (decimal(value, 1 << 30), "GiB"),
        Unit::Milli => {
            let hundredths = value.saturating_add(5) / 10;
            (
                format!("{}.{:02}", hundredths / 100, (hundredths % 100).abs()),
                "×",
            )
        }
    }
}

/// [`quantity`] on one line.
pub fn quantity_text(value: i64, unit: Unit) -> String {
    match quantity(value, unit) {
        (number, "") => number,
        (number, "×") => format!("{number}×"),
        (number, unit) => format!("{number} {unit}"),
    }
}

fn grouped(value: i64) -> String {
    let digits = value.unsigned_abs().to_string();
    let mut text = String::new();
    if value < 0 {
        text.push('-');
    }
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// `2026-11-22 17:00:05 UTC`.
pub fn time(at_us: i64) -> String {
    match jiff::Timestamp::from_microsecond(at_us) {
        Ok(time) => time.strftime("%Y-%m-%d %H:%M:%S UTC").to_string(),
        Err(_) => format!("{at_us} µs"),
    }
}

/// `17:00:05.120`, for rows of one day.
pub fn clock(at_us: i64) -> String {
    match jiff::Timestamp::from_microsecond(at_us) {
        Ok(time) => time.strftime("%H:%M:%S%.3f").to_string(),
        Err(_) => format!("{at_us} µs"),
    }
}

/// Appends a table: head cells and rows are ready-made HTML. Wide tables scroll by themselves.
pub fn table(page: &mut String, head: &[String], rows: &[Vec<String>]) {
    page.push_str("<div class=scroll><table><thead><tr>");
    for cell in head {
        let _ = write!(page, "<th scope=col>{cell}</th>");
    }
    page.push_str("</tr></thead><tbody>");
    for row in rows {
        page.push_str("<tr>");
        for cell in row {
            let _ = write!(page, "<td>{cell}</td>");
        }
        page.push_str("</tr>");
    }
    page.push_str("</tbody></table></div>");
}

/// Opens a section with its number, for the eye and for links.
pub fn section(page: &mut String, id: &str, zh: &str, en: &str) {
    let _ = write!(page, "<section id={id}><h2>{}</h2>", tr(zh, en));
}
