//! A copy of the checkout that may be broken: what git tracks or would track, in `target/mutants/tree`, with a target folder
//! of its own beside it. Only what differs is written, so that cargo builds nothing twice.

use std::collections::BTreeSet;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use crate::process;
use crate::report::Failure;
use crate::workspace::Workspace;

/// The copy. While it stands, nobody else uses it.
pub(crate) struct Scratch {
    workspace: Workspace,
    _lock: File,
}

fn failed(path: &Path) -> impl FnOnce(std::io::Error) -> Failure {
    let path = path.display().to_string();
    move |error| Failure::new(format!("`{path}` cannot be used: {error}"))
}

impl Scratch {
    /// Makes the copy as the checkout is now.
    pub(crate) fn of(original: &Workspace) -> Result<Self, Failure> {
        let folder = original.target().join("mutants");
        let tree = folder.join("tree");
        fs::create_dir_all(&tree).map_err(failed(&tree))?;
        let lock = File::create(folder.join("lock")).map_err(failed(&folder))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Failure::new("another `cargo dev mutants` runs in this checkout").help("wait for its end"));
            }
            Err(TryLockError::Error(error)) => return Err(failed(&folder)(error)),
        }
        let paths = listed(original)?;
        for path in &paths {
            copy(&original.root().join(path), &tree.join(path))?;
        }
        prune(&tree, Path::new(""), &paths)?;
        let workspace = Workspace::at(tree, folder.join("target"));
        share_tools(original, &workspace)?;
        Ok(Self { workspace, _lock: lock })
    }

    /// The copy as a checkout.
    pub(crate) fn workspace(&self) -> &Workspace {
        &self.workspace
    }

    /// Breaks a file for as long as `with` takes; whatever comes of that, the file is then as it was.
    pub(crate) fn broken<T>(
        &self,
        file: &str,
        change: impl FnOnce(&str) -> Result<String, String>,
        with: impl FnOnce() -> Result<T, Failure>,
    ) -> Result<Result<T, String>, Failure> {
        let path = self.workspace.root().join(file);
        let whole = fs::read_to_string(&path).map_err(failed(&path))?;
        let changed = match change(&whole) {
            Ok(changed) => changed,
            Err(why) => return Ok(Err(why)),
        };
        fs::write(&path, changed).map_err(failed(&path))?;
        let outcome = with();
        fs::write(&path, whole).map_err(failed(&path))?;
        outcome.map(Ok)
    }
}

/// What belongs to the checkout, as paths from its root.
fn listed(original: &Workspace) -> Result<BTreeSet<PathBuf>, Failure> {
    let mut git = original.command("git");
    git.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]);
    let list = process::capture(&mut git).map_err(|failure| failure.help("this needs a checkout made by git"))?;
    let there = |path: &PathBuf| original.root().join(path).is_file();
    Ok(list.split('\0').filter(|path| !path.is_empty()).map(PathBuf::from).filter(there).collect())
}

/// Writes a file only if it says something else: cargo goes by its time.
fn copy(from: &Path, to: &Path) -> Result<(), Failure> {
    let bytes = fs::read(from).map_err(failed(from))?;
    if fs::read(to).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder).map_err(failed(folder))?;
    }
    fs::write(to, bytes).map_err(failed(to))
}

/// Removes what is not in the checkout any more, and what tests have left behind.
fn prune(tree: &Path, below: &Path, paths: &BTreeSet<PathBuf>) -> Result<(), Failure> {
    let folder = tree.join(below);
    for entry in fs::read_dir(&folder).map_err(failed(&folder))?.flatten() {
        let path = below.join(entry.file_name());
        let whole = tree.join(&path);
        let kind = entry.file_type().map_err(failed(&whole))?;
        if kind.is_dir() {
            prune(tree, &path, paths)?;
        } else if kind.is_file() && !paths.contains(&path) {
            fs::remove_file(&whole).map_err(failed(&whole))?;
        }
    }
    Ok(())
}

/// The copy uses what was fetched for the checkout.
fn share_tools(original: &Workspace, copy: &Workspace) -> Result<(), Failure> {
    let (tools, link) = (original.tools(), copy.tools());
    if link.exists() {
        return Ok(());
    }
    fs::create_dir_all(&tools).map_err(failed(&tools))?;
    #[cfg(unix)]
    let linked = std::os::unix::fs::symlink(&tools, &link);
    #[cfg(windows)]
    let linked = std::os::windows::fs::symlink_dir(&tools, &link);
    linked.map_err(failed(&link))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_file_is_whole_again_whatever_comes_of_it() {
        let folder = std::env::temp_dir().join(format!("grantmesh-mutants-{}", std::process::id()));
        fs::create_dir_all(folder.join("a")).unwrap();
        let file = folder.join("a/b.rs");
        fs::write(&file, "whole").unwrap();
        let lock = File::create(folder.join("lock")).unwrap();
        let scratch = Scratch { workspace: Workspace::at(folder.clone(), folder.clone()), _lock: lock };
        let text = || fs::read_to_string(&file).unwrap();
        let broken = |_: &str| Ok("broken".to_owned());
        assert_eq!(scratch.broken("a/b.rs", broken, || Ok(text())).unwrap(), Ok("broken".to_owned()));
        assert_eq!(text(), "whole");
        assert!(scratch.broken("a/b.rs", broken, || Err::<(), _>(Failure::new("no"))).is_err());
        assert_eq!(text(), "whole");
        let unfit = scratch.broken("a/b.rs", |_| Err("unfit".to_owned()), || Ok(()));
        assert_eq!(unfit.unwrap(), Err("unfit".to_owned()));
        // Only what differs is written, and what does not belong there goes.
        fs::write(folder.join("new"), "whole").unwrap();
        let before = fs::metadata(&file).unwrap().modified().unwrap();
        copy(&folder.join("new"), &file).unwrap();
        assert_eq!(fs::metadata(&file).unwrap().modified().unwrap(), before);
        prune(&folder, Path::new(""), &BTreeSet::from([PathBuf::from("a/b.rs")])).unwrap();
        assert!(!folder.join("new").exists() && file.exists());
        fs::remove_dir_all(&folder).unwrap();
    }
}
