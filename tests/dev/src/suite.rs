//! The tests: all of them, the end-to-end stories, or those that write golden files.
//!
//! Sets up the real parts, tells the tests where they are through the environment, and becomes the runner.
//! The variables are the contract with grantmesh-tests; its harness reads them and never looks for anything itself.

use std::path::PathBuf;
use std::process::Command;

use crate::process;
use crate::report::{Failure, step};
use crate::setup::{self, Runner};
use crate::wasm;
use crate::workspace::Workspace;

const ALL: &[&str] = &["--workspace"];
const STORIES: &[&str] = &["-p", "grantmesh-tests"];
/// The stories compare with nothing on disk.
const WRITERS: &[&str] = &["--workspace", "--exclude", "grantmesh-tests"];

/// `cargo dev test`. Returns only if it fails before the runner starts.
pub(crate) fn test(workspace: &Workspace, arguments: &[String]) -> Result<(), Failure> {
    let parts = Parts::all(workspace)?;
    let runner = setup::runner(workspace)?;
    // Programs and tests in one go: built apart, features would be unified twice and dependencies compiled twice.
    build(
        workspace,
        "building the workspace",
        &["--workspace", "--bins", "--tests"],
    )?;
    if arguments.is_empty() {
        let mut examples = workspace.cargo();
        examples.args(["test", "--quiet", "--locked", "--workspace", "--doc"]);
        step("testing the examples of the documentation", || {
            process::stream(&mut examples)
        })?;
    }
    hand_over(
        workspace,
        &parts,
        &runner,
        ALL,
        arguments,
        &[("INSTA_UPDATE", "no")],
    )
}

/// `cargo dev e2e`. Returns only if it fails before the runner starts.
pub(crate) fn e2e(workspace: &Workspace, arguments: &[String]) -> Result<(), Failure> {
    let parts = Parts::all(workspace)?;
    let runner = setup::runner(workspace)?;
    let packages = [
        "-p",
        "grantmesh-control-plane",
        "-p",
        "grantmesh-tests",
        "--bins",
        "--tests",
    ];
    build(workspace, "building the stories", &packages)?;
    hand_over(
        workspace,
        &parts,
        &runner,
        STORIES,
        arguments,
        &[("INSTA_UPDATE", "no")],
    )
}

/// `cargo dev bless`. Returns only if it fails before the runner starts.
pub(crate) fn bless(workspace: &Workspace, arguments: &[String]) -> Result<(), Failure> {
    let parts = Parts::all(workspace)?;
    let runner = setup::runner(workspace)?;
    build(
        workspace,
        "building the workspace",
        &["--workspace", "--bins", "--tests"],
    )?;
    let write = [("INSTA_UPDATE", "always"), ("GRANTMESH_BLESS", "1")];
    hand_over(workspace, &parts, &runner, WRITERS, arguments, &write)
}

/// The real parts, as paths.
pub(crate) struct Parts {
    variables: Vec<(&'static str, PathBuf)>,
}

impl Parts {
    /// Everything that tests need.
    pub(crate) fn all(workspace: &Workspace) -> Result<Self, Failure> {
        let mut parts = Self::without_database(workspace)?;
        parts
            .variables
            .push(("GRANTMESH_POSTGRES_BIN", setup::postgres(workspace)?));
        Ok(parts)
    }

    /// Envoy, the filter's module, and the place where the control plane's binary is going to be.
    pub(crate) fn without_database(workspace: &Workspace) -> Result<Self, Failure> {
        let variables = vec![
            ("ENVOY_PATH", setup::envoy(workspace)?),
            ("GRANTMESH_FILTER_WASM", wasm::filter(workspace)?),
            ("GRANTMESH_BIN", workspace.debug_binary("grantmesh")),
        ];
        Ok(Self { variables })
    }

    /// Tells a program where the parts are.
    pub(crate) fn tell<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        command.envs(self.variables.iter().map(|(name, path)| (name, path)))
    }
}

/// Builds what the parts only point at.
pub(crate) fn build(workspace: &Workspace, what: &str, arguments: &[&str]) -> Result<(), Failure> {
    let mut cargo = workspace.cargo();
    step(what, || {
        process::stream(cargo.args(["build", "--locked"]).args(arguments))
    })
}

/// Becomes the runner, whose closing line and exit code are then the last of this task.
fn hand_over(
    workspace: &Workspace,
    parts: &Parts,
    runner: &Runner,
    packages: &[&str],
    arguments: &[String],
    variables: &[(&str, &str)],
) -> Result<(), Failure> {
    let mut tests = match runner {
        Runner::Nextest(binary) => {
            let mut tests = workspace.command(binary);
            tests.args(["nextest", "run"]);
            tests
        }
        Runner::CargoTest => {
            let mut tests = workspace.cargo();
            tests.args(["test", "--lib", "--bins", "--tests"]);
            tests
        }
    };
    tests
        .arg("--locked")
        .args(selection(arguments, packages))
        .args(arguments)
        .envs(variables.iter().copied());
    Err(process::become_it(parts.tell(&mut tests)))
}

/// The packages to test: the person's own choice replaces ours.
fn selection<'p>(arguments: &[String], usual: &'p [&'p str]) -> &'p [&'p str] {
    let own = arguments.iter().take_while(|argument| *argument != "--");
    let chosen = own
        .into_iter()
        .any(|argument| argument.starts_with("-p") || argument.starts_with("--package"));
    if chosen { &[] } else { usual }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chosen_package_replaces_the_usual_ones() {
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(selection(&words("decide"), ALL), ALL);
        assert_eq!(selection(&words("decide -- -p"), ALL), ALL);
        for line in ["-p grantmesh-shared", "--package=grantmesh-shared decide"] {
            assert!(selection(&words(line), ALL).is_empty(), "{line}");
        }
    }
}
