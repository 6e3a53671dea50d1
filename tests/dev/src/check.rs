//! `cargo dev check`: everything that can be said about the code without running it.
//!
//! Goes through all checks even when one fails, so that one run shows everything there is to mend.

use std::process::Command;

use crate::process;
use crate::report::{Failure, say, step};
use crate::setup;
use crate::wasm;
use crate::workspace::Workspace;

type Check = fn(&Workspace) -> Result<(), Failure>;

/// Cheap ones first.
const CHECKS: [(&str, Check); 6] = [
    ("formatting", format),
    ("licences, bans and sources of dependencies", deny),
    ("clippy", clippy),
    ("clippy for wasm", clippy_for_wasm),
    ("documentation", documentation),
    ("tidiness", tidy),
];

/// Runs all checks.
pub(crate) fn run(workspace: &Workspace) -> Result<(), Failure> {
    let mut failed = Vec::new();
    for (name, check) in CHECKS {
        if let Err(failure) = step(name, || check(workspace)) {
            eprintln!("{failure}");
            failed.push(name);
        }
    }
    if failed.is_empty() {
        say("all checks passed");
        return Ok(());
    }
    Err(Failure::new(format!("{} of {} checks failed: {}", failed.len(), CHECKS.len(), failed.join(", ")))
        .help("each one says above what it found; then: cargo dev check"))
}

fn format(workspace: &Workspace) -> Result<(), Failure> {
    component(workspace, "fmt", "rustfmt")?;
    process::stream(workspace.cargo().args(["fmt", "--all", "--", "--check", "-l"]))
        .map_err(|failure| failure.help("cargo fmt --all"))
}

fn deny(workspace: &Workspace) -> Result<(), Failure> {
    let mut deny = workspace.command(setup::deny(workspace)?);
    // Without subcommands for advisories: those need a database that is no package.
    deny.args(["--locked", "--log-level", "error", "check", "--hide-inclusion-graph", "bans", "licenses", "sources"]);
    process::stream(&mut deny).map_err(|failure| failure.help("deny.toml says what is accepted, and why"))
}

fn clippy(workspace: &Workspace) -> Result<(), Failure> {
    component(workspace, "clippy", "clippy")?;
    process::stream(strict(workspace.cargo().args(["clippy", "--locked", "--workspace", "--all-targets"])))
}

fn clippy_for_wasm(workspace: &Workspace) -> Result<(), Failure> {
    match wasm::clippy(workspace) {
        Ok(mut cargo) => {
            cargo.args(["clippy", "--locked", "--lib", "--profile", "wasm", "--manifest-path", wasm::FILTER.manifest]);
            process::stream(strict(&mut cargo))
        }
        Err(reason) => {
            say(&format!("clippy for wasm is left out: {}", reason.what()));
            Ok(())
        }
    }
}

/// With private items: the packages are not published, their readers are the people who work on them. Such a reader can
/// follow a link to a private item.
fn documentation(workspace: &Workspace) -> Result<(), Failure> {
    let flags = "-D warnings -A rustdoc::private_intra_doc_links";
    let mut cargo = workspace.cargo();
    cargo.args(["doc", "--locked", "--workspace", "--no-deps", "--document-private-items"]).env("RUSTDOCFLAGS", flags);
    process::stream(&mut cargo)
}

fn tidy(workspace: &Workspace) -> Result<(), Failure> {
    let mut cargo = workspace.cargo();
    // With all packages: from one alone, features would be unified differently and dependencies compiled again.
    cargo.args(["test", "--quiet", "--locked", "--workspace", "--test", "tidy"]);
    process::stream(&mut cargo)
}

fn strict(cargo: &mut Command) -> &mut Command {
    cargo.args(["--", "-D", "warnings"])
}

/// A part of the toolchain that may be missing: tried once through rustup.
fn component(workspace: &Workspace, subcommand: &str, name: &str) -> Result<(), Failure> {
    let there = || process::works(workspace.cargo().args([subcommand, "--version"]));
    if there() {
        return Ok(());
    }
    let advice = format!("rustup component add {name}");
    let added = step(&advice, || process::capture(process::command("rustup").args(["component", "add", name])));
    match added {
        Ok(_) if there() => Ok(()),
        Ok(_) => Err(Failure::new(format!("{name} does not run after it was added")).help(advice)),
        Err(failure) => Err(failure.help(format!("{advice} (or the package of your system that carries {name})"))),
    }
}
