//! An external program that edits texts.

use std::io::{self, Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use wmdetect::shell::OneLine;

/// The longest text that a program may write.
const MOST: u64 = 16 << 20;
/// Number of bytes of a program's standard error that are kept.
const COMPLAINT: u64 = 64 << 10;
/// Number of characters of that that are shown.
const SHOWN: usize = 200;
/// Time between two looks at a running program.
const BETWEEN: Duration = Duration::from_millis(50);

/// A program that reads a text on standard input and writes the edited text to standard output.
#[derive(Clone, Debug)]
pub(super) struct Program {
    pub name: String,
    /// The program and its arguments, at least the first.
    pub command: Vec<String>,
    /// How long the program may take for a text.
    pub timeout: Duration,
}

/// Why a program did not edit a text.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProgramError {
    #[error("program {name}: cannot run {program:?}: {source}; expected a program and its arguments")]
    Start { name: String, program: String, source: io::Error },
    #[error("program {name}: expected the exit status 0, found {status}{complaint}")]
    Status { name: String, status: ExitStatus, complaint: String },
    #[error("program {name}: expected an answer within {} s, found none; --program-timeout gives it longer", .limit.as_secs())]
    Late { name: String, limit: Duration },
    #[error("program {name}: expected a text in UTF-8, found that byte {at} is not")]
    NotUtf8 { name: String, at: usize },
    #[error("program {name}: expected a text, found nothing{complaint}")]
    Nothing { name: String, complaint: String },
    #[error("program {name}: expected a text of at most 16 MiB, found more")]
    Long { name: String },
    /// The run was asked to stop while the program ran.
    #[error("program {name}: stopped")]
    Stopped { name: String },
}

impl Program {
    /// Edits a text. The variable `WMDETECT_SEED` has a number below 2^31, for programs that draw random numbers.
    ///
    /// A line end is added after the text, for programs that read lines. A line end after the answer is removed.
    ///
    /// # Errors
    /// Returns an error if the program cannot be run, ends with a status other than 0, takes too long, or does not
    /// write text.
    pub(super) fn edit(&self, text: &str, seed: u64, stop: &AtomicBool) -> Result<String, ProgramError> {
        let name = || self.name.clone();
        let mut command = Command::new(&self.command[0]);
        command.args(&self.command[1..]).env("WMDETECT_SEED", (seed >> 33).to_string());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // Ctrl-C must reach only this run, which ends its programs itself.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let start = |source| ProgramError::Start { name: name(), program: self.command[0].clone(), source };
        let mut child = command.spawn().map_err(start)?;
        let given_line_end = text.ends_with('\n');
        let line_end = if given_line_end { "" } else { "\n" };
        if let Some(mut input) = child.stdin.take() {
            let text = format!("{text}{line_end}");
            // A program that ends early is judged by its status.
            thread::spawn(move || input.write_all(text.as_bytes()));
        }
        let output = read(child.stdout.take(), MOST + 1);
        let complaint = read(child.stderr.take(), COMPLAINT);
        let (status, output) = match self.wait(&mut child, &output, stop) {
            Ok(found) => found,
            Err(error) => {
                kill(&mut child);
                return Err(error);
            }
        };
        let complaint = || last_line(&complaint.recv_timeout(BETWEEN).unwrap_or_default());
        if !status.success() {
            return Err(ProgramError::Status { name: name(), status, complaint: complaint() });
        }
        let mut edited = String::from_utf8(output)
            .map_err(|error| ProgramError::NotUtf8 { name: name(), at: error.utf8_error().valid_up_to() })?;
        if !given_line_end && edited.ends_with('\n') {
            edited.truncate(edited.trim_end_matches(['\r', '\n']).len());
        }
        if edited.trim().is_empty() && !text.trim().is_empty() {
            return Err(ProgramError::Nothing { name: name(), complaint: complaint() });
        }
        Ok(edited)
    }

