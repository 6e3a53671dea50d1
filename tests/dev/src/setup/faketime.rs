//! libfaketime, for stories in which a clock is wrong, and beside it what it needs to live in Envoy.
//!
//! The machine's is used; otherwise Debian's package is unpacked into `.tools/`. Neither changes anything else on the machine.

use std::path::{Path, PathBuf};

use crate::process::{self, command};
use crate::report::{Failure, step};
use crate::setup::apt;
use crate::workspace::Workspace;

const LIBRARY: &str = "libfaketimeMT.so.1";
const STAND_INS: &str = include_str!("stand-ins.c");
const VERSIONS: &str = include_str!("stand-ins.map");

/// The folder with `libfaketimeMT.so.1` and `stand-ins.so`.
pub(crate) fn faketime(workspace: &Workspace) -> Result<PathBuf, Failure> {
    if let Some(given) = std::env::var_os("GRANTMESH_FAKETIME") {
        return Ok(given.into());
    }
    let _lock = workspace.lock_tools()?;
    let folder = workspace.tools().join("faketime");
    let source = std::fs::read_to_string(folder.join("stand-ins.c"));
    if source.is_ok_and(|source| source == STAND_INS) && folder.join("stand-ins.so").is_file() {
        return Ok(folder);
    }
    step("libfaketime, for stories in which a clock is wrong", || bring(&folder)).map_err(|failure| {
        failure.help(format!("install libfaketime and a C compiler, or set GRANTMESH_FAKETIME to a folder with {LIBRARY} and stand-ins.so"))
    })?;
    Ok(folder)
}

fn bring(folder: &Path) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::new(format!("`{}` cannot be written: {error}", folder.display()));
    let library = match installed(Path::new("/usr")) {
        Some(library) => library,
        None => {
            apt::unpack("libfaketime", folder)?;
            installed(&folder.join("usr"))
                .ok_or_else(|| Failure::new(format!("Debian's libfaketime has no {LIBRARY}")))?
        }
    };
    std::fs::create_dir_all(folder).map_err(failed)?;
    std::fs::copy(library, folder.join(LIBRARY)).map_err(failed)?;
    std::fs::write(folder.join("stand-ins.map"), VERSIONS).map_err(failed)?;
    let source = folder.join("new.c");
    std::fs::write(&source, STAND_INS).map_err(failed)?;
    let mut compile = command("cc");
    compile.current_dir(folder).args(["-shared", "-fPIC", "-Wl,--version-script=stand-ins.map", "-o", "stand-ins.so"]);
    process::capture(compile.arg(&source))?;
    // Written last: it says that everything is there.
    std::fs::rename(&source, folder.join("stand-ins.c")).map_err(failed)
}

/// The library in one of the places where distributions put it.
fn installed(usr: &Path) -> Option<PathBuf> {
    let libraries = [usr.join("lib"), usr.join("lib64")];
    let triplets = libraries.iter().filter_map(|folder| std::fs::read_dir(folder).ok());
    let folders = triplets.flat_map(|entries| entries.flatten().map(|entry| entry.path()));
    let places: Vec<PathBuf> = libraries.iter().cloned().chain(folders).collect();
    places.into_iter().map(|place| place.join("faketime").join(LIBRARY)).find(|library| library.is_file())
}
