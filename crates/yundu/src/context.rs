//! What every command knows: where the workspace is, who reads the output, and how a failure
//! becomes an exit code.

use std::path::PathBuf;
use yundu_estate::text::Lang;

/// Settings that hold for every command.
#[derive(Clone, Debug)]
pub struct Context {
    /// Directory made by `yundu init`.
    pub workspace: PathBuf,
    /// Print machine-readable JSON instead of text.
    pub json: bool,
    /// Language of the text.
    pub lang: Lang,
}

impl Context {
    /// Prints `text` for a person, or `value` as one JSON document.
    pub fn print(&self, value: &impl serde::Serialize, text: impl FnOnce() -> String) -> Outcome {
        if self.json {
            let json =
                serde_json::to_string_pretty(value).map_err(|e| Failure::Environment(e.into()))?;
            write_line(&json)
        } else {
            write_line(&text())
        }
    }

    /// Chooses between the two languages.
    pub fn tr<'a>(&self, zh: &'a str, en: &'a str) -> &'a str {
        match self.lang {
            Lang::Zh => zh,
            Lang::En => en,
        }
    }
}

/// Writes to standard output. A reader that has seen enough (`| head`) is no failure.
fn write_line(text: &str) -> Outcome {
    use std::io::{ErrorKind, Write};
    match writeln!(std::io::stdout(), "{text}") {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::Environment(error.into()))
        }
        _ => Ok(()),
    }
}

/// What a command returns.
pub type Outcome = Result<(), Failure>;

/// Why a command ended without doing what was asked; decides the exit code.
#[derive(Debug)]
pub enum Failure {
    /// Exit code 2: the input is wrong; nothing was changed.
    BadInput(anyhow::Error),
    /// Exit code 3: a gate or an invariant refuses.
    Refused(anyhow::Error),
    /// Exit code 4: the machine does not give what is needed.
    Environment(anyhow::Error),
}

impl Failure {
    /// 2, 3 or 4.
    pub fn exit_code(&self) -> u8 {
        match self {
            Failure::BadInput(_) => 2,
            Failure::Refused(_) => 3,
            Failure::Environment(_) => 4,
        }
    }

    /// The error and its causes in one line; a cause that the error already tells is not told
    /// twice.
    pub fn message(&self) -> String {
        self.error().chain().fold(String::new(), |told, cause| {
            let cause = cause.to_string();
            if told.is_empty() {
                cause
            } else if told.contains(&cause) {
                told
            } else {
                format!("{told}: {cause}")
            }
        })
    }

    /// The cause.
    pub fn error(&self) -> &anyhow::Error {
        match self {
            Failure::BadInput(e) | Failure::Refused(e) | Failure::Environment(e) => e,
        }
    }
}

/// Shorthand for turning library errors into failures.
pub trait Classify<T> {
    /// The input is wrong.
    fn bad_input(self) -> Result<T, Failure>;
    /// A gate or an invariant refuses.
    fn refused(self) -> Result<T, Failure>;
    /// The machine does not give what is needed.
    fn environment(self) -> Result<T, Failure>;
}

impl<T, E: Into<anyhow::Error>> Classify<T> for Result<T, E> {
    fn bad_input(self) -> Result<T, Failure> {
        self.map_err(|e| Failure::BadInput(e.into()))
    }
    fn refused(self) -> Result<T, Failure> {
        self.map_err(|e| Failure::Refused(e.into()))
    }
    fn environment(self) -> Result<T, Failure> {
        self.map_err(|e| Failure::Environment(e.into()))
    }
}
