//! `cargo dev bench`: the engine's benches, natively and in V8, and the cost of the filter inside a real Envoy.
//!
//! The overhead bench is the program of grantmesh-overhead; what it measures is Envoy's, so it is not optimised itself.
//! It gets the same variables as the tests, `GRANTMESH_TRIVIAL_WASM`, the yardstick module, and `GRANTMESH_ALWAYS_ALLOW`, the
//! server that ext_authz asks. That one is measured, and so it is optimised.

use crate::process;
use crate::report::{Failure, step};
use crate::setup;
use crate::suite::{self, Parts};
use crate::wasm;
use crate::workspace::Workspace;

/// Runs the benches that the first argument names, or all.
pub(crate) fn run(workspace: &Workspace, arguments: &[String]) -> Result<(), Failure> {
    match arguments.split_first().map(|(word, rest)| (word.as_str(), rest)) {
        Some(("engine", rest)) => engine(workspace, rest),
        Some(("scale", _)) => scale(workspace),
        Some(("wasm", _)) => in_v8(workspace),
        Some(("overhead", rest)) => overhead(workspace, rest),
        None => engine(workspace, &[])
            .and_then(|()| scale(workspace))
            .and_then(|()| in_v8(workspace))
            .and_then(|()| overhead(workspace, &[])),
        Some((unknown, _)) => Err(Failure::new(format!("there is no bench `{unknown}`")).help(
            "cargo dev bench engine, or: cargo dev bench scale, or: cargo dev bench wasm, or: cargo dev bench overhead",
        )),
    }
}

fn engine(workspace: &Workspace, arguments: &[String]) -> Result<(), Failure> {
    let mut cargo = workspace.cargo();
    cargo.args(["bench", "--locked", "-p", "grantmesh-benches", "--benches", "--"]).args(arguments);
    step("benches of the engine", || process::stream(&mut cargo))
}

/// Fails if a table a hundred times as large makes a decision dearer.
fn scale(workspace: &Workspace) -> Result<(), Failure> {
    let mut cargo = workspace.cargo();
    cargo.args(["bench", "--locked", "-p", "grantmesh-benches", "--bench", "scale", "--", "--assert"]);
    step("decisions over a table and one a hundred times as large", || process::stream(&mut cargo))
}

/// Node's V8 is the engine that Envoy runs the filter in.
fn in_v8(workspace: &Workspace) -> Result<(), Failure> {
    let module = wasm::build(workspace, &wasm::BENCH)?;
    let mut node = workspace.command(setup::node()?);
    node.args(["--no-warnings", "benches/wasm/run.mjs"]).arg(module);
    step("what a decision costs in V8", || process::stream(&mut node))
}

fn overhead(workspace: &Workspace, arguments: &[String]) -> Result<(), Failure> {
    let parts = Parts::without_database(workspace)?;
    suite::build(workspace, "building the control plane", &["-p", "grantmesh-control-plane", "--bin", "grantmesh"])?;
    suite::build(workspace, "building the ext_authz server", &["--release", "-p", "grantmesh-always-allow"])?;
    let mut cargo = workspace.cargo();
    cargo.env("GRANTMESH_ALWAYS_ALLOW", workspace.target().join("release/always-allow"));
    cargo.args(["run", "--locked", "-p", "grantmesh-overhead", "--bin", "overhead", "--"]).args(arguments);
    if wasm::exists(workspace, &wasm::TRIVIAL) {
        cargo.env("GRANTMESH_TRIVIAL_WASM", wasm::build(workspace, &wasm::TRIVIAL)?);
    }
    step("what the filter costs inside Envoy", || process::stream(parts.tell(&mut cargo)))
}
