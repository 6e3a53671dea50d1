//! The CPU time of threads and processes, as the kernel accounts it (`/proc/PID/task/*/schedstat`), and on which CPUs they
//! run: what is measured has one for itself.

use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

/// A thread of a process.
#[derive(Debug)]
pub(crate) struct Thread(PathBuf);

impl Thread {
    /// The thread of that name.
    ///
    /// # Errors
    /// If there is none.
    pub(crate) fn find(process: u32, name: &str) -> Result<Self> {
        for task in tasks(process)? {
            if std::fs::read_to_string(task.join("comm"))?.trim() == name {
                return Ok(Self(task));
            }
        }
        bail!("process {process} has no thread `{name}`")
    }

    /// Gives it the first CPU, which [`leave_the_first`] keeps everybody else from: whoever else runs there takes its
    /// caches and its turn, and takes more of them the more records there are to be taken in.
    pub(crate) fn take_the_first(&self) {
        if let Some(id) = self.0.file_name() {
            place(&["--cpu-list", "--pid", "0", &id.to_string_lossy()]);
        }
    }

    /// Nanoseconds on a CPU until now.
    ///
    /// # Errors
    /// If the kernel does not tell.
    pub(crate) fn nanos(&self) -> Result<u64> {
        nanos(&self.0)
    }
}

/// Leaves the first CPU to the thread that is measured, where there are two: this process, and with it every one that it
/// starts.
pub(crate) fn leave_the_first() {
    let cpus = std::thread::available_parallelism().map_or(1, NonZero::get);
    if cpus > 1 {
        let others = format!("1-{}", cpus.saturating_sub(1));
        place(&["--all-tasks", "--cpu-list", "--pid", &others, &std::process::id().to_string()]);
    }
}

/// Where that is not allowed the bench goes on without: only its quartiles get wider.
fn place(arguments: &[&str]) {
    match Command::new("taskset").args(arguments).output() {
        Ok(told) if told.status.success() => {}
        Ok(told) => println!("not placed: {}", String::from_utf8_lossy(&told.stderr).trim()),
        Err(error) => println!("not placed: taskset cannot be run: {error}"),
    }
}

/// Nanoseconds on a CPU until now, of all threads of a process but its first.
///
/// # Errors
/// If the kernel does not tell.
pub(crate) fn nanos_but_main(process: u32) -> Result<u64> {
    let main = process.to_string();
    let others = tasks(process)?.into_iter().filter(|task| !task.ends_with(&main));
    others.map(|task| nanos(&task)).sum()
}

/// Nanoseconds on a CPU until now, of all threads of a process.
///
/// # Errors
/// If the kernel does not tell.
pub(crate) fn nanos_of_all(process: u32) -> Result<u64> {
    tasks(process)?.iter().map(|task| nanos(task)).sum()
}

fn tasks(process: u32) -> Result<Vec<PathBuf>> {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task"))?;
    Ok(tasks.map(|task| task.map(|task| task.path())).collect::<Result<_, _>>()?)
}

fn nanos(task: &Path) -> Result<u64> {
    let text = std::fs::read_to_string(task.join("schedstat"))?;
    Ok(text.split_whitespace().next().context("an empty schedstat")?.parse()?)
}
