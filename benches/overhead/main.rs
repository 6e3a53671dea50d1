//! What the filter costs a request in Envoy, side by side in one run: `cargo dev bench overhead`.
//!
//! One Envoy with one worker and a listener per variant; every call goes through to a real upstream. For each variant the CPU time
//! of the worker thread (`/proc/PID/task/*/schedstat`) per request is read, in rounds whose order rotates; the report gives medians
//! with quartiles and the medians of the pairwise ratios. The listeners `none` and `again` are alike: their ratio is the resolution.
#![expect(clippy::print_stdout, reason = "the report is what this program is for")]

mod load;
mod mesh;
mod report;

use anyhow::Result;
use clap::Parser;
use grantmesh_tests::Parts;

use crate::mesh::{Bench, VARIANTS};
use crate::report::Report;

/// Measures the CPU of a request in Envoy with no filter, with a filter that does nothing, and with Grantmesh.
#[derive(Debug, Parser)]
struct Options {
    /// Rounds in which every variant is measured once.
    #[arg(long, default_value_t = 40)]
    rounds: usize,
    /// Requests of one measurement.
    #[arg(long, default_value_t = 1_000)]
    requests: usize,
    /// Live grants in the filter's table.
    #[arg(long, default_value_t = 10_000)]
    grants: usize,
}

/// Requests of each variant before anything is measured: V8 compiles what runs often a second time, and better.
const WARM_UP: usize = 20_000;

#[tokio::main]
async fn main() -> Result<()> {
    let options = Options::parse();
    println!("preparing {} grants through the API", options.grants);
    let bench = Bench::start(&Parts::from_environment()?, options.grants).await?;
    for variant in VARIANTS {
        bench.measure(variant, options.requests.max(WARM_UP)).await?;
    }
    println!("measuring {} rounds of {} requests for each variant", options.rounds, options.requests);
    let mut report = Report::default();
    for round in 0..options.rounds {
        for step in 0..VARIANTS.len() {
            let Some(variant) = VARIANTS.iter().cycle().nth(round.wrapping_add(step)) else {
                continue;
            };
            report.add(variant.name, round, bench.measure(*variant, options.requests).await?);
        }
    }
    println!("{report}");
    Ok(())
}
