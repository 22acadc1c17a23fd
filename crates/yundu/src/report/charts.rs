//! Time line of the steps and the workload second by second. The drawings are SVG stretched to
//! the width of the page; words stand beside or over them as HTML, so that they stay readable on
//! a telephone and on paper.

use super::data::{Incident, IncidentKind, ReportData, Sample, Unit};
use super::html::{both, clock, escape, quantity_text, section, tr};
use std::fmt::Write as _;

/// Most points that one line of a chart is drawn with; longer series are drawn by their extremes.
const POINTS_MAX: usize = 720;

/// The stretch of time that a chart shows.
#[derive(Clone, Copy)]
struct Span {
    from_us: i64,
    until_us: i64,
}

impl Span {
    /// Position in thousandths of the width.
    fn x(self, at_us: i64) -> i64 {
        let width = i128::from(self.until_us.saturating_sub(self.from_us).max(1));
        let at = i128::from(at_us.saturating_sub(self.from_us));
        i64::try_from((at * 1_000 / width).clamp(0, 1_000)).unwrap_or(0)
    }
}

/// Percent with one decimal, for CSS.
fn percent(x: i64) -> String {
    format!("{}.{}%", x / 10, x % 10)
}

/// Steps, planned and actual, with faults and changes as bands behind them.
pub fn timeline(page: &mut String, data: &ReportData) {
    let begins = data.steps.iter().filter_map(|step| step.started_at_us);
    let ends = data
        .steps
        .iter()
        .filter_map(|step| step.ended_at_us.or(step.started_at_us));
    let (Some(from_us), Some(until_us)) = (begins.min(), ends.max()) else {
        return;
    };
    let span = Span { from_us, until_us };
    section(page, "timeline", "时间线", "Timeline");
    page.push_str("<p class=legend><i class=k-plan></i>");
    page.push_str(&tr("计划", "planned"));
    page.push_str("<i class=k-done></i>");
    page.push_str(&tr("实际", "actual"));
    page.push_str("<i class=k-fault></i>");
    page.push_str(&tr("故障注入", "fault"));
    page.push_str("<i class=k-change></i>");
    page.push_str(&tr("切换", "change"));
    page.push_str("</p><div class=timeline>");
    let mut bands = String::new();
    for incident in &data.incidents {
        band(&mut bands, span, incident, 28);
    }
    for step in &data.steps {
        let _ = write!(page, "<div class=step><span>{}</span>", both(&step.title));
        let who = match (step.operator.as_str(), step.checker.as_str()) {
            (operator, "") => escape(operator),
            (operator, checker) => format!("{} ✓ {}", escape(operator), escape(checker)),
        };
        let _ = write!(page, "<small>{who}</small></div>");
        page.push_str("<svg viewBox='0 0 1000 28' preserveAspectRatio=none aria-hidden=true>");
        page.push_str(&bands);
        let mut spent = tr("未开始", "not begun");
        if let Some(begin) = step.started_at_us {
            let left = span.x(begin);
            let right = span.x(begin.saturating_add(step.planned_us));
            if step.planned_us > 0 {
                let width = (right - left).max(3);
                let _ = write!(
                    page,
                    "<rect class=plan x={left} y=6 width={width} height=16 />"
                );
            }
            let end = step.ended_at_us.unwrap_or(until_us);
            let width = (span.x(end) - left).max(3);
            let class = match step.state.as_str() {
                "done" | "rolled-back" => "done",
                "failed" => "failed",
                _ => "open",
            };
            let _ = write!(
                page,
                "<rect class={class} x={left} y=10 width={width} height=8 />"
            );
            spent = escape(&quantity_text(
                end.saturating_sub(begin),
                Unit::Microseconds,
            ));
        }
        let _ = write!(page, "</svg><span class=spent>{spent}</span>");
    }
    page.push_str("<span class=gap></span>");
    axis(page, span);
    page.push_str("<span></span></div>");
    incidents(page, data);
    page.push_str("</section>");
}

fn band(drawing: &mut String, span: Span, incident: &Incident, height: i64) {
    let left = span.x(incident.from_us);
    let width = (span.x(incident.until_us) - left).max(2);
    let class = match incident.kind {
        IncidentKind::Fault => "fault",
        IncidentKind::Change => "change",
    };
    let _ = write!(
        drawing,
        "<rect class={class} x={left} y=0 width={width} height={height} />"
    );
}

