//! A wall clock that is wrong as a story wants it: a process runs with libfaketime, which reads what is wrong from a file.
//! The monotonic clock stays as it is, as on a machine whose clock is set.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::parts::part;

/// The wall clock of a process.
#[derive(Debug, Clone)]
pub struct WallClock {
    library: PathBuf,
    stated: PathBuf,
}

impl WallClock {
    /// A clock that is right so far; `stated` is the file that says what is wrong with it.
    ///
    /// # Errors
    /// If there is no libfaketime.
    pub fn stated_in(stated: &Path) -> Result<Self> {
        let clock = Self { library: part("GRANTMESH_FAKETIME")?, stated: stated.to_owned() };
        clock.set("+0")?;
        Ok(clock)
    }

    /// Sets it, as libfaketime writes it: `+7h` goes so much before, `-1d x2` so much after and from now on twice as fast.
    /// The process notices within a second.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn set(&self, what: &str) -> Result<()> {
        let new = self.stated.with_extension("new");
        std::fs::write(&new, what)?;
        Ok(std::fs::rename(new, &self.stated)?)
    }

    pub(crate) fn give_to(&self, command: &mut Command) {
        let libraries =
            ["libfaketimeMT.so.1", "stand-ins.so"].map(|name| self.library.join(name).display().to_string());
        command.env("LD_PRELOAD", libraries.join(" ")).env("FAKETIME_TIMESTAMP_FILE", &self.stated);
        let switches = [("FAKETIME_CACHE_DURATION", "1"), ("FAKETIME_DONT_FAKE_MONOTONIC", "1"), ("NO_FAKE_STAT", "1")];
        command.envs(switches).env("FAKETIME_DISABLE_SHM", "1");
    }
}
