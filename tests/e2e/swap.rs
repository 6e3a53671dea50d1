//! The filter's configuration is swapped under load, as a mesh does it: no call is lost and none gets by undecided.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use grantmesh_tests::{ALICE, Api, Delivery, MALLORY, Mesh, PATIENCE, Setup, play, until};
use serde_json::json;

const SWAPS: u64 = 8;

#[test]
fn a_swap_under_load_loses_nothing_and_lets_nothing_by() {
    play(Setup { delivery: Delivery::Discovery, ..Setup::default() }, async |mesh| {
        let (alice, mallory) = (mesh.caller(&ALICE).await?, mesh.caller(&MALLORY).await?);
        let (stop, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let load: Vec<_> = (0..4)
            .map(|at| {
                let (caller, path, status) = if at % 2 == 0 {
                    (&alice, "/v1/accounts/acc-42", 200)
                } else {
                    (&mallory, "/v1/accounts/evil", 403)
                };
                tokio::spawn(keep_calling(caller.clone(), path, status, Arc::clone(&stop), Arc::clone(&calls)))
            })
            .collect();

        for generation in 2..2 + SWAPS {
            let (loaded, called) = (updates(mesh).await?, calls.load(Ordering::Relaxed));
            mesh.envoy()?.swap_filter(|plugin| plugin["generation"] = json!(generation))?;
            until("Envoy has taken the new configuration", PATIENCE, async || {
                Ok((updates(mesh).await? > loaded).then_some(()))
            })
            .await?;
            until("calls go on under the new configuration", PATIENCE, async || {
                ensure!(load.iter().all(|one| !one.is_finished()), "a call was not answered as it should be");
                Ok((calls.load(Ordering::Relaxed) > called + 50).then_some(()))
            })
            .await?;
        }
        stop.store(true, Ordering::Relaxed);
        for one in load {
            one.await??;
        }
        println!("{} calls over {SWAPS} swaps", calls.load(Ordering::Relaxed));
        assert!(mesh.upstream.served().iter().all(|call| call.target == "/v1/accounts/acc-42"), "one got by");

        // The newest configuration follows the state; the ones before it are silent.
        mesh.until_all_follow().await?;
        mesh.grant("acc-42", "10m").await?;
        mesh.until_refund_is("acc-42", 200).await?;
        mesh.envoy()?.filter_is_unharmed().await
    });
}

#[test]
fn a_configuration_that_cannot_be_read_changes_nothing() {
    play(Setup { delivery: Delivery::Discovery, ..Setup::default() }, async |mesh| {
        mesh.grant("acc-42", "10m").await?;
        mesh.until_refund_is("acc-42", 200).await?;
        let stats = "extension_config_discovery.*(config_fail|update_rejected|update_failure)";
        let refused = mesh.envoy()?.stat(stats).await?;
        mesh.envoy()?.swap_filter(|plugin| plugin["servces"] = json!(["payments"]))?;
        until("Envoy refuses it", Duration::from_secs(10), async || {
            Ok((mesh.envoy()?.stat(stats).await? > refused).then_some(()))
        })
        .await?;
        mesh.until_refund_is("acc-42", 200).await?;
        assert_eq!(mesh.refund("acc-43").await?.status, 403);
        Ok(())
    });
}

async fn updates(mesh: &mut Mesh) -> Result<u64> {
    mesh.envoy()?.stat("extension_config_discovery.*config_reload$").await
}

async fn keep_calling(
    caller: Api,
    path: &str,
    status: u16,
    stop: Arc<AtomicBool>,
    calls: Arc<AtomicU64>,
) -> Result<()> {
    while !stop.load(Ordering::Relaxed) {
        let reply = caller.get(path).await?;
        ensure!(reply.status == status, "{path} was answered with {}: {}", reply.status, reply.text());
        calls.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}
