//! What happens without anybody asking: grants start, grants, requests, locks and signals end by their time, old rows are forgotten.
//! Each task is a reconciler without input, safe to run at any moment, on any number of replicas. Started by `serve`.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use grantmesh_shared::time::Span;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::app::{App, AppError};
use crate::mark::Mark;
use crate::notify::Courier;
use crate::push::Push;

/// The longest that the task of deadlines sleeps; a deadline that was made without a wake is late by this at most.
const LONGEST_SLEEP: Duration = Duration::from_secs(5);

/// The shortest, so that a deadline that cannot be met now is not tried in a loop.
const SHORTEST_SLEEP: Duration = Duration::from_millis(20);

/// How long after a failure the next try is.
const AFTER_FAILURE: Duration = Duration::from_secs(1);

/// How far the database has come is noted at most this often.
const MARK_PERIOD: Duration = Duration::from_millis(200);
/// How often it is looked for what went with filters that are gone.
const LOSSES: Duration = Duration::from_secs(5);

/// How often it is looked whether the machine's clock is right.
const CLOCK_PERIOD: Duration = Duration::from_secs(10);

/// A clock that is so far behind is told of: smaller steps are what machines whose clocks are kept right do.
const BEHIND: Span = Span::from_secs(1);

/// How often old rows are forgotten.
const HOUSEKEEPING: Duration = Duration::from_secs(600);

/// The running tasks; they end when the sender of `stop` says so.
#[must_use]
pub fn start(
    app: &App,
    push: &Arc<Push>,
    couriers: Vec<Courier>,
    mark: Mark,
    stop: &watch::Receiver<bool>,
) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    for courier in couriers {
        tasks.spawn(until_stopped(stop.clone(), notifying(app.clone(), courier)));
    }
    tasks.spawn(until_stopped(stop.clone(), deadlines(app.clone())));
    tasks.spawn(until_stopped(stop.clone(), watching_the_clock(app.clone())));
    tasks.spawn(until_stopped(stop.clone(), losses(app.clone(), Arc::clone(push))));
    tasks.spawn(until_stopped(stop.clone(), housekeeping(app.clone(), Arc::clone(push))));
    tasks.spawn(marking(app.clone(), mark, stop.clone()));
    tasks
}

/// Notes outside of the database how far it has come, soon after every commit and at the end.
async fn marking(app: App, mark: Mark, mut stop: watch::Receiver<bool>) {
    let mut changed = app.changed();
    let mut period = interval(MARK_PERIOD);
    period.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        period.tick().await;
        let head = *changed.borrow_and_update();
        let writing = mark.clone();
        let written = tokio::task::spawn_blocking(move || writing.reach(&head)).await;
        if let Ok(Err(error)) = &written {
            tracing::warn!(
                error = error as &dyn std::error::Error,
                "how far the database has come could not be noted; it is tried again with the next change"
            );
        }
        let stopped = *stop.borrow();
        if stopped && changed.has_changed().is_ok_and(|changed| !changed) {
            return;
        }
        tokio::select! {
            // What was committed last is noted before the end.
            _ = stop.wait_for(|stopped| *stopped), if !stopped => {}
            Ok(()) = changed.changed() => {}
            else => return,
        }
    }
}

async fn until_stopped(mut stop: watch::Receiver<bool>, task: impl Future<Output = ()>) {
    tokio::select! {
        // A sender that is gone has stopped too.
        _ = stop.wait_for(|stopped| *stopped) => {}
        () = task => {}
    }
}

/// Ends what is over, then sleeps until the next deadline or the next change, which may bring an earlier one.
async fn deadlines(app: App) {
    let mut changed = app.changed();
    loop {
        changed.borrow_and_update();
        let sleep = match end_what_is_over(&app).await {
            Ok(sleep) => sleep,
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "what is over could not be ended; it is tried again"
                );
                AFTER_FAILURE
            }
        };
        // Waking early is harmless: the next round finds nothing to do.
        let _ = timeout(sleep, changed.changed()).await;
    }
}

