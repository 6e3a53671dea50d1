//! The servers that tests put behind Envoy because their parsers differ: Node, Python and nginx.
//!
//! What is on the machine is used. nginx is unpacked from Debian's package into `.tools/` and not installed, because the
//! installed package would start a server.

use std::path::{Path, PathBuf};

use crate::process::{self, command};
use crate::report::{Failure, step};
use crate::setup::{apt, python, runs};
use crate::workspace::Workspace;

/// The variables that tests find them by, with their programs.
pub(crate) fn backends(workspace: &Workspace) -> Result<Vec<(&'static str, PathBuf)>, Failure> {
    Ok(vec![
        ("GRANTMESH_NODE", node()?),
        ("GRANTMESH_PYTHON", given("GRANTMESH_PYTHON").map_or_else(|| python::interpreter(workspace), Ok)?),
        ("GRANTMESH_NGINX", given("GRANTMESH_NGINX").map_or_else(|| nginx(workspace), Ok)?),
    ])
}

fn given(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).map(PathBuf::from)
}

/// Node, also for the bench in its V8.
pub(crate) fn node() -> Result<PathBuf, Failure> {
    let find = || process::on_path("node").filter(|path| runs(path));
    if let Some(found) = given("GRANTMESH_NODE").or_else(find) {
        return Ok(found);
    }
    apt::install("Node, for the tests with several back ends", &["nodejs"])?;
    find().ok_or_else(|| {
        Failure::new("Debian's package nodejs brought no `node`")
            .help("install Node, or set GRANTMESH_NODE to its program")
    })
}

fn nginx(workspace: &Workspace) -> Result<PathBuf, Failure> {
    let works = |path: &Path| path.is_file() && process::works(command(path).arg("-v"));
    let usual = [process::on_path("nginx"), Some(PathBuf::from("/usr/sbin/nginx"))];
    if let Some(found) = usual.into_iter().flatten().find(|path| works(path)) {
        return Ok(found);
    }
    let _lock = workspace.lock_tools()?;
    let folder = workspace.tools().join("nginx");
    let unpacked = folder.join("usr/sbin/nginx");
    if works(&unpacked) {
        return Ok(unpacked);
    }
    step("nginx: unpacking Debian's package into .tools/nginx", || apt::unpack("nginx", &folder))
        .and_then(
            |()| if works(&unpacked) { Ok(unpacked) } else { Err(Failure::new("Debian's nginx does not run here")) },
        )
        .map_err(|failure| failure.help("install nginx, or set GRANTMESH_NGINX to its program"))
}
