//! The voice of the story: chapters, sentences, commands and their output, progress. Coloured and
//! animated at a terminal, plain lines elsewhere.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};
use yundu_estate::text::Lang;

/// Progress is told at most this often where it cannot be animated.
const PLAIN_PROGRESS_PAUSE: Duration = Duration::from_secs(2);
const SPINNER: [char; 8] = ['⣷', '⣯', '⣟', '⡿', '⢿', '⣻', '⣽', '⣾'];
/// Longer lines are cut at a terminal, in characters.
const LINE_MAX: usize = 160;

/// The voice.
#[derive(Debug)]
pub struct Teller {
    lang: Lang,
    colour: bool,
    animated: bool,
    began: Instant,
    turn: usize,
    progress_shown: bool,
    progress_told: Option<(Instant, String)>,
}

impl Teller {
    /// A voice in `lang`, suited to where standard output goes.
    pub fn new(lang: Lang) -> Self {
        let animated = std::io::stdout().is_terminal();
        Self {
            lang,
            colour: animated && std::env::var_os("NO_COLOR").is_none(),
            animated,
            began: Instant::now(),
            turn: 0,
            progress_shown: false,
            progress_told: None,
        }
    }

    /// The language it speaks.
    pub fn lang(&self) -> Lang {
        self.lang
    }

    /// Chooses between the two languages.
    pub fn tr<'a>(&self, zh: &'a str, en: &'a str) -> &'a str {
        match self.lang {
            Lang::Zh => zh,
            Lang::En => en,
        }
    }

    /// The heading of a chapter.
    pub fn chapter(&mut self, number: usize, zh: &str, en: &str) {
        let title = self.tr(zh, en).to_owned();
        let at_s = self.began.elapsed().as_secs();
        let rule = "─".repeat(60_usize.saturating_sub(title.chars().count()));
        self.line("");
        let heading = format!("━━ {number}  {title} {rule} {at_s} s");
        self.line(&self.paint("1;36", &heading));
    }

    /// A sentence of the story.
    pub fn say(&mut self, zh: &str, en: &str) {
        let text = self.tr(zh, en).to_owned();
        self.line(&format!("  {text}"));
    }

    /// Something came out as it should.
    pub fn good(&mut self, zh: &str, en: &str) {
        let text = format!("  ✓ {}", self.tr(zh, en));
        self.line(&self.paint("32", &text));
    }

    /// Something was refused, as it should be.
    pub fn refused(&mut self, zh: &str, en: &str) {
        let text = format!("  ⛔ {}", self.tr(zh, en));
        self.line(&self.paint("33", &text));
    }

    /// A name and its value.
    pub fn row(&mut self, zh: &str, en: &str, value: &str) {
        let name = self.tr(zh, en);
        // A Chinese character is as wide as two Latin ones.
        let width: usize = name.chars().map(|c| if c.is_ascii() { 1 } else { 2 }).sum();
        let gap = " ".repeat(38_usize.saturating_sub(width));
        let text = format!("  {name}{gap}{}", self.paint("1", value));
        self.line(&text);
    }

    /// A command line, so that readers learn it.
    pub fn command(&mut self, line: &str) {
        let text = format!("  $ {line}");
        self.line(&self.paint("1", &text));
    }

    /// One line that a command printed.
    pub fn output(&mut self, line: &str) {
        let cut: String = if self.animated && line.chars().count() > LINE_MAX {
            line.chars().take(LINE_MAX).chain(['…']).collect()
        } else {
            line.to_owned()
        };
        let text = format!("    {cut}");
        self.line(&self.paint("2", &text));
    }

    /// A command that began at `began` is still at work.
    pub fn waiting(&mut self, began: Instant) {
        if self.animated || began.elapsed() >= PLAIN_PROGRESS_PAUSE {
            self.progress(&format!("{} s", began.elapsed().as_secs()));
        }
    }

    /// Work under way; replaced by the next line.
    pub fn progress(&mut self, text: &str) {
        if self.animated {
            self.turn = self.turn.wrapping_add(1);
            let mark = SPINNER
                .get(self.turn % SPINNER.len())
                .copied()
                .unwrap_or('·');
            print!("\r\x1b[2K  {} {text}", self.paint("36", &mark.to_string()));
            let _ = std::io::stdout().flush();
            self.progress_shown = true;
            return;
        }
        let is_due = match &self.progress_told {
            Some((at, told)) => at.elapsed() >= PLAIN_PROGRESS_PAUSE && told != text,
            None => true,
        };
        if is_due {
            self.progress_told = Some((Instant::now(), text.to_owned()));
            println!("    · {text}");
        }
    }

    /// A line as it is.
    pub fn line(&mut self, text: &str) {
        if self.progress_shown {
            print!("\r\x1b[2K");
            self.progress_shown = false;
        }
        println!("{text}");
    }

    /// `text` in a colour (an SGR code) where colours are shown.
    pub fn paint(&self, code: &str, text: &str) -> String {
        if self.colour {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

/// Bytes for people: `205.6 MB`.
pub fn megabytes(bytes: u64) -> String {
    format!("{}.{} MB", bytes / 1_000_000, bytes % 1_000_000 / 100_000)
}

/// Microseconds for people: `1.23 s`, `12.3 ms`, `45 µs`.
pub fn span(us: i64) -> String {
    let us = us.max(0);
    if us >= 1_000_000 {
        format!("{}.{:02} s", us / 1_000_000, us % 1_000_000 / 10_000)
    } else if us >= 1000 {
        format!("{}.{} ms", us / 1000, us % 1000 / 100)
    } else {
        format!("{us} µs")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_readable() {
        assert_eq!(megabytes(205_635_584), "205.6 MB");
        assert_eq!(span(2_087_215), "2.08 s");
        assert_eq!(span(99_978), "99.9 ms");
        assert_eq!(span(45), "45 µs");
    }
}