async fn end_what_is_over(app: &App) -> Result<Duration, AppError> {
    let started = app.start_grants().await?;
    if started > 0 {
        tracing::info!(started, "the time of scheduled grants has come");
    }
    let warned = app.warn_holders().await?;
    if warned > 0 {
        tracing::info!(warned, "holders are told that their grants are about to end");
    }
    let overdue = app.tell_overdue_post_reviews().await?;
    if overdue > 0 {
        tracing::warn!(overdue, "post-reviews of what was done without an approval are overdue");
    }
    let (reminded, escalated) = (app.remind_reviewers().await?, app.escalate_requests().await?);
    if reminded > 0 || escalated > 0 {
        tracing::info!(reminded, escalated, "requests wait: their reviewers are reminded, and others may decide them");
    }
    let (expired, timed_out) = (app.expire_grants().await?, app.time_out_requests().await?);
    let (locks, signals) = (app.expire_locks().await?, app.expire_signals().await?);
    if expired > 0 || timed_out > 0 || locks > 0 || signals > 0 {
        tracing::info!(expired, timed_out, locks, signals, "grants, requests, locks and signals ended by their time");
    }
    let next = app.next_deadline().await?;
    let sleep = next.map_or(LONGEST_SLEEP, |at| at.since(app.settings().clock.now()).duration());
    Ok(sleep.clamp(SHORTEST_SLEEP, LONGEST_SLEEP))
}

/// Tells an endpoint what happens, then sleeps until the next delivery is due or the next change, which may bring one.
async fn notifying(app: App, courier: Courier) {
    let mut changed = app.changed();
    loop {
        changed.borrow_and_update();
        let tried = async {
            courier.deliver(&app).await?;
            app.next_delivery(courier.name()).await
        };
        let sleep = match tried.await {
            Ok(next) => next.map_or(LONGEST_SLEEP, |at| at.since(app.settings().clock.now()).duration()),
            Err(error) => {
                tracing::warn!(
                    endpoint = courier.name(),
                    error = &error as &dyn std::error::Error,
                    "notifications could not be looked at; it is tried again"
                );
                AFTER_FAILURE
            }
        };
        let _ = timeout(sleep.clamp(SHORTEST_SLEEP, LONGEST_SLEEP), changed.changed()).await;
    }
}

/// Tells when this machine's clock is behind the time that was told already, and when it is no longer.
async fn watching_the_clock(app: App) {
    let mut period = interval(CLOCK_PERIOD);
    period.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut was_behind = false;
    loop {
        period.tick().await;
        let behind = app.settings().clock.behind();
        let is_behind = behind > BEHIND;
        if is_behind && !was_behind {
            tracing::error!(
                behind_ms = behind.millis(),
                "this machine's clock is behind the time that was told already; time goes on from there. \
                 Set the clock; if the time that was told was wrong, stop every replica and begin a new epoch: \
                 `grantmesh new-epoch`"
            );
        } else if was_behind && !is_behind {
            tracing::info!("this machine's clock is no longer behind");
        }
        was_behind = is_behind;
    }
}

/// Tells what went with filters that are gone.
async fn losses(app: App, push: Arc<Push>) {
    let mut period = interval(LOSSES);
    period.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        period.tick().await;
        let before = push.fleet().silent_before(app.settings().clock.now());
        match app.declare_losses(before).await {
            Ok(0) => {}
            Ok(vms) => {
                tracing::warn!(vms, "filter VMs are gone, and decision records with them; the log says how many")
            }
            Err(error) => tracing::warn!(
                error = &error as &dyn std::error::Error,
                "what went with filters could not be told; it is tried again"
            ),
        }
    }
}

async fn housekeeping(app: App, push: Arc<Push>) {
    let mut period = interval(HOUSEKEEPING);
    period.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        period.tick().await;
        if let Err(error) = forget_what_is_old(&app, &push).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "old rows could not be forgotten; it is tried again"
            );
        }
    }
}

async fn forget_what_is_old(app: &App, push: &Push) -> Result<(), AppError> {
    let (keys, events) = (app.forget_idempotency_keys().await?, app.forget_events().await?);
    let now = app.settings().clock.now();
    let (gone, before) = (push.fleet().take_forgotten(now), push.fleet().forgotten_before(now));
    let vms = if gone.is_empty() { 0 } else { app.vms_gone(&gone, before).await? };
    if keys > 0 || events > 0 || vms > 0 {
        tracing::info!(keys, events, vms, "old idempotency keys, events and filter VMs were forgotten");
    }
    Ok(())
}
