//! Where things are: the checkout, its target folder, its tools; and cargo itself.
//!
//! Every task starts here. Only this file decides about paths inside the checkout.

use std::ffi::OsStr;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process;
use crate::report::{Failure, say};

/// The checkout that `cargo dev` was called in.
pub(crate) struct Workspace {
    root: PathBuf,
    target: PathBuf,
}

impl Workspace {
    /// Finds the checkout upwards of the current folder.
    pub(crate) fn find() -> Result<Self, Failure> {
        let here = std::env::current_dir()
            .map_err(|error| Failure::new(format!("the current folder is not readable: {error}")))?;
        let root = here.ancestors().find(|folder| folder.join("tests/dev/Cargo.toml").is_file()).ok_or_else(|| {
            Failure::new("the current folder is not inside the repository")
                .help("cd into the checkout and call `cargo dev` again")
        })?;
        let target = match std::env::var_os("CARGO_TARGET_DIR") {
            Some(folder) => here.join(folder),
            None => root.join("target"),
        };
        Ok(Self { root: root.to_owned(), target })
    }

    /// A checkout that stands there.
    pub(crate) fn at(root: PathBuf, target: PathBuf) -> Self {
        Self { root, target }
    }

    /// The folder of the root Cargo.toml.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Cargo's output.
    pub(crate) fn target(&self) -> &Path {
        &self.target
    }

    /// What was fetched for this checkout; ignored by git.
    pub(crate) fn tools(&self) -> PathBuf {
        self.root.join(".tools")
    }

    /// The cargo that started us, in the root, with our target folder.
    pub(crate) fn cargo(&self) -> Command {
        self.command(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
    }

    /// A program in the root, with our target folder.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = process::command(program);
        command.current_dir(&self.root).env("CARGO_TARGET_DIR", &self.target);
        command
    }

    /// A program that debug builds of the workspace make.
    pub(crate) fn debug_binary(&self, name: &str) -> PathBuf {
        self.target.join("debug").join(format!("{name}{}", std::env::consts::EXE_SUFFIX))
    }

    /// One set-up at a time: two of them would write the same files. Released when dropped.
    pub(crate) fn lock_tools(&self) -> Result<File, Failure> {
        let folder = self.tools();
        let path = folder.join("lock");
        let failed = |error: std::io::Error| Failure::new(format!("`{}` cannot be written: {error}", path.display()));
        std::fs::create_dir_all(&folder).map_err(failed)?;
        let file = File::create(&path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                say("waiting for another `cargo dev` in this checkout");
                file.lock().map_err(failed)?;
            }
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        Ok(file)
    }

    /// Whether this was tried before and failed, so that it is not tried at every run.
    pub(crate) fn gave_up(&self, attempt: &str) -> bool {
        self.given_up(attempt).is_file()
    }

    /// Remembers that something failed, and says how to have it tried again.
    pub(crate) fn give_up(&self, attempt: &str, failure: &Failure) -> Result<(), Failure> {
        let file = self.given_up(attempt);
        let shown = file.strip_prefix(&self.root).unwrap_or(&file).display().to_string();
        say(&format!("{}; remembered, remove {shown} to have it tried again", failure.what()));
        self.write(&file, failure.to_string().as_bytes())
    }

    fn given_up(&self, attempt: &str) -> PathBuf {
        let name: String =
            attempt.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' }).collect();
        self.tools().join("gave-up").join(name)
    }

    /// Writes a whole file, with its folder; readers see the old one or the new one.
    pub(crate) fn write(&self, file: &Path, content: &[u8]) -> Result<(), Failure> {
        let failed = |error: std::io::Error| Failure::new(format!("`{}` cannot be written: {error}", file.display()));
        if let Some(folder) = file.parent() {
            std::fs::create_dir_all(folder).map_err(failed)?;
        }
        let fresh = file.with_extension("new");
        std::fs::write(&fresh, content).map_err(failed)?;
        std::fs::rename(&fresh, file).map_err(failed)
    }
}
