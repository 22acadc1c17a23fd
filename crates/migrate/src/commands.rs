//! Running programs that a runbook names.

use std::future::Future;
use std::pin::Pin;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// Most that is kept of an output stream, bytes; the rest is read and dropped.
const OUTPUT_BYTES_MAX: usize = 64 * 1024;

/// What a program did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandOutput {
    /// Exit code; `None`: ended by a signal.
    pub code: Option<i32>,
    /// Its first 64 KiB.
    pub stdout: String,
    /// Its first 64 KiB.
    pub stderr: String,
}

/// Why a program did not run to its end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// It cannot be started.
    #[error("{program} cannot be started: {reason}")]
    Start {
        /// The program.
        program: String,
        /// Why.
        reason: String,
    },
    /// It took too long and was killed.
    #[error("{program} did not end within {timeout_s} s and was killed")]
    Timeout {
        /// The program.
        program: String,
        /// The limit.
        timeout_s: u64,
    },
}

/// Runs programs.
pub trait Commands: Send + Sync {
    /// Runs `argv` and waits for its end.
    fn run<'a>(
        &'a self,
        argv: &'a [String],
        timeout: Duration,
    ) -> Pin<Box<dyn Future<Output = Result<CommandOutput, CommandError>> + Send + 'a>>;
}

/// Runs programs on this machine, with no input.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemCommands;

// === impl CommandOutput ===

impl CommandOutput {
    /// Exit code 0.
    pub fn succeeded(&self) -> bool {
        self.code == Some(0)
    }

    /// The last lines of what it complained about, for people.
    pub fn complaint(&self) -> String {
        let text = if self.stderr.trim().is_empty() {
            &self.stdout
        } else {
            &self.stderr
        };
        let lines: Vec<&str> = text.trim().lines().collect();
        let tail = lines.len().saturating_sub(5);
        lines
            .get(tail..)
            .unwrap_or_default()
            .join("\n")
            .chars()
            .take(2000)
            .collect()
    }
}

// === impl SystemCommands ===

impl Commands for SystemCommands {
    fn run<'a>(
        &'a self,
        argv: &'a [String],
        timeout: Duration,
    ) -> Pin<Box<dyn Future<Output = Result<CommandOutput, CommandError>> + Send + 'a>> {
        Box::pin(run(argv, timeout))
    }
}

async fn run(argv: &[String], timeout: Duration) -> Result<CommandOutput, CommandError> {
    let program = argv.first().cloned().unwrap_or_default();
    let failed = |error: std::io::Error| CommandError::Start {
        program: program.clone(),
        reason: error.to_string(),
    };
    let mut child = tokio::process::Command::new(&program)
        .args(argv.iter().skip(1))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let work = async {
        // The end of the process counts, not that of its output: a daemon it left behind may
        // hold the pipes open for ever.
        let reading = async { tokio::join!(read_bounded(out), read_bounded(err)) };
        tokio::pin!(reading);
        tokio::select! {
            (stdout, stderr) = &mut reading => (child.wait().await, stdout, stderr),
            status = child.wait() => {
                let rest = tokio::time::timeout(Duration::from_millis(500), reading).await;
                let (stdout, stderr) = rest.unwrap_or_default();
                (status, stdout, stderr)
            }
        }
    };
    match tokio::time::timeout(timeout, work).await {
        Ok((status, stdout, stderr)) => Ok(CommandOutput {
            code: status.map_err(failed)?.code(),
            stdout,
            stderr,
        }),
        Err(_) => Err(CommandError::Timeout {
            program,
            timeout_s: timeout.as_secs(),
        }),
    }
}

async fn read_bounded(stream: Option<impl AsyncRead + Unpin>) -> String {
    let Some(mut stream) = stream else {
        return String::new();
    };
    let (mut kept, mut buffer) = (Vec::new(), [0_u8; 4096]);
    while let Ok(read) = stream.read(&mut buffer).await {
        if read == 0 {
            break;
        }
        let room = OUTPUT_BYTES_MAX.saturating_sub(kept.len()).min(read);
        kept.extend_from_slice(buffer.get(..room).unwrap_or_default());
    }
    String::from_utf8_lossy(&kept).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn argv(script: &str) -> Vec<String> {
        ["sh", "-c", script].map(str::to_owned).to_vec()
    }

    #[tokio::test]
    async fn code_and_output_come_back_bounded() {
        let output = SystemCommands
            .run(
                &argv("yes | head -c 1000000; echo oops >&2; exit 3"),
                Duration::from_secs(10),
            )
            .await
            .unwrap();
        assert_eq!(
            (output.code, output.stdout.len()),
            (Some(3), OUTPUT_BYTES_MAX)
        );
        assert_eq!(output.complaint(), "oops");
    }

    #[tokio::test]
    async fn a_program_that_hangs_is_killed() {
        let outcome = SystemCommands
            .run(&argv("sleep 30"), Duration::from_millis(100))
            .await;
        assert!(matches!(outcome, Err(CommandError::Timeout { .. })));
    }

    #[tokio::test]
    async fn a_daemon_left_behind_does_not_hold_us() {
        let begun = std::time::Instant::now();
        let output = SystemCommands
            .run(&argv("sleep 5 & echo done"), Duration::from_secs(4))
            .await
            .unwrap();
        assert!(output.succeeded());
        assert!(begun.elapsed() < Duration::from_secs(3));
    }
}
