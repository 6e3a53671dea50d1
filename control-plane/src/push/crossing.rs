//! How a wait is over as soon as VMs that other replicas answer have acknowledged: who waits says so in the store, and as
//! long as somebody does, every other replica keeps there what its VMs acknowledge.
//!
//! ```text
//!  here                 the store                another replica
//!  tell ──────────────► waits ─────────────────► whose VMs have it?
//!  meet_others ◄─────── vms.reached ◄─────────── share
//! ```
//!
//! Both sides look when PostgreSQL wakes them, and on a period. Where anything of this fails, the lease's end shows instead.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use grantmesh_shared::time::{Span, Timestamp};
use grantmesh_shared::wire::sync::Position;
use tokio::sync::Notify;
use tokio::time::{interval, timeout};

use super::fleet::Arrival;
use super::fleet::elsewhere::is_waited_for;
use super::{KEEP_MARGIN, PERIOD, Push};
use crate::app::{App, AppError, OpenWait, WaitToTell};
use crate::clock::RandomError;

/// How often it is looked while somebody waits: the longest that an acknowledgement goes unseen if its wake is lost.
const PERIOD_WHILE_WAITING: Duration = Duration::from_millis(250);

/// How long news gather before it is looked. A wait that is over by then is not told to anybody.
const GATHER: Duration = Duration::from_millis(20);

/// What this replica tells others, and what it heard of them.
#[derive(Debug)]
pub(super) struct Crossing {
    /// A name that no other replica has, nor this one after a restart.
    replica: String,
    state: Mutex<State>,
    news: Notify,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    mine: BTreeMap<String, Mine>,
    /// What others wait for, as of the last look.
    elsewhere: Vec<OpenWait>,
}

/// A wait of this replica's.
#[derive(Debug)]
enum Mine {
    Untold {
        wait: OpenWait,
        ends_at: Timestamp,
    },
    Told,
    /// To be taken back.
    Over,
}

impl Crossing {
    pub(super) fn new(app: &App) -> Result<Self, RandomError> {
        let mut name = [0; 8];
        app.settings().random.fill(&mut name)?;
        let replica = format!("{:016x}", u64::from_be_bytes(name));
        Ok(Self { replica, state: Mutex::default(), news: Notify::new() })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A VM acknowledged here.
    pub(super) fn acknowledged(&self, position: Position) {
        if is_waited_for(&self.state().elsewhere, position) {
            self.look();
        }
    }

    /// There is something to look for.
    pub(super) fn look(&self) {
        self.news.notify_one();
    }

    fn begin(&self, wait: OpenWait, ends_at: Timestamp) -> Waiting<'_> {
        let mut state = self.state();
        let id = format!("{}-{}", self.replica, state.next);
        state.next = state.next.wrapping_add(1);
        state.mine.insert(id.clone(), Mine::Untold { wait, ends_at });
        self.look();
        Waiting { crossing: self, id }
    }

    fn is_quiet(&self) -> bool {
        let state = self.state();
        state.mine.is_empty() && state.elsewhere.is_empty()
    }

    /// What others are to be told: waits that began and waits that are over.
    fn to_tell(&self) -> (Vec<WaitToTell>, Vec<String>) {
        let (mut begun, mut over) = (Vec::new(), Vec::new());
        for (id, mine) in &mut self.state().mine {
            match mine {
                Mine::Untold { wait, ends_at } => {
                    let (wait, ends_at) = (wait.clone(), *ends_at);
                    begun.push(WaitToTell { id: id.clone(), replica: self.replica.clone(), wait, ends_at });
                    // From now on it may be in the store, whatever becomes of the write.
                    *mine = Mine::Told;
                }
                Mine::Told => {}
                Mine::Over => over.push(id.clone()),
            }
        }
        (begun, over)
    }

