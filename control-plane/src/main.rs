//! The program `grantmesh`: reads the arguments and leaves the rest to the library.

use std::process::ExitCode;

use clap::Parser as _;
use grantmesh_control_plane::cli::{Cli, run};

#[tokio::main]
async fn main() -> ExitCode {
    run(Cli::parse()).await
}
