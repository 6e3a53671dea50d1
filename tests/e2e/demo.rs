//! The demo is a story, too: it ends well when it goes as told, and not when it is interrupted before.

use std::process::{Output, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use grantmesh_tests::PATIENCE;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

fn demo() -> Command {
    let mut demo = Command::new(env!("CARGO_BIN_EXE_grantmesh-demo"));
    demo.arg("--once").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    demo
}

#[tokio::test]
async fn the_demo_goes_as_told() -> Result<()> {
    let Output { status, stdout, .. } = tokio::time::timeout(PATIENCE * 4, demo().output()).await??;
    let told = String::from_utf8(stdout)?;
    ensure!(status.success(), "it ended with {status}\n{told}");
    for command in ["request --from-url", "approve req_", "revoke grant_", "release grant_", "audit verify --log-key"] {
        ensure!(told.contains(&format!(" grantmesh {command}")), "`{command}` is not shown\n{told}");
    }
    ensure!(told.contains("recomputed and whole"), "{told}");
    Ok(())
}

#[tokio::test]
async fn a_demo_that_is_interrupted_does_not_end_well() -> Result<()> {
    let mut running = demo().spawn()?;
    let mut lines = BufReader::new(running.stdout.take().context("no output")?).lines();
    let begun = async {
        while let Some(line) = lines.next_line().await? {
            if line.contains("curl -i -X POST") {
                return Ok(());
            }
        }
        anyhow::bail!("it ended before its first call")
    };
    tokio::time::timeout(PATIENCE * 4, begun).await??;
    let id = running.id().and_then(|id| Pid::from_raw(id.cast_signed())).context("it is gone")?;
    kill_process(id, Signal::TERM)?;
    let drained = async {
        while lines.next_line().await?.is_some() {}
        anyhow::Ok(())
    };
    let (status, drained) =
        tokio::time::timeout(Duration::from_secs(30), async { tokio::join!(running.wait(), drained) }).await?;
    drained?;
    let status = status?;
    ensure!(status.code() == Some(143), "it ended with {status}");
    Ok(())
}
