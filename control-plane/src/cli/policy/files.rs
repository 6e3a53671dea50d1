//! The files that paths name: policy documents, and cases beside them.

use std::path::{Path, PathBuf};

use grantmesh_shared::wire::policy::PolicyFile;
use grantmesh_shared::wire::policy::cases::MAX_CASES_BYTES;

/// Policy files have one of these endings.
const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];

/// The name of files with cases, or its end after a dot.
const CASES: &str = "cases.txt";

/// Why policy files could not be read or used.
#[derive(Debug, thiserror::Error)]
pub(super) enum FilesError {
    /// A file or folder cannot be read.
    #[error("`{}` cannot be read", .0.display())]
    Read(PathBuf, #[source] std::io::Error),
    /// A folder without policy files.
    #[error("`{}` has no .yaml, .yml or .json file", .0.display())]
    Empty(PathBuf),
    /// No cases.
    #[error("there are no cases\nput a `cases.txt` beside the policy, or name a .txt file")]
    NoCases,
    /// A file that is too large to be read whole.
    #[error("`{}` has more than {MAX_CASES_BYTES} bytes\nsplit it into several files", .0.display())]
    Large(PathBuf),
    /// The policy has faults; they are told already.
    #[error("the policy has {0} fault(s)")]
    Faults(usize),
    /// The policy has warnings, and none are wanted; they are told already.
    #[error("the policy has {0} warning(s), which `--deny-warnings` refuses")]
    Warnings(usize),
    /// The cases have faults; they are told already.
    #[error("the cases have {0} fault(s)")]
    CaseFaults(usize),
}

/// The policy files that some paths name; those of a folder by their names.
pub(super) fn policy_files(paths: &[PathBuf]) -> Result<Vec<PolicyFile>, FilesError> {
    let mut found = Vec::new();
    for path in paths {
        if !path.is_dir() {
            found.push(path.clone());
            continue;
        }
        let mut inside = inside(path, is_policy)?;
        if inside.is_empty() {
            return Err(FilesError::Empty(path.clone()));
        }
        found.append(&mut inside);
    }
    found.into_iter().map(read).collect()
}

/// The policy files and the case files that some paths name.
pub(super) fn policy_and_cases(paths: &[PathBuf]) -> Result<(Vec<PolicyFile>, Vec<PolicyFile>), FilesError> {
    let (cases, policy): (Vec<PathBuf>, Vec<PathBuf>) = paths.iter().cloned().partition(|path| is_text(path));
    let mut cases = cases;
    for folder in policy.iter().filter(|path| path.is_dir()) {
        cases.extend(inside(folder, is_cases)?);
    }
    if cases.is_empty() {
        return Err(FilesError::NoCases);
    }
    Ok((policy_files(&policy)?, cases.into_iter().map(read_cases).collect::<Result<_, _>>()?))
}

/// A file of cases.
pub(super) fn read_cases(path: PathBuf) -> Result<PolicyFile, FilesError> {
    let most = u64::try_from(MAX_CASES_BYTES).unwrap_or(u64::MAX);
    match std::fs::metadata(&path) {
        Ok(about) if about.len() > most => Err(FilesError::Large(path)),
        Ok(_) => read(path),
        Err(error) => Err(FilesError::Read(path, error)),
    }
}

fn inside(folder: &Path, wanted: fn(&Path) -> bool) -> Result<Vec<PathBuf>, FilesError> {
    let failed = |error| FilesError::Read(folder.to_owned(), error);
    let entries = std::fs::read_dir(folder).map_err(failed)?.collect::<Result<Vec<_>, _>>().map_err(failed)?;
    let mut inside: Vec<PathBuf> =
        entries.into_iter().map(|entry| entry.path()).filter(|file| file.is_file() && wanted(file)).collect();
    inside.sort();
    Ok(inside)
}

fn read(path: PathBuf) -> Result<PolicyFile, FilesError> {
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(PolicyFile { name: path.display().to_string(), text }),
        Err(error) => Err(FilesError::Read(path, error)),
    }
}

fn ending(path: &Path) -> Option<&str> {
    path.extension().and_then(|ending| ending.to_str())
}

fn is_policy(path: &Path) -> bool {
    ending(path).is_some_and(|ending| ENDINGS.contains(&ending))
}

fn is_text(path: &Path) -> bool {
    path.is_file() && ending(path) == Some("txt")
}

fn is_cases(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name == CASES || name.strip_suffix(CASES).is_some_and(|before| before.ends_with('.'))
}
