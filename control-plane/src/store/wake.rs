//! How a process hears of commits: of its own at once, of other replicas by PostgreSQL's NOTIFY. Only ever a hint:
//! the database is the truth, and whoever waits also looks there on a period.

use std::time::Duration;

use sqlx::postgres::{PgListener, PgPool};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use super::tx::Tx;
use super::{Head, StoreError};

/// The channel's name.
pub(super) const CHANNEL: &str = "grantmesh_head";

/// The channel of what is not a change: waits for filters, and their acknowledgements.
pub(super) const FLEET_CHANNEL: &str = "grantmesh_fleet";

/// How often a lost connection is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// Tells `signal` of a head, unless it knows a later one.
pub(super) fn publish(signal: &watch::Sender<Head>, head: Head) {
    signal.send_if_modified(|known| {
        let later = head.is_after(known);
        if later {
            *known = head;
        }
        later
    });
}

/// Listens until the handle is aborted.
pub(super) fn listen(pool: PgPool, signal: watch::Sender<Head>, fleet: watch::Sender<()>) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut retry = interval(RETRY);
        retry.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            retry.tick().await;
            if let Err(error) = follow(&pool, &signal, &fleet).await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "lost the wake of other replicas, will connect again"
                );
            }
        }
    })
}

async fn follow(pool: &PgPool, signal: &watch::Sender<Head>, fleet: &watch::Sender<()>) -> Result<(), StoreError> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen_all([CHANNEL, FLEET_CHANNEL]).await?;
    loop {
        // Read once before the first wake too: what was committed while nobody listened is in the database.
        let mut tx = Tx::Postgres(pool.begin().await?);
        let head = tx.head().await?;
        drop(tx);
        publish(signal, head);
        fleet.send_replace(());
        // `None` is a connection that was lost and made anew; wakes may have been missed.
        while listener.try_recv().await?.is_some_and(|wake| wake.channel() == FLEET_CHANNEL) {
            fleet.send_replace(());
        }
    }
}
