//! A filter that has fallen behind takes the step in pages; one that has fallen far behind loads everything anew while calls
//! go on: they are decided by the table that it has, no worker stands still for it, and a million grants fit. How long calls
//! take before, meanwhile and while the load is held up, what one turn of a worker takes of a processor, which program takes
//! how much of the processors, and what the table takes of memory is printed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use grantmesh_tests::{ALICE, Api, Latencies, Mesh, Setup, Weather, play, proof_size, until, until_every};
use sqlx::{Connection as _, SqliteConnection};

/// So many grants there are, of a tenth as many people.
fn grants() -> usize {
    proof_size(3_000, 1_000_000)
}

/// Callers at a time.
const CALLERS: usize = 2;

/// Between two calls of one caller.
const PAUSE: Duration = Duration::from_millis(2);

/// For so long the load goes on, and then is held up, by turns: what else the machine does is the same in both.
const TURNS: [Duration; 2] = [Duration::from_secs(20), Duration::from_secs(10)];

/// How long every page takes while it is held up.
const HELD_UP: Weather = Weather::Slow(Duration::from_millis(500));

/// When a call was made, and how long it took.
type Call = (Instant, Duration);

#[test]
fn proof_a_large_table_is_loaded_while_calls_go_on() {
    play(
        Setup { counted_turns: true, serve: &["--fresh-standard", "30m", "--fresh-low", "30m"], ..Setup::default() },
        async |mesh| {
            let (grants, patience) = (grants(), Duration::from_secs(20 + u64::try_from(grants() / 1_000)?));
            // The filter misses one change, and a million grants of the same moment.
            mesh.cable.cut();
            mesh.grant("acc-42", "1h").await?;
            mesh.control_plane.stop().await?;
            put_grants(mesh, grants, 0).await?;
            mesh.control_plane.run().await?;
            let ((), quiet) = calls_while(mesh, async |_| rest(Duration::from_secs(10)).await).await?;
            let (turns, memory) = (longest_turns(mesh).await?, resident(mesh)?);

            let (begun, most, worked) = (Instant::now(), u64::try_from(grants)?, processor_times(mesh)?);
            mesh.cable.mend();
            let (held_up, calls) = calls_while(mesh, async |mesh| {
                let (mut last, mut held_up) = (Vec::new(), Vec::<(Instant, Instant)>::new());
                let (mut turn, mut is_held_up) = (Instant::now(), false);
                // Not all the time: the proxy has better to do.
                let look = Duration::from_secs(1).min(patience / 100);
                let all = until_every(look, "every VM has everything", patience, async || {
                    if turn.elapsed() > TURNS[usize::from(is_held_up)] {
                        if is_held_up {
                            held_up.push((turn, Instant::now()));
                        }
                        (turn, is_held_up) = (Instant::now(), !is_held_up);
                        mesh.cable.make(if is_held_up { HELD_UP } else { Weather::Fine });
                    }
                    last = mesh.envoy()?.stats("table.items|callouts|failures").await?;
                    Ok(last.iter().any(|(name, items)| name.ends_with("items") && *items > most).then_some(()))
                });
                all.await.with_context(|| format!("{last:?} {} {}", mesh.cable.snapshots(), mesh.cable.deltas()))?;
                mesh.cable.mend();
                if is_held_up {
                    held_up.push((turn, Instant::now()));
                }
                Ok(held_up)
            })
            .await?;
            let (took, still) = (begun.elapsed(), held_up.iter().map(|(from, to)| *to - *from).sum::<Duration>());
            let works = processor_times(mesh)?;
            mesh.until_all_follow().await?;
            let (later, grown) = (longest_turns(mesh).await?, resident(mesh)?.saturating_sub(memory));
            println!("{grants} grants in {took:.1?}, held up for {still:.1?} of it");
            for (name, before, now) in works.iter().zip(&worked).map(|(now, before)| (now.0, before.1, now.1)) {
                println!("{name}: {:.1?} of a processor", now.saturating_sub(before));
            }
            // Pages that were on their way when the weather changed are of neither.
            let settled = Duration::from_secs(1);
            let in_turn = |call: &Call| held_up.iter().any(|(from, to)| (*from..*to).contains(&call.0));
            let is_settled = |call: &Call| {
                held_up.iter().all(|(from, to)| {
                    !(*from..*from + settled).contains(&call.0) && !(*to..*to + settled).contains(&call.0)
                })
            };
            let (still, busy): (Vec<_>, Vec<_>) = calls.into_iter().filter(is_settled).partition(in_turn);
            for (name, calls) in [("before", quiet), ("held up", still), ("while", busy)] {
                let latencies = calls.into_iter().map(|(_, took)| took).collect::<Latencies>();
                println!("calls {name}: p99 {:.2?}, {}", latencies.quantile(0.99), latencies.to_json());
            }
            println!("turns of the workers, and answers that they took in: before {turns}\n with the load {later}");
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

#[test]
fn a_step_of_many_changes_comes_in_pages() {
    play(Setup::default(), async |mesh| {
        // Everything there is for the first, more than one answer may have for the second, which is less than everything.
        for (grants, locks, account, is_step) in [(4_000, 0, "acc-41", false), (2_200, 80, "acc-42", true)] {
            mesh.until_all_follow().await?;
            mesh.cable.cut();
            // Of the revision that the next change has, which makes them known.
            put_grants(mesh, grants, 1).await?;
            put_locks(mesh, locks).await?;
            mesh.grant(account, "1h").await?;
            let (snapshots, deltas) = (mesh.cable.snapshots(), mesh.cable.deltas());
            mesh.cable.mend();
            mesh.until_refund_is(account, 200).await?;
            mesh.until_all_follow().await?;
            let (snapshots, deltas) = (mesh.cable.snapshots() - snapshots, mesh.cable.deltas() - deltas);
            let pages = 3 * u64::try_from(grants)? / 20;
            let (come, do_not) = if is_step { (deltas, snapshots) } else { (snapshots, deltas) };
            ensure!(come >= pages && do_not <= 3, "{snapshots} pages of snapshots, {deltas} of steps");
            ensure!(!is_step || snapshots == 0, "{snapshots} pages of snapshots");
        }
        let items = mesh.envoy()?.stats("table.items").await?;
        ensure!(items.iter().any(|(_, items)| *items > 6_280), "{items:?}");
        mesh.envoy()?.filter_is_unharmed().await
    });
}

async fn rest(time: Duration) -> Result<()> {
    let begun = Instant::now();
    until("some time has passed", time * 2, async || Ok((begun.elapsed() >= time).then_some(()))).await
}

/// How long Alice's calls take while something goes on; all of them are let through.
async fn calls_while<T>(mesh: &mut Mesh, what: impl AsyncFnOnce(&mut Mesh) -> Result<T>) -> Result<(T, Vec<Call>)> {
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
    done.map(|done| (done, all))
}

async fn keep_calling(caller: Api, stop: Arc<AtomicBool>) -> Result<Vec<Call>> {
    let (mut took, mut next) = (Vec::new(), tokio::time::interval(PAUSE));
    next.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    while !stop.load(Ordering::Relaxed) {
        next.tick().await;
        let asked = Instant::now();
        let reply = caller.get("/v1/accounts/acc-42").await?;
        took.push((asked, asked.elapsed()));
        ensure!(reply.status == 200, "{}", reply.text());
    }
    Ok(took)
}

/// Grants as filters load them, of the revision that is so many after the present one.
async fn put_grants(mesh: &Mesh, count: usize, later: i64) -> Result<()> {
    let mut database = SqliteConnection::connect(&mesh.control_plane.database()).await?;
    let sql = r#"
        WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < $1),
        ids AS MATERIALIZED (SELECT n, '01kb' || printf('%06d', n - 1) || lower(hex(randomblob(8))) AS id FROM numbers)
        INSERT INTO table_items (item_key, service, revision, is_first, body)
        SELECT 'grant/grant_' || id, 'payments', (SELECT max(revision) + $2 FROM table_items), 1,
            printf('{"grant":{"id":"grant_%s","request":"req_%s","holder":{"user":{"issuer":"https://dev-issuer.grantmesh.invalid","subject":"user-%d"}},"service":"payments","action":"refund.create","resource":"account/acc-%d","rule":"refund-by-support","starts_at":%d,"expires_at":%d}}',
                id, id, n / 10, 1000 + n, 1800000000000 + n, 1800003600000 + n) FROM ids"#;
    let done = sqlx::query(sql).bind(i64::try_from(count)?).bind(later).execute(&mut database).await?;
    ensure!(done.rows_affected() == u64::try_from(count)?, "{} rows", done.rows_affected());
    Ok(())
}

/// Locks as filters load them, of the next revision, in more than a page: what is no grant comes into force at one go.
async fn put_locks(mesh: &Mesh, count: usize) -> Result<()> {
    let mut database = SqliteConnection::connect(&mesh.control_plane.database()).await?;
    let sql = r#"
        WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < $1)
        INSERT INTO table_items (item_key, service, revision, is_first, body)
        SELECT printf('lock/lock_01kb%022d', n), NULL, (SELECT max(revision) FROM table_items), 1,
            printf('{"lock":{"id":"lock_01kb%022d","subject":{"group":{"issuer":"https://id.example","name":"suspects-%d"}},"reason":"an account that is under suspicion"}}', n, n)
        FROM numbers WHERE n <= $1"#;
    let done = sqlx::query(sql).bind(i64::try_from(count)?).execute(&mut database).await?;
    ensure!(done.rows_affected() >= u64::try_from(count)?, "{} rows", done.rows_affected());
    Ok(())
}

/// What the turns of the workers took of a processor so far, and how many answers of the control plane at most so many
/// microseconds by the clock.
async fn longest_turns(mesh: &mut Mesh) -> Result<String> {
    let turns: String = mesh.turns()?.iter().map(|worker| format!("\n  {worker}")).collect();
    let all = mesh.envoy()?.prometheus().await?;
    let answers = all.lines().filter(|line| line.contains("grantmesh_answer_us_bucket"));
    let bounds = ["500", "1000", "2500", "5000", "10000", "25000", "+Inf"].map(|bound| format!("le=\"{bound}\""));
    let answers = answers.filter(|line| bounds.iter().any(|bound| line.contains(bound)));
    Ok(turns + &answers.map(|line| format!("\n  {line}")).collect::<String>())
}

/// What each program took of the processors so far.
fn processor_times(mesh: &mut Mesh) -> Result<[(&'static str, Duration); 3]> {
    let (proxy, control_plane) = (mesh.envoy()?.process().id(), mesh.control_plane.id()?);
    let programs = [("proxy", proxy), ("control plane", control_plane), ("story", std::process::id())];
    let mut times = [("", Duration::ZERO); 3];
    for (time, (name, id)) in times.iter_mut().zip(programs) {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat"))?;
        // proc_pid_stat(5): user and system time are fields 14 and 15, in hundredths of a second.
        let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
        let ticks = fields.skip(11).take(2).map(str::parse::<u64>).sum::<Result<u64, _>>()?;
        *time = (name, Duration::from_millis(ticks * 10));
    }
    Ok(times)
}

/// KiB that the proxy has in memory.
fn resident(mesh: &mut Mesh) -> Result<usize> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", mesh.envoy()?.process().id()))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
