//! A process of the harness with its log. It never outlives its handle, and tells the end of its log when a story fails.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::process::{Pid, Signal, kill_process};

use crate::wait::until;

/// Lines of a log that are told on failure.
const TAIL: usize = 60;

/// A running process.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    ended: bool,
    farewell: Signal,
}

impl Process {
    /// Starts a program whose output goes to a file.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(name: &str, command: &mut Command, log: &Path) -> Result<Self> {
        let file = File::options()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("the log `{}`", log.display()))?;
        let child = without_our_environment(command)
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("{name} could not be started: {command:?}"))?;
        Ok(Self { name: name.to_owned(), child, log: log.to_owned(), ended: false, farewell: Signal::KILL })
    }

    /// Sends this signal instead of KILL when the handle is dropped, for programs that leave something behind otherwise.
    #[must_use]
    pub fn ending_by(mut self, farewell: Signal) -> Self {
        self.farewell = farewell;
        self
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// If it is gone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("no process id")?;
        kill_process(id, signal).with_context(|| format!("{} cannot be signalled", self.name))
    }

    /// How it ended, if it did.
    ///
    /// # Errors
    /// If the system does not say.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        let status = self.child.try_wait()?;
        self.ended |= status.is_some();
        Ok(status)
    }

    /// Fails with the end of the log if it has ended.
    ///
    /// # Errors
    /// If it has ended.
    pub fn alive(&mut self) -> Result<()> {
        match self.ended()? {
            None => Ok(()),
            Some(status) => anyhow::bail!("{} ended ({status}); its log ends with\n{}", self.name, self.log_tail()),
        }
    }

    /// Asks it to end and waits until it has.
    ///
    /// # Errors
    /// If it does not end within `patience`.
    pub async fn stop(&mut self, patience: Duration) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        until(&format!("{} ends after SIGTERM", self.name), patience, async || self.ended()).await
    }

    /// Ends it at once, wherever it is: `kill -9`.
    pub fn kill(&mut self) {
        self.end(Signal::KILL);
    }

    /// All that it has written.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read(&self.log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// The last lines that it has written.
    #[must_use]
    pub fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines.get(lines.len().saturating_sub(TAIL)..).unwrap_or_default().join("\n")
    }

    fn end(&mut self, signal: Signal) {
        if !self.ended {
            // Both fail only if it is gone already.
            let _gone = self.signal(signal);
            let _gone = self.child.wait();
            self.ended = true;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end(self.farewell);
        if std::thread::panicking() {
            #[expect(clippy::print_stderr, reason = "the test runner shows it below the failed story")]
            {
                eprintln!("──── {} ended its log with\n{}\n", self.name, self.log_tail());
            }
        }
    }
}

/// A program must not read what `cargo dev` or the person has set for the harness or for their own control plane.
pub(crate) fn without_our_environment(command: &mut Command) -> &mut Command {
    for (name, _) in std::env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"GRANTMESH_") {
            command.env_remove(name);
        }
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wait::PATIENCE;

    #[tokio::test]
    async fn a_process_ends_with_its_handle_even_if_it_is_frozen() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let process =
            Process::start("tail", Command::new("sh").args(["-c", "echo begun; exec tail -f /dev/null"]), &log)
                .unwrap();
        until("it writes", PATIENCE, async || Ok(process.log_tail().contains("begun").then_some(()))).await.unwrap();
        let id = i32::try_from(process.id()).ok().and_then(Pid::from_raw).unwrap();
        process.signal(Signal::STOP).unwrap();
        drop(process);
        assert!(kill_process(id, Signal::CONT).is_err(), "it is gone");
    }

    #[tokio::test]
    async fn a_process_that_ended_by_itself_is_told_with_its_log() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let mut process =
            Process::start("sh", Command::new("sh").args(["-c", "echo no such flag >&2; exit 3"]), &log).unwrap();
        let error = until("it ends", PATIENCE, async || Ok(process.alive().err())).await.unwrap();
        assert!(error.to_string().contains("no such flag"), "{error}");
    }
}
