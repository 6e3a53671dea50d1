//! What the filter costs a request in Envoy, side by side in one run: `cargo dev bench overhead`.
//!
//! One Envoy with one worker and a listener per variant; every call goes through to a real upstream. For each variant the CPU time
//! of the worker thread (`/proc/PID/task/*/schedstat`) per request is read, in rounds whose order rotates; the report gives medians
//! with quartiles and the medians of the pairwise ratios. Where there are two CPUs the worker has one for itself. The listeners
//! `none` and `again` are alike: their ratio is the resolution. The peers are what else could guard the call; a server that
//! one of them asks is a process of its own, whose CPU counts too.
#![expect(clippy::print_stdout, reason = "the report is what this program is for")]

mod config;
mod cpu;
mod load;
mod mesh;
mod peers;
mod report;
mod variants;

use anyhow::Result;
use clap::Parser;
use grantmesh_tests::Parts;

use crate::mesh::Bench;
use crate::report::Report;

/// Measures the CPU of a request in Envoy with no filter, with a filter that does nothing, and with Grantmesh.
#[derive(Debug, Parser)]
struct Options {
    /// Rounds in which every variant is measured once.
    #[arg(long, default_value_t = 20)]
    rounds: usize,
    /// Requests of one measurement: so many that what a measurement costs by itself, up to a second until its last records
    /// are acknowledged, is not told as theirs.
    #[arg(long, default_value_t = 8_000)]
    requests: usize,
    /// Asks for real-time priority, for machines that have other work to do; that work then waits.
    #[arg(long)]
    real_time: bool,
    /// Live grants in the filter's table.
    #[arg(long, default_value_t = 10_000)]
    grants: usize,
    /// Measures also what else could guard the call: native RBAC, a Lua filter, ext_authz over HTTP and gRPC.
    #[arg(long)]
    peers: bool,
    /// Only these variants, for example `none,grant,ext-authz-grpc`.
    #[arg(long, value_name = "NAME,...", value_delimiter = ',')]
    only: Vec<String>,
}

/// Requests of each variant before anything is measured: V8 compiles what runs often a second time, and better.
const WARM_UP: usize = 20_000;

/// Puts this process, and with it every one that it starts, before all ordinary ones. Where that is not allowed the
/// bench goes on without: its ratios are of neighbouring measurements, only its quartiles get wider.
fn ask_for_priority() {
    let own = std::process::id().to_string();
    let asked = std::process::Command::new("chrt").args(["--all-tasks", "--fifo", "--pid", "1", &own]).status();
    match asked {
        Ok(status) if status.success() => println!("running with real-time priority"),
        Ok(status) => println!("no real-time priority: chrt ended with {status}"),
        Err(error) => println!("no real-time priority: chrt cannot be run: {error}"),
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let options = Options::parse();
    if options.real_time {
        ask_for_priority();
    }
    cpu::leave_the_first();
    let variants = variants::chosen(&options.only, options.peers)?;
    println!("starting; the grants, {} if a variant needs them, come through the API", options.grants);
    let bench = Bench::start(&Parts::from_environment()?, &variants, options.grants).await?;
    for variant in &variants {
        bench.measure(*variant, options.requests.max(WARM_UP)).await?;
    }
    println!("measuring {} rounds of {} requests for each variant", options.rounds, options.requests);
    let mut report = Report::default();
    for round in 0..options.rounds {
        for variant in variants.iter().cycle().skip(round % variants.len()).take(variants.len()) {
            report.add(variant.name, round, bench.measure(*variant, options.requests).await?);
        }
    }
    println!("{report}");
    Ok(())
}