    /// Waits until the program has ended and its output is closed.
    fn wait(
        &self,
        child: &mut Child,
        receiver: &Receiver<Vec<u8>>,
        stop: &AtomicBool,
    ) -> Result<(ExitStatus, Vec<u8>), ProgramError> {
        let name = || self.name.clone();
        let deadline = Instant::now() + self.timeout;
        let (mut status, mut output) = (None, None);
        let mut wait = Duration::from_millis(1);
        loop {
            if output.is_none() {
                output = match receiver.recv_timeout(wait) {
                    Ok(bytes) if bytes.len() as u64 > MOST => {
                        return Err(ProgramError::Long { name: name() });
                    }
                    Ok(bytes) => Some(bytes),
                    Err(RecvTimeoutError::Timeout) => None,
                    Err(RecvTimeoutError::Disconnected) => Some(Vec::new()),
                };
            } else {
                thread::sleep(wait);
            }
            if status.is_none() {
                status = child.try_wait().map_err(|source| ProgramError::Start {
                    name: name(),
                    program: self.command[0].clone(),
                    source,
                })?;
            }
            match (status, output.take()) {
                (Some(status), Some(output)) => return Ok((status, output)),
                (_, unfinished) => output = unfinished,
            }
            if stop.load(Ordering::Relaxed) {
                return Err(ProgramError::Stopped { name: name() });
            }
            if Instant::now() >= deadline {
                return Err(ProgramError::Late { name: name(), limit: self.timeout });
            }
            wait = (2 * wait).min(BETWEEN);
        }
    }
}

/// Ends a program, and the programs that it started and that did not leave its group.
fn kill(child: &mut Child) {
    #[cfg(unix)]
    {
        use rustix::process::{Pid, Signal, kill_process_group};
        let _ = kill_process_group(Pid::from_child(child), Signal::KILL);
    }
    let _ = child.kill();
    let _ = child.wait();
}

/// Reads a stream to its end on another thread, and passes on its first bytes. A program whose output is not read would
/// wait.
fn read(stream: Option<impl Read + Send + 'static>, most: u64) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut stream) = stream {
            let _ = (&mut stream).take(most).read_to_end(&mut bytes);
            let full = bytes.len() as u64 >= most;
            if full {
                let _ = sender.send(bytes);
                let _ = io::copy(&mut stream, &mut io::sink());
                return;
            }
        }
        let _ = sender.send(bytes);
    });
    receiver
}

/// Returns the last line of a complaint with a colon before it. Returns an empty string if the complaint is empty.
fn last_line(complaint: &[u8]) -> String {
    let complaint = String::from_utf8_lossy(complaint);
    let Some(line) = complaint.lines().rfind(|line| !line.trim().is_empty()) else { return String::new() };
    let shown: String = line.trim().chars().take(SHOWN).collect();
    format!(": {}", OneLine(&shown))
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn edit(command: &[&str], text: &str, seconds: u64) -> Result<String, String> {
        let command = command.iter().map(ToString::to_string).collect();
        let program = Program { name: "p".into(), command, timeout: Duration::from_secs(seconds) };
        program.edit(text, u64::MAX, &AtomicBool::new(false)).map_err(|error| error.to_string())
    }

    #[test]
    fn a_program_edits_and_its_failures_name_it() {
        // More than a pipe holds.
        let long = "word ".repeat(100_000);
        assert_eq!(edit(&["cat"], &long, 60), Ok(long.clone()));
        assert_eq!(edit(&["cat"], "a\n", 60), Ok("a\n".into()));
        assert_eq!(edit(&["sh", "-c", "echo $WMDETECT_SEED"], "a", 60), Ok("2147483647".into()));
        // This program does not read its input.
        assert_eq!(edit(&["echo", "b"], &long, 60), Ok("b".into()));
        for (command, expected) in [
            (&["false"][..], "program p: expected the exit status 0, found exit status: 1"),
            (&["sh", "-c", "echo why >&2; exit 3"], "found exit status: 3: why"),
            (&["no-such-program"], "program p: cannot run \"no-such-program\": "),
            (&["printf", "a\\377"], "expected a text in UTF-8, found that byte 1 is not"),
            (&["true"], "program p: expected a text, found nothing"),
        ] {
            let error = edit(command, "text", 60).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_program_that_takes_too_long_is_ended_with_those_that_it_started() {
        let begun = Instant::now();
        let error = edit(&["sh", "-c", "sleep 100 | sleep 100"], "text", 1).unwrap_err();
        assert!(error.starts_with("program p: expected an answer within 1 s, found none"), "{error}");
        assert!(begun.elapsed() < Duration::from_secs(30));
        let program = Program { name: "p".into(), command: vec!["cat".into()], timeout: BETWEEN };
        let stopped = Program {
            command: vec!["sleep".into(), "100".into()],
            timeout: Duration::from_secs(1000),
            ..program
        };
        let error = stopped.edit("text", 0, &AtomicBool::new(true)).unwrap_err();
        assert!(matches!(error, ProgramError::Stopped { .. }), "{error}");
    }
}
