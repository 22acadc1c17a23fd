//! The hands of the story: it runs the ordinary commands of this program, shows each command line
//! and what it prints.

use super::teller::Teller;
use crate::demo::process::Process;
use crate::demo::resources::{Resource, Resources};
use crate::demo::stage::Stage;
use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};
use yundu_estate::text::Lang;

const TICK: Duration = Duration::from_millis(120);
/// A command of the story that takes longer than this is broken.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(600);

/// Exit code of a command that a gate refuses.
pub const REFUSED: i32 = 3;

/// Which lines of a command's output are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lines {
    /// At most this many, as they come.
    First(usize),
    /// At most this many, from its end.
    Last(usize),
    /// None.
    None,
}

/// What a command said.
#[derive(Clone, Debug, Default)]
pub struct Said {
    /// Exit code.
    pub code: i32,
    /// What it printed, both streams, in order of arrival.
    pub lines: Vec<String>,
}

/// Runs the commands.
#[derive(Debug)]
pub struct Shell {
    program: PathBuf,
    workspace: PathBuf,
    dir: PathBuf,
    lang: Lang,
    resources: Resources,
    names_dir: PathBuf,
}

impl Shell {
    /// Commands in the workspace of the demo.
    pub fn new(stage: &Stage, lang: Lang) -> Self {
        Self {
            program: stage.program.clone(),
            workspace: stage.dir.join("workspace"),
            dir: stage.dir.clone(),
            lang,
            resources: stage.resources(),
            names_dir: stage.names_dir(),
        }
    }

    /// The workspace.
    pub fn workspace(&self) -> &std::path::Path {
        &self.workspace
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(words)
            .current_dir(&self.dir)
            .env("YUNDU_WORKSPACE", &self.workspace)
            .env(
                "YUNDU_LANG",
                if self.lang == Lang::Zh { "zh" } else { "en" },
            )
            .env("YUNDU_RUNTIME_DIR", &self.names_dir)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Shows and runs `yundu WORDS` and the lines of its output that `shown` names.
    ///
    /// # Errors
    /// When it cannot be started or does not end.
    pub fn tell(&self, teller: &mut Teller, words: &[&str], shown: Lines) -> Result<Said> {
        teller.command(&self.spell(words));
        let began = Instant::now();
        let mut child = self
            .command(words)
            .spawn()
            .context("cannot start the own program")?;
        // On record while it runs: a demo that is killed leaves no command running behind it.
        let record = Process::observe(child.id()).map(|process| Resource::Process {
            name: "command".to_owned(),
            process,
        });
        record
            .iter()
            .try_for_each(|resource| self.resources.record(resource))?;
        let lines = merge(child.stdout.take(), child.stderr.take());
        let mut said = Said::default();
        loop {
            match lines.recv_timeout(TICK) {
                Ok(line) => {
                    if matches!(shown, Lines::First(most) if said.lines.len() < most) {
                        teller.output(&line);
                    }
                    said.lines.push(line);
                }
                Err(RecvTimeoutError::Timeout) if began.elapsed() > COMMAND_TIMEOUT => {
                    let _ = child.kill();
                    bail!("`yundu {}` does not end", words.join(" "));
                }
                Err(RecvTimeoutError::Timeout) => teller.waiting(began),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        said.code = child.wait()?.code().unwrap_or(-1);
        record
            .iter()
            .try_for_each(|resource| self.resources.release(resource))?;
        let count = said.lines.len();
        match shown {
            Lines::First(most) if count > most => {
                let text = format!("… {} {}", count - most, teller.tr("行未显示", "more lines"));
                teller.output(&text);
            }
            Lines::Last(most) => {
                let hidden = count.saturating_sub(most);
                if hidden > 0 {
                    let text = format!("… {hidden} {}", teller.tr("行在前", "lines before"));
                    teller.output(&text);
                }
                for line in said.lines.iter().skip(hidden) {
                    teller.output(line);
                }
            }
            Lines::First(_) | Lines::None => {}
        }
        Ok(said)
    }

    /// [`Shell::tell`] for a command that must succeed.
    ///
    /// # Errors
    /// With its last line, when it does not.
    pub fn done(&self, teller: &mut Teller, words: &[&str], shown: Lines) -> Result<Said> {
        let said = self.tell(teller, words, shown)?;
        if said.code != 0 {
            let last = said.lines.last().cloned().unwrap_or_default();
            bail!(
                "`yundu {}` ended with exit code {}: {last}",
                words.join(" "),
                said.code
            );
        }
        Ok(said)
    }

    /// Runs `yundu WORDS --json` without showing it and returns what it prints, whatever its
    /// exit code.
    ///
    /// # Errors
    /// When it prints no JSON.
    pub fn ask(&self, words: &[&str]) -> Result<(i32, Value)> {
        let mut with_json = words.to_vec();
        with_json.push("--json");
        let output = self
            .command(&with_json)
            .output()
            .context("cannot start the own program")?;
        let value = serde_json::from_slice(&output.stdout).with_context(|| {
            format!(
                "`yundu {}`: {}",
                words.join(" "),
                String::from_utf8_lossy(&output.stderr).trim()
            )
        })?;
        Ok((output.status.code().unwrap_or(-1), value))
    }

    /// The command line as a person types it: paths inside the demo's directory are shortened.
    fn spell(&self, words: &[&str]) -> String {
        let dir = format!("{}/", self.dir.display());
        let shown = words.iter().map(|word| {
            let word = word.replace(&dir, "");
            if word.contains([' ', '*']) || word.is_empty() {
                format!("'{word}'")
            } else {
                word
            }
        });
        std::iter::once("yundu".to_owned())
            .chain(shown)
            .collect::<Vec<_>>()
            .join(" ")
    }
}

/// Lines of both streams in order of arrival.
fn merge(
    stdout: Option<impl Read + Send + 'static>,
    stderr: Option<impl Read + Send + 'static>,
) -> Receiver<String> {
    let (sender, receiver) = channel();
    forward(stdout, sender.clone());
    forward(stderr, sender);
    receiver
}

fn forward(stream: Option<impl Read + Send + 'static>, sender: Sender<String>) {
    let Some(stream) = stream else { return };
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
}
