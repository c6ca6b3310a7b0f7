//! Runs programs that a model wrote, to see whether they pass their tests.
//!
//! A program gets a process with limits on time, processor time, memory and file size. It has an empty directory, no
//! environment variables but `PATH`, and no input. What it writes is discarded. It can still read files and use the network;
//! use a container against that.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use wmdetect::shell::Hinted;

/// Script that starts a watchdog, sets the limits and becomes the interpreter. Sizes are in KiB, except for that of a file,
/// which is in blocks of 512 bytes. The watchdog ends the process group after the third argument's seconds, even if wmgen was
/// killed before.
const SHELL: &str = "( (sleep \"$3\" && kill -9 0) & ); \
     ulimit -c 0 && ulimit -t \"$1\" && ulimit -v \"$2\" && ulimit -f 32768 && exec \"$0\" -I program.py";
/// Time between two looks at a program.
const BETWEEN: Duration = Duration::from_millis(10);

/// Limits of a program.
#[derive(Clone, Debug)]
pub(super) struct Limits {
    pub interpreter: PathBuf,
    pub seconds: u64,
    pub mebibytes: u64,
}

/// Returns the absolute path of a program. A bare name is looked for in `PATH`. The path must be absolute because programs
/// run in another directory.
pub(super) fn found(program: &Path) -> Result<PathBuf> {
    let missing = |place: &str| {
        Hinted::new(
            format!("--interpreter: expected a program, {} not found{place}", program.display()),
            "--interpreter names Python 3, by name or by path",
        )
    };
    if program.components().count() > 1 || program.is_absolute() {
        let path = std::path::absolute(program).context("--interpreter")?;
        return if path.is_file() { Ok(path) } else { Err(missing("").into()) };
    }
    let directories = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&directories)
        .filter_map(|directory| std::path::absolute(directory.join(program)).ok())
        .find(|path| is_program(path))
        .ok_or_else(|| missing(" in PATH").into())
}

fn is_program(path: &Path) -> bool {
    #[cfg(unix)]
    let runs = |file: &std::fs::Metadata| {
        use std::os::unix::fs::PermissionsExt as _;
        file.permissions().mode() & 0o111 != 0
    };
    #[cfg(not(unix))]
    let runs = |_: &std::fs::Metadata| true;
    path.metadata().is_ok_and(|file| file.is_file() && runs(&file))
}

impl Limits {
    /// Checks that programs can be run: one that is right passes and one that is wrong fails.
    pub(super) fn check(&self) -> Result<()> {
        let runs = |program| {
            self.pass(program)
                .with_context(|| format!("--run-code: cannot run {}", self.interpreter.display()))
        };
        if runs("assert 2 + 3 == 5")? && !runs("assert 2 + 3 == 6")? {
            return Ok(());
        }
        bail!(Hinted::new(
            format!(
                "--run-code: expected that {} runs a program of one line within the limits, found that it does not",
                self.interpreter.display()
            ),
            "--interpreter names Python 3, and --code-timeout and --code-memory give a program more",
        ))
    }

    /// Returns whether a program ends well within the limits.
    pub(super) fn pass(&self, program: &str) -> Result<bool> {
        let dir = Scratch::new().context("cannot make a directory for a program")?;
        std::fs::write(dir.0.join("program.py"), program).context("cannot write a program")?;
        let mut command = Command::new("/bin/sh");
        command.args(["-c", SHELL]).arg(&self.interpreter);
        let kibibytes = self.mebibytes.saturating_mul(1024);
        command
            .args([self.seconds, kibibytes, self.seconds.saturating_add(1)].map(|limit| limit.to_string()));
        command.current_dir(&dir.0).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // The program gets its own process group, so that everything it starts is ended with it.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command.spawn().context("cannot start /bin/sh")?;
        let deadline = Instant::now() + Duration::from_secs(self.seconds);
        let status = loop {
            match child.try_wait().context("cannot wait for a program")? {
                Some(status) => break Some(status),
                None if Instant::now() >= deadline => break None,
                None => thread::sleep(BETWEEN),
            }
        };
        kill(&mut child);
        Ok(status.is_some_and(|status| status.success()))
    }
}

/// Ends a program and the programs that it started, unless they left its group.
fn kill(child: &mut Child) {
    #[cfg(unix)]
    {
        use rustix::process::{Pid, Signal, kill_process_group};
        let _ = kill_process_group(Pid::from_child(child), Signal::KILL);
    }
    let _ = child.kill();
    let _ = child.wait();
}

/// A directory that is removed when this is dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> io::Result<Self> {
        let path = std::env::temp_dir().join(format!("wmgen-eval-{:016x}", wmgen::sample::random_seed()));
        let mut builder = std::fs::DirBuilder::new();
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    /// Returns limits with a stand-in for Python that runs the program as a shell script.
    fn limits(dir: &std::path::Path, seconds: u64) -> Limits {
        use std::os::unix::fs::PermissionsExt as _;
        let interpreter = dir.join("interpreter");
        std::fs::write(&interpreter, "#!/bin/sh\n. ./program.py\n").unwrap();
        std::fs::set_permissions(&interpreter, std::fs::Permissions::from_mode(0o755)).unwrap();
        Limits { interpreter, seconds, mebibytes: 1024 }
    }

    #[test]
    fn a_program_passes_if_it_ends_well_in_time_and_nothing_of_it_stays() {
        let dir = tempfile::tempdir().unwrap();
        let limits = limits(dir.path(), 2);
        assert!(limits.pass("exit 0").unwrap());
        assert!(!limits.pass("exit 1").unwrap());
        let left = dir.path().join("left");
        let begun = Instant::now();
        assert!(!limits.pass(&format!("(sleep 4; touch {}) & sleep 100", left.display())).unwrap());
        assert!(begun.elapsed() < Duration::from_secs(4));
        // A process that outlives the program is ended too.
        assert!(limits.pass(&format!("(sleep 1; touch {}) &", left.display())).unwrap());
        thread::sleep(Duration::from_secs(3));
        assert!(!left.exists());
        // The watchdog ends the program if nobody else does.
        let mut alone = Command::new("/bin/sh");
        alone.args(["-c", SHELL]).arg(&limits.interpreter).args(["9", "1048576", "1"]);
        std::fs::write(dir.path().join("program.py"), "sleep 100").unwrap();
        std::os::unix::process::CommandExt::process_group(alone.current_dir(dir.path()), 0);
        let begun = Instant::now();
        assert!(!alone.status().unwrap().success());
        assert!(begun.elapsed() < Duration::from_secs(50));
        assert!(found(Path::new("sh")).unwrap().is_absolute());
        for missing in ["no-such-program", "./no-such-program"] {
            let error = found(Path::new(missing)).unwrap_err().to_string();
            assert!(error.contains("no-such-program not found"), "{error}");
        }
        // The program sees no variable and can write no large file.
        assert!(limits.pass("test -z \"$HOME\"").unwrap());
        assert!(!limits.pass("dd if=/dev/zero of=big bs=1M count=20").unwrap());
    }
}
