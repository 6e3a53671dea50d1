//! `cargo dev clean`: removes what can be made again.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::report::{Failure, step};
use crate::workspace::Workspace;

/// Removes the target folder, and what was fetched when `--tools` is given.
pub(crate) fn run(workspace: &Workspace, arguments: &[String]) -> Result<(), Failure> {
    let mut folders: Vec<PathBuf> = vec![workspace.target().to_owned()];
    if !arguments.is_empty() {
        folders.push(workspace.tools());
    }
    for folder in folders {
        step(&format!("removing {}", folder.display()), || remove(&folder))?;
    }
    Ok(())
}

fn remove(folder: &Path) -> Result<(), Failure> {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(Failure::new(format!("`{}` could not be removed: {error}", folder.display()))
                .help("end the programs that use it, then call it again"))
        }
        _ => Ok(()),
    }
}
