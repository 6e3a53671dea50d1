//! A filter that has fallen far behind loads everything anew while calls go on: they are decided by the table that it has, no
//! worker stands still for it, and a million grants fit. How long calls take before and meanwhile, what one turn of a
//! worker takes and what the table takes of memory is printed.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use grantmesh_tests::{ALICE, Api, Latencies, Mesh, Setup, play, proof_size, until, until_every};
use serde_json::{Value, json};
use sqlx::{Connection as _, SqliteConnection};

/// So many grants there are, of a tenth as many people.
fn grants() -> usize {
    proof_size(3_000, 1_000_000)
}

/// Callers at a time.
const CALLERS: usize = 2;

/// Between two calls of one caller.
const PAUSE: Duration = Duration::from_millis(2);

#[test]
fn proof_a_large_table_is_loaded_while_calls_go_on() {
    play(
        Setup {
            change: with_the_length_of_turns,
            serve: &["--fresh-standard", "30m", "--fresh-low", "30m"],
            ..Setup::default()
        },
        async |mesh| {
            let (grants, patience) = (grants(), Duration::from_secs(20 + u64::try_from(grants() / 1_000)?));
            // The filter misses one change, and a million grants of the same moment.
            mesh.cable.cut();
            mesh.grant("acc-42", "1h").await?;
            mesh.control_plane.stop().await?;
            put_grants(mesh, grants).await?;
            mesh.control_plane.run().await?;
            let quiet = calls_while(mesh, async |_| rest(Duration::from_secs(10)).await).await?;
            let (turns, memory) = (longest_turns(mesh).await?, resident(mesh)?);

            let (begun, most) = (Instant::now(), u64::try_from(grants)?);
            mesh.cable.mend();
            let busy = calls_while(mesh, async |mesh| {
                let mut last = Vec::new();
                // Not all the time: the proxy has better to do.
                let look = Duration::from_secs(1).min(patience / 100);
                let all = until_every(look, "every VM has everything", patience, async || {
                    last = mesh.envoy()?.stats("table.items|callouts|failures").await?;
                    Ok(last.iter().any(|(name, items)| name.ends_with("items") && *items > most).then_some(()))
                });
                all.await.with_context(|| format!("{last:?} {} {}", mesh.cable.snapshots(), mesh.cable.deltas()))
            })
            .await?;
            let took = begun.elapsed();
            mesh.until_all_follow().await?;
            let (later, grown) = (longest_turns(mesh).await?, resident(mesh)?.saturating_sub(memory));
            println!("{grants} grants in {took:.1?}");
            for (name, latencies) in [("before", &quiet), ("while", &busy)] {
                let p99 = latencies.quantile(0.99);
                println!("calls {name}: p99 {p99:.2?}, {}", latencies.to_json());
            }
            println!("longest turns of the workers: before {turns}\n while {later}");
            println!("memory of the proxy: {} KiB more, {} bytes a grant and VM", grown, grown * 1_024 / 3 / grants);

            // One of the million, in every worker.
            let caller = mesh.caller(&ALICE).await?;
            let read = caller.get("/v1/accounts/acc-42").await?;
            ensure!(read.status == 200, "{}", read.text());
            mesh.until_refund_is("acc-42", 200).await?;
            mesh.envoy()?.filter_is_unharmed().await
        },
    );
}

async fn rest(time: Duration) -> Result<()> {
    let begun = Instant::now();
    until("some time has passed", time * 2, async || Ok((begun.elapsed() >= time).then_some(()))).await
}

/// How long Alice's calls take while something goes on; all of them are let through.
async fn calls_while(mesh: &mut Mesh, what: impl AsyncFnOnce(&mut Mesh) -> Result<()>) -> Result<Latencies> {
    let caller = mesh.caller(&ALICE).await?;
    let stop = Arc::new(AtomicBool::new(false));
    let calls = (0..CALLERS).map(|_| {
        let (caller, stop) = (caller.clone(), Arc::clone(&stop));
        // On threads of their own: what the rest of the story does is not to be part of how long a call takes.
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async { keep_calling(caller.reconnected()?, stop).await })
        })
    });
    let calls: Vec<_> = calls.collect();
    let done = what(mesh).await;
    stop.store(true, Ordering::Relaxed);
    let mut all = Vec::new();
    for calls in calls {
        all.append(&mut calls.join().map_err(|_| anyhow::anyhow!("a caller panicked"))??);
    }
    done.map(|()| Latencies::from_iter(all))
}

async fn keep_calling(caller: Api, stop: Arc<AtomicBool>) -> Result<Vec<Duration>> {
    let (mut took, mut next) = (Vec::new(), tokio::time::interval(PAUSE));
    next.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    while !stop.load(Ordering::Relaxed) {
        next.tick().await;
        let asked = Instant::now();
        let reply = caller.get("/v1/accounts/acc-42").await?;
        took.push(asked.elapsed());
        ensure!(reply.status == 200, "{}", reply.text());
    }
    Ok(took)
}

/// Grants of the present revision, as filters load them.
async fn put_grants(mesh: &Mesh, count: usize) -> Result<()> {
    let mut database = SqliteConnection::connect(&mesh.control_plane.database()).await?;
    let sql = r#"
        WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < $1),
        ids AS MATERIALIZED (SELECT n, '01kb' || printf('%06d', n - 1) || lower(hex(randomblob(8))) AS id FROM numbers)
        INSERT INTO table_items (item_key, service, revision, body)
        SELECT 'grant/grant_' || id, 'payments', (SELECT max(revision) FROM table_items),
            printf('{"grant":{"id":"grant_%s","request":"req_%s","holder":{"user":{"issuer":"https://dev-issuer.grantmesh.invalid","subject":"user-%d"}},"service":"payments","action":"refund.create","resource":"account/acc-%d","rule":"refund-by-support","starts_at":%d,"expires_at":%d}}',
                id, id, n / 10, 1000 + n, 1800000000000 + n, 1800003600000 + n) FROM ids"#;
    let done = sqlx::query(sql).bind(i64::try_from(count)?).execute(&mut database).await?;
    ensure!(done.rows_affected() == u64::try_from(count)?, "{} rows", done.rows_affected());
    Ok(())
}

fn with_the_length_of_turns(bootstrap: &mut Value, _: &Path) {
    bootstrap["enable_dispatcher_stats"] = json!(true);
}

/// Quantiles of how long the turns of the workers' loops took so far, in microseconds.
async fn longest_turns(mesh: &mut Mesh) -> Result<String> {
    let all = mesh.envoy()?.prometheus().await?;
    let lines = all.lines().filter(|line| line.contains("worker") && line.contains("loop_duration_us_bucket"));
    let mut turns = String::new();
    for line in lines.filter(|line| {
        ["\"500\"", "\"1000\"", "\"2500\"", "\"5000\"", "\"10000\"", "\"25000\"", "\"+Inf\""]
            .iter()
            .any(|bound| line.contains(bound))
    }) {
        turns.push_str("\n  ");
        turns.push_str(line);
    }
    Ok(turns)
}

/// KiB that the proxy has in memory.
fn resident(mesh: &mut Mesh) -> Result<usize> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", mesh.envoy()?.process().id()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
