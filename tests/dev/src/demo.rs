//! `cargo dev demo`: sets up what the story needs and becomes the program that plays it.
//!
//! The story itself is `grantmesh-demo` of grantmesh-tests. It takes our place, so Ctrl-C and the exit code are its own.

use crate::process;
use crate::report::Failure;
use crate::suite::{self, Parts};
use crate::workspace::Workspace;

/// Returns only if it fails before the story starts.
pub(crate) fn run(workspace: &Workspace, arguments: &[String]) -> Result<(), Failure> {
    let parts = Parts::without_database(workspace)?;
    let programs =
        ["-p", "grantmesh-control-plane", "--bin", "grantmesh", "-p", "grantmesh-tests", "--bin", "grantmesh-demo"];
    suite::build(workspace, "building the control plane and the story", &programs)?;
    let mut story = workspace.command(workspace.debug_binary("grantmesh-demo"));
    Err(process::become_it(parts.tell(&mut story).args(arguments)))
}
