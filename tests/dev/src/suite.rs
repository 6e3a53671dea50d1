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

/// A choice of tests.
///
/// Programs and tests are built from the same packages: from others, features would be unified differently and
/// dependencies compiled twice. What is built but not wanted is left out by nextest's profile (`.config/nextest.toml`).
struct Suite {
    packages: &'static [&'static str],
    targets: &'static [&'static str],
    profile: &'static str,
    variables: &'static [(&'static str, &'static str)],
}

const ALL: Suite = Suite {
    packages: &["--workspace"],
    targets: &["--tests"],
    profile: "default",
    variables: &[("INSTA_UPDATE", "no")],
};

const STORIES: Suite = Suite {
    packages: &["-p", "grantmesh-control-plane", "-p", "grantmesh-tests"],
    targets: &["--test", "*"],
    profile: "stories",
    variables: &[("INSTA_UPDATE", "no")],
};

/// The tests whose name begins with `proof`, in full size; `proof_size` of grantmesh-tests reads the variable.
const PROOFS: Suite = Suite {
    packages: &["--workspace"],
    targets: &["--tests"],
    profile: "proofs",
    variables: &[("INSTA_UPDATE", "no"), ("GRANTMESH_PROVE", "1")],
};

/// Without the stories, which compare with nothing on disk.
const WRITERS: Suite = Suite {
    packages: &["--workspace"],
    targets: &["--tests"],
    profile: "writers",
    variables: &[("INSTA_UPDATE", "always"), ("GRANTMESH_BLESS", "1")],
};

/// `cargo dev test`. Returns only if it fails before the runner starts.
pub(crate) fn test(workspace: &Workspace, arguments: &[String]) -> Result<(), Failure> {
    run(workspace, &ALL, arguments, || {
        if !arguments.is_empty() {
            return Ok(());
        }
        let mut examples = workspace.cargo();
        examples.args(["test", "--quiet", "--locked", "--workspace", "--doc"]);
        step("testing the examples of the documentation", || process::capture(&mut examples)).map(drop)
    })
}

/// `cargo dev e2e`. Returns only if it fails before the runner starts.
pub(crate) fn e2e(workspace: &Workspace, arguments: &[String]) -> Result<(), Failure> {
    run(workspace, &STORIES, arguments, || Ok(()))
}

/// `cargo dev prove`. Returns only if it fails before the runner starts.
pub(crate) fn prove(workspace: &Workspace, arguments: &[String]) -> Result<(), Failure> {
    run(workspace, &PROOFS, arguments, || Ok(()))
}

/// `cargo dev bless`. Returns only if it fails before the runner starts.
pub(crate) fn bless(workspace: &Workspace, arguments: &[String]) -> Result<(), Failure> {
    run(workspace, &WRITERS, arguments, || Ok(()))
}

/// Sets up, builds, does what comes `before`, and becomes the runner: its closing line and exit code are the last of the task.
fn run(
    workspace: &Workspace,
    suite: &Suite,
    arguments: &[String],
    before: impl FnOnce() -> Result<(), Failure>,
) -> Result<(), Failure> {
    let parts = Parts::all(workspace)?;
    let runner = setup::runner(workspace)?;
    build(workspace, "building programs and tests", &[suite.packages, suite.targets, &["--bins"]].concat())?;
    before()?;
    let mut tests = match &runner {
        Runner::Nextest(binary) => {
            let mut tests = workspace.command(binary);
            tests.args(["nextest", "run", "--profile", suite.profile]);
            tests
        }
        Runner::CargoTest => {
            let mut tests = workspace.cargo();
            tests.arg("test");
            tests
        }
    };
    // Without nextest there are no profiles: the name says it.
    let only_proofs = matches!(runner, Runner::CargoTest) && suite.profile == PROOFS.profile && arguments.is_empty();
    tests.arg("--locked").args(suite.selection(arguments)).args(arguments).args(only_proofs.then_some("proof"));
    tests.envs(suite.variables.iter().copied());
    Err(process::become_it(parts.tell(&mut tests)))
}

impl Suite {
    /// The packages and targets to test: the person's own choice of packages replaces ours.
    fn selection(&self, arguments: &[String]) -> Vec<&'static str> {
        let own = arguments.iter().take_while(|argument| *argument != "--");
        let chosen = own.into_iter().any(|argument| argument.starts_with("-p") || argument.starts_with("--package"));
        if chosen { Vec::new() } else { [self.packages, self.targets].concat() }
    }
}

/// The real parts, as paths.
pub(crate) struct Parts {
    variables: Vec<(&'static str, PathBuf)>,
}

impl Parts {
    /// Everything that tests need.
    pub(crate) fn all(workspace: &Workspace) -> Result<Self, Failure> {
        let mut parts = Self::without_database(workspace)?;
        parts.variables.push(("GRANTMESH_POSTGRES_BIN", setup::postgres(workspace)?));
        parts.variables.push(("GRANTMESH_FAKETIME", setup::faketime(workspace)?));
        parts.variables.push(("GRANTMESH_SCHEMATHESIS", setup::schemathesis(workspace)?));
        parts.variables.extend(setup::backends(workspace)?);
        Ok(parts)
    }

    /// PostgreSQL alone, for tests that play on no proxy.
    pub(crate) fn only_database(workspace: &Workspace) -> Result<Self, Failure> {
        Ok(Self { variables: vec![("GRANTMESH_POSTGRES_BIN", setup::postgres(workspace)?)] })
    }

    /// Envoy, the filter's modules, and the place where the control plane's binary is going to be, unless `GRANTMESH_BIN` names another one.
    pub(crate) fn without_database(workspace: &Workspace) -> Result<Self, Failure> {
        let (filter, bodies) = wasm::filters(workspace)?;
        let given = std::env::var_os("GRANTMESH_BIN").map(PathBuf::from);
        let variables = vec![
            ("ENVOY_PATH", setup::envoy(workspace)?),
            ("GRANTMESH_FILTER_WASM", filter),
            ("GRANTMESH_FILTER_BODIES_WASM", bodies),
            ("GRANTMESH_BIN", given.unwrap_or_else(|| workspace.debug_binary("grantmesh"))),
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
    step(what, || process::stream(cargo.args(["build", "--locked"]).args(arguments)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chosen_package_replaces_the_usual_ones() {
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(ALL.selection(&words("decide")), ["--workspace", "--tests"]);
        assert_eq!(ALL.selection(&words("decide -- -p")), ["--workspace", "--tests"]);
        for line in ["-p grantmesh-shared", "--package=grantmesh-shared decide"] {
            assert!(ALL.selection(&words(line)).is_empty(), "{line}");
        }
    }
}
