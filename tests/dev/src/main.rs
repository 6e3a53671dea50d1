//! `cargo dev`: every task of this repository as one command, on any machine that has cargo and the package registries.
//!
//! People and `.ci/run` call it. It finds or installs what a task needs, says each step while it does it, and repeats
//! nothing that is already there. It depends on the standard library only, so that it builds in a second on a bare
//! machine, and it writes to `.tools/`, the target folder and (where it has the rights) the system's packages, nowhere else.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for the terminal")]

mod bench;
mod check;
mod clean;
mod cli;
mod demo;
mod mutants;
mod process;
mod report;
mod setup;
mod suite;
mod wasm;
mod workspace;

use std::process::ExitCode;

use cli::{Invocation, Task};
use report::Failure;
use workspace::Workspace;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match cli::parse(&arguments).and_then(|invocation| perform(&invocation)) {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

/// Does one task. A task that hands over to a program (the tests, the demo) never comes back from here when it works.
fn perform(invocation: &Invocation) -> Result<ExitCode, Failure> {
    let (task, help, rest) = match invocation {
        Invocation::Overview => {
            println!("{}", cli::overview());
            return Ok(ExitCode::SUCCESS);
        }
        Invocation::Run { task, help, rest } => (*task, *help, rest.as_slice()),
    };
    if help {
        println!("{}", task.help());
        return Ok(ExitCode::SUCCESS);
    }
    let workspace = Workspace::find()?;
    match task {
        Task::Demo => demo::run(&workspace, rest)?,
        Task::Test => suite::test(&workspace, rest)?,
        Task::E2e => suite::e2e(&workspace, rest)?,
        Task::Prove => suite::prove(&workspace, rest)?,
        Task::Mutants => mutants::run(&workspace, rest)?,
        Task::Bless => suite::bless(&workspace, rest)?,
        Task::Check => check::run(&workspace)?,
        Task::Bench => bench::run(&workspace, rest)?,
        Task::Clean => clean::run(&workspace, rest)?,
        Task::Wasm => {
            let (plain, bodies) = wasm::filters(&workspace)?;
            println!("{}\n{}", plain.display(), bodies.display());
        }
        Task::Envoy => println!("{}", setup::envoy(&workspace)?.display()),
    }
    Ok(ExitCode::SUCCESS)
}
