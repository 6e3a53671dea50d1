//! Programs that come as Python packages, in a virtual environment of the checkout (`.tools/venv`).
//!
//! The caller holds the lock of the tools. An installed package leaves a stamp with its version, so that a repeated
//! run looks at one file and starts nothing.

use std::path::{Path, PathBuf};

use crate::process::{self, command};
use crate::report::{Failure, step};
use crate::setup::apt;
use crate::workspace::Workspace;

/// A package with its pinned version.
pub(super) struct Package {
    pub(super) name: &'static str,
    pub(super) version: &'static str,
}

/// The virtual environment.
pub(super) fn folder(workspace: &Workspace) -> PathBuf {
    workspace.tools().join("venv")
}

/// The interpreter of the virtual environment.
pub(super) fn interpreter(workspace: &Workspace) -> Result<PathBuf, Failure> {
    let python = folder(workspace).join("bin/python");
    if !process::works(command(&python).arg("--version")) {
        let _lock = workspace.lock_tools()?;
        prepare(&folder(workspace))?;
    }
    Ok(python)
}

fn prepare(venv: &Path) -> Result<(), Failure> {
    if process::works(command(venv.join("bin/python")).args(["-m", "pip", "--version"])) {
        return Ok(());
    }
    step("making a Python environment in .tools/venv", || create(venv))
}

/// Installs the package unless it is there.
pub(super) fn install(workspace: &Workspace, package: &Package) -> Result<(), Failure> {
    let venv = folder(workspace);
    let stamp = venv.join("installed").join(format!("{}-{}", package.name, package.version));
    if stamp.is_file() {
        return Ok(());
    }
    prepare(&venv)?;
    let pinned = format!("{}=={}", package.name, package.version);
    step(&format!("installing {pinned} into .tools/venv"), || {
        let mut pip = command(venv.join("bin/python"));
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", &pinned]);
        process::capture(&mut pip)
    })?;
    workspace.write(&stamp, b"")
}

fn create(venv: &Path) -> Result<(), Failure> {
    let attempt = |python: &str| process::capture(command(python).args(["-m", "venv", "--clear"]).arg(venv)).map(drop);
    if attempt("python3").is_ok() {
        return Ok(());
    }
    apt::install("Python with venv", &["python3", "python3-venv"])?;
    attempt("/usr/bin/python3").map_err(|failure| failure.help("install Python 3 with its venv module"))
}
