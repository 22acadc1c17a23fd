//! Why a file cannot be imported: the file, the place, what was expected and what was found.

use crate::text::{Lang, Text};
use serde::Serialize;

/// At most this many errors are kept for one file, so that a file of another kind altogether
/// does not answer with a million lines.
pub const IMPORT_ERRORS_MAX: usize = 200;

/// One place in one file that is not as it should be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct ImportError {
    /// The file.
    pub file: String,
    /// Line from 1; 0 for the file as a whole.
    pub line: u32,
    /// Column from 1, in characters; 0 for the whole line.
    pub column: u32,
    /// What should stand there.
    pub expected: Text,
    /// What stands there.
    pub found: Text,
}

/// Every error of a refused import; nothing was changed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("{}", self.render(Lang::En))]
pub struct ImportErrors {
    /// In the order of files and lines.
    pub errors: Vec<ImportError>,
}

/// Collects the errors of one file.
#[derive(Debug)]
pub(crate) struct Collector {
    file: String,
    errors: Vec<ImportError>,
}

// === impl ImportError ===

impl ImportError {
    /// One line for a person: `file:line:column: expected …, found …`.
    pub fn render(&self, lang: Lang) -> String {
        let place = match (self.line, self.column) {
            (0, _) => self.file.clone(),
            (line, 0) => format!("{}:{line}", self.file),
            (line, column) => format!("{}:{line}:{column}", self.file),
        };
        match lang {
            Lang::Zh => {
                // Chinese and Latin text are set apart by a blank.
                let apart = if self.expected.zh.starts_with(|it: char| it.is_ascii()) {
                    " "
                } else {
                    ""
                };
                format!(
                    "{place}：应为{apart}{}，实际为 {}",
                    self.expected.zh, self.found.zh
                )
            }
            Lang::En => format!(
                "{place}: expected {}, found {}",
                self.expected.en, self.found.en
            ),
        }
    }
}

// === impl ImportErrors ===

impl ImportErrors {
    /// All errors, one per line, ending with the statement that nothing was imported.
    pub fn render(&self, lang: Lang) -> String {
        let mut lines: Vec<String> = self.errors.iter().map(|error| error.render(lang)).collect();
        lines.push(match lang {
            Lang::Zh => format!("共 {} 处错误，未导入任何内容", self.errors.len()),
            Lang::En => format!("{} error(s), nothing was imported", self.errors.len()),
        });
        lines.join("\n")
    }
}

// === impl Collector ===

impl Collector {
    pub(crate) fn new(file: &str) -> Self {
        Self {
            file: file.to_owned(),
            errors: Vec::new(),
        }
    }

    pub(crate) fn push(&mut self, line: u32, column: u32, expected: Text, found: Text) {
        if self.errors.len() < IMPORT_ERRORS_MAX {
            self.errors.push(ImportError {
                file: self.file.clone(),
                line,
                column,
                expected,
                found,
            });
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.errors.is_empty()
    }

    pub(crate) fn into_errors(mut self) -> ImportErrors {
        self.errors.sort_by_key(|error| (error.line, error.column));
        ImportErrors {
            errors: self.errors,
        }
    }
}

/// What reads the same in both languages: quoted input, numbers, messages of the system.
pub(crate) fn verbatim(text: impl Into<String>) -> Text {
    let text = text.into();
    Text::new(text.clone(), text)
}

/// Nothing stands there.
pub(crate) fn nothing() -> Text {
    Text::new("空缺", "nothing")
}

/// What should stand there once stands there again.
pub(crate) fn again() -> Text {
    Text::new("再次出现", "it again")
}

/// More than the limit.
pub(crate) fn more() -> Text {
    Text::new("更多", "more")
}

/// `text` in quotes and cut to a length that fits on a line.
pub(crate) fn quoted(text: &str) -> String {
    const SHOWN_CHARACTERS_MAX: usize = 60;
    let shown: String = text.chars().take(SHOWN_CHARACTERS_MAX).collect();
    let cut = if shown.len() < text.len() { "…" } else { "" };
    format!("`{}{cut}`", shown.escape_debug())
}
