//! The CPU time of threads and processes, as the kernel accounts it (`/proc/PID/task/*/schedstat`).

use std::path::{Path, PathBuf};

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

    /// Nanoseconds on a CPU until now.
    ///
    /// # Errors
    /// If the kernel does not tell.
    pub(crate) fn nanos(&self) -> Result<u64> {
        nanos(&self.0)
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