fn axis(page: &mut String, span: Span) {
    let length_us = span.until_us.saturating_sub(span.from_us).max(1);
    let steps_s = [
        1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1_800, 3_600, 7_200, 21_600, 86_400,
    ];
    let step_us = steps_s
        .iter()
        .map(|seconds| seconds * 1_000_000)
        .find(|step_us| length_us / step_us <= 8)
        .unwrap_or(length_us / 4 + 1);
    page.push_str("<div class=axis>");
    let mut offset_us = 0;
    while offset_us <= length_us {
        let (minutes, seconds) = (offset_us / 60_000_000, offset_us / 1_000_000 % 60);
        let x = percent(span.x(span.from_us + offset_us));
        let _ = write!(page, "<span style='left:{x}'>{minutes}:{seconds:02}</span>");
        offset_us += step_us;
    }
    page.push_str("</div>");
}

fn incidents(page: &mut String, data: &ReportData) {
    if data.incidents.is_empty() {
        return;
    }
    page.push_str("<ol class=incidents>");
    for incident in &data.incidents {
        let class = match incident.kind {
            IncidentKind::Fault => "k-fault",
            IncidentKind::Change => "k-change",
        };
        let lasted = incident.until_us.saturating_sub(incident.from_us);
        let lasted = match lasted {
            0 => String::new(),
            us => format!(" · {}", escape(&quantity_text(us, Unit::Microseconds))),
        };
        let _ = write!(
            page,
            "<li><i class={class}></i><time>{}</time> {}{lasted}</li>",
            clock(incident.from_us),
            both(&incident.title)
        );
    }
    page.push_str("</ol>");
}

/// Acknowledged transactions per second and the longest wait in each second.
pub fn workload(page: &mut String, data: &ReportData) {
    let (Some(first), Some(last)) = (data.samples.first(), data.samples.last()) else {
        return;
    };
    let span = Span {
        from_us: first.at_us,
        until_us: last.at_us.saturating_add(1_000_000),
    };
    section(page, "workload", "业务负载", "Workload");
    page.push_str("<p class=lead>");
    page.push_str(&tr(
        "由卷之外的驱动程序逐秒记录；阴影是故障与切换。",
        "Recorded every second by the driver outside the volume; bands are faults and changes.",
    ));
    page.push_str("</p>");
    let rate = |sample: &Sample| sample.transactions;
    let wait = |sample: &Sample| sample.latency_us_max;
    let most = data.samples.iter().map(rate).max().unwrap_or(0);
    let longest = data.samples.iter().map(wait).max().unwrap_or(0);
    chart(
        page,
        data,
        span,
        "rate",
        &rate,
        (
            tr("每秒确认的交易", "acknowledged transactions per second"),
            count(most),
        ),
    );
    let longest_text = quantity_text(signed(longest), Unit::Microseconds);
    chart(
        page,
        data,
        span,
        "wait",
        &wait,
        (
            tr("每秒最长等待", "longest wait in each second"),
            longest_text,
        ),
    );
    page.push_str("<div class=chart>");
    axis(page, span);
    page.push_str("</div></section>");
}

fn chart(
    page: &mut String,
    data: &ReportData,
    span: Span,
    class: &str,
    value: &dyn Fn(&Sample) -> u64,
    (title, top): (String, String),
) {
    let highest = data.samples.iter().map(value).max().unwrap_or(0).max(1);
    let _ = write!(
        page,
        "<figure class=chart><figcaption>{title}<b>{}</b></figcaption>",
        escape(&top)
    );
    page.push_str("<svg viewBox='0 0 1000 120' preserveAspectRatio=none role=img>");
    for incident in &data.incidents {
        band(page, span, incident, 120);
    }
    page.push_str("<path class=grid d='M0 30H1000M0 60H1000M0 90H1000M0 119.5H1000' />");
    let mut line = String::new();
    let per_point = data.samples.len().div_ceil(POINTS_MAX).max(1);
    for group in data.samples.chunks(per_point) {
        // Both extremes of a group are drawn: neither a stall nor an outage is averaged away.
        let Some(at) = group.first() else { continue };
        let low = group.iter().map(value).min().unwrap_or(0);
        let high = group.iter().map(value).max().unwrap_or(0);
        for point in if low == high {
            vec![low]
        } else {
            vec![low, high]
        } {
            let y = 118 - i64::try_from(u128::from(point) * 114 / u128::from(highest)).unwrap_or(0);
            let command = if line.is_empty() { 'M' } else { 'L' };
            let _ = write!(
                line,
                "{command}{} {y}",
                span.x(at.at_us.saturating_add(500_000))
            );
        }
    }
    let ends = (data.samples.first(), data.samples.last());
    if let (Some(first), Some(last)) = ends {
        let left = span.x(first.at_us.saturating_add(500_000));
        let right = span.x(last.at_us.saturating_add(500_000));
        let _ = write!(
            page,
            "<path class='area {class}' d='{line}L{right} 120L{left} 120Z' />"
        );
    }
    let _ = write!(
        page,
        "<path class='line {class}' d='{line}' /></svg></figure>"
    );
}

fn count(value: u64) -> String {
    quantity_text(signed(value), Unit::Count)
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
