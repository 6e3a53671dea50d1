//! Debian's packages: installed when this is root, or when sudo asks for no password; otherwise the command is shown.

use std::path::Path;

use crate::process::{self, command};
use crate::report::{Failure, step};

/// Whether this machine has the package manager at all.
pub(crate) fn exists() -> bool {
    process::on_path("apt-get").is_some()
}

/// Whether this is root.
pub(crate) fn is_root() -> bool {
    process::capture(command("id").arg("-u")).is_ok_and(|id| id.trim() == "0")
}

/// Installs packages that are missing. `what` is what they are for.
pub(crate) fn install(what: &str, packages: &[&str]) -> Result<(), Failure> {
    let list = packages.join(" ");
    let advice = format!("apt-get update && apt-get install -y --no-install-recommends {list}");
    if !exists() {
        return Err(Failure::new(format!(
            "{what}: this machine has no apt-get, and `{list}` are names of Debian's packages"
        )));
    }
    step(&format!("{what}: apt-get install {list}"), || {
        update()?;
        apt_get(&[&["install", "-y", "--no-install-recommends"], packages].concat())
    })
    .map_err(|failure| failure.help(format!("as root: {advice}")))
}

/// Fetches the lists of packages.
pub(crate) fn update() -> Result<(), Failure> {
    apt_get(&["update"])
}

/// Unpacks a package into a folder: nothing is installed, started or written elsewhere.
pub(crate) fn unpack(package: &str, folder: &Path) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::new(format!("`{}` cannot be written: {error}", folder.display()));
    std::fs::create_dir_all(folder).map_err(failed)?;
    // The lists may be old or missing; without the rights to fetch them the download says so.
    let download = || process::capture(command("apt-get").current_dir(folder).args(["-q", "download", package]));
    if download().is_err() {
        update()?;
        download()?;
    }
    let packages = std::fs::read_dir(folder).map_err(failed)?.flatten().map(|entry| entry.path());
    let archive = packages.into_iter().find(|path| path.extension().is_some_and(|ending| ending == "deb"));
    let archive = archive.ok_or_else(|| Failure::new(format!("apt-get downloaded no package {package}")))?;
    process::capture(command("dpkg").arg("-x").arg(&archive).arg(folder)).map(drop)
}

fn apt_get(arguments: &[&str]) -> Result<(), Failure> {
    let before: &[&str] = if is_root() {
        &[]
    } else if process::works(command("sudo").args(["-n", "true"])) {
        &["sudo", "-n"]
    } else {
        return Err(Failure::new(format!("`apt-get {}` takes root", arguments.join(" "))));
    };
    let words = [before, &["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q"], arguments].concat();
    let (program, rest) = words.split_first().ok_or_else(|| Failure::new("nothing to run"))?;
    process::capture(command(program).args(rest)).map(drop)
}