    fn not_told(&self, begun: Vec<WaitToTell>) {
        let mut state = self.state();
        for WaitToTell { id, wait, ends_at, .. } in begun {
            if let Some(mine @ Mine::Told) = state.mine.get_mut(&id) {
                *mine = Mine::Untold { wait, ends_at };
            }
        }
    }
}

/// A wait while it lasts.
struct Waiting<'c> {
    crossing: &'c Crossing,
    id: String,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut state = self.crossing.state();
        match state.mine.get_mut(&self.id) {
            Some(mine @ Mine::Told) => *mine = Mine::Over,
            _ => drop(state.mine.remove(&self.id)),
        }
    }
}

impl Push {
    /// Waits until the change at `position` has arrived at every VM of a service (of all services if none is named), or
    /// `bound` is over. A VM that another replica answers is done when that replica has kept its acknowledgement, or when its
    /// lease has run out.
    pub async fn prove_arrival(&self, service: Option<&str>, position: Position, bound: Duration) -> Arrival {
        let clock = &*self.app.settings().clock;
        let arrived = async {
            let mut waiting = None;
            loop {
                let all_known = self.meet_others().await;
                if all_known && self.fleet.arrival(service, position, clock.now()).complete {
                    return;
                }
                waiting.get_or_insert_with(|| {
                    let ends_at = clock.now().plus(Span::from_millis(u64::try_from(bound.as_millis()).unwrap_or(0)));
                    self.crossing.begin(OpenWait { service: service.map(str::to_owned), position }, ends_at)
                });
                self.fleet.wait(service, position, bound, clock).await;
                // Known again: others may have met VMs meanwhile. If they are not known, that is told instead of tried for ever.
                if !all_known {
                    return;
                }
            }
        };
        // Either it arrived or the time is over; what is told is read below.
        let _ = timeout(bound, arrived).await;
        let all_known = self.meet_others().await;
        let mut arrival = self.fleet.arrival(service, position, clock.now());
        arrival.complete &= all_known;
        arrival
    }

    /// Takes in the VMs that other replicas have answered; gives whether that was possible.
    async fn meet_others(&self) -> bool {
        match self.app.load_vms().await {
            Ok(stored) => {
                self.fleet.met_elsewhere(stored, KEEP_MARGIN);
                true
            }
            Err(error) => {
                tracing::warn!(%error, "the filters of other replicas are not known; no arrival can be proven now");
                false
            }
        }
    }

    /// Tells and hears of other replicas until [`Push::end`].
    pub(super) async fn cross(&self) {
        let mut told = self.app.fleet_told();
        let mut gather = interval(GATHER);
        while !self.ended.load(Ordering::Acquire) {
            let news = async {
                tokio::select! {
                    () = self.crossing.news.notified() => {}
                    Ok(()) = told.changed() => {}
                }
                gather.reset();
                gather.tick().await;
            };
            let period = if self.crossing.is_quiet() { PERIOD } else { PERIOD_WHILE_WAITING };
            // Either there are news or it is time.
            let _ = timeout(period, news).await;
            if let Err(error) = self.look_across().await {
                tracing::warn!(%error, "other replicas are not heard; waits for their filters last until a lease ends");
            }
        }
    }

    async fn look_across(&self) -> Result<(), AppError> {
        let (begun, over) = self.crossing.to_tell();
        if !begun.is_empty() || !over.is_empty() {
            if let Err(error) = self.app.tell_waits(&begun, &over).await {
                self.crossing.not_told(begun);
                return Err(error);
            }
            self.crossing.state().mine.retain(|id, _| !over.contains(id));
        }
        let elsewhere = self.app.waits_elsewhere(&self.crossing.replica).await?;
        self.crossing.state().elsewhere.clone_from(&elsewhere);
        let reached = self.fleet.unshared(&elsewhere);
        if !reached.is_empty() {
            self.app.vms_reached(&reached).await?;
            self.fleet.shared(&reached);
        }
        if self.fleet.is_waited_for() {
            self.meet_others().await;
        }
        Ok(())
    }
}
