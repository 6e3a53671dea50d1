//! Refusals alike, folded into one record: a caller that is refused over and over leaves a few records of its own in a
//! window of time, and from then on one with a count. Only the form of the log depends on this, never a decision; what is
//! folded is as good as made. Bounded: so many kinds at once, each with one event.

use std::borrow::Cow;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use grantmesh_shared::time::Span;
use grantmesh_shared::wire::records::{DecisionEvent, DecisionWord};

use crate::clock::Mono;

/// So many refusals of a kind in a window have records of their own.
const ALONE: u64 = 8;

/// How long a window is, from the first refusal of its kind.
const WINDOW: Span = Span::from_secs(5);

/// The most kinds that are told apart at once; what does not fit has a record of its own.
const MAX_KINDS: usize = 128;

/// One kind of refusal in its window.
#[derive(Debug)]
struct Fold {
    hash: u64,
    begun: Mono,
    seen: u64,
    /// The first of its kind; from the first that was folded on, that one with its count.
    event: Box<DecisionEvent<'static>>,
    /// When the first that was folded came; nothing while none was.
    folded: Option<Mono>,
}

/// The kinds of refusals of the last moments.
#[derive(Debug, Default)]
pub(super) struct Folds {
    folds: Vec<Fold>,
}

/// A record that stands for what was folded, and when the first of it came.
pub(super) type Folded = (Mono, Box<DecisionEvent<'static>>);

impl Folds {
    /// Takes an event in, or gives it back if it is to have a record of its own.
    pub(super) fn take<'e>(&mut self, event: Box<DecisionEvent<'e>>, mono: Mono) -> Option<Box<DecisionEvent<'e>>> {
        if event.decision == DecisionWord::Allow || event.instead_of.is_some() {
            return Some(event);
        }
        let hash = hash(&event);
        // One whose window is over goes on until the next tick takes it out.
        let known = self.folds.iter_mut().find(|fold| fold.hash == hash && alike(&fold.event, &event));
        let Some(fold) = known else {
            if self.folds.len() < MAX_KINDS {
                let own = Box::new(DecisionEvent::clone(&event).into_owned());
                self.folds.push(Fold { hash, begun: mono, seen: 1, event: own, folded: None });
            }
            return Some(event);
        };
        fold.seen = fold.seen.saturating_add(1);
        if fold.seen <= ALONE {
            return Some(event);
        }
        match fold.folded {
            Some(_) => fold.event.count = fold.event.count.saturating_add(1),
            None => (fold.folded, fold.event) = (Some(mono), Box::new(event.into_owned())),
        }
        None
    }

    /// Takes out the kinds whose window is over; gives the records of those that were folded.
    pub(super) fn take_over(&mut self, mono: Mono) -> Vec<Folded> {
        let over = |fold: &mut Fold| mono >= fold.begun.plus(WINDOW);
        let over = self.folds.extract_if(.., over);
        over.filter_map(|fold| Some((fold.folded?, fold.event))).collect()
    }

    /// How many decisions are folded and have no record yet, and when the first of them came.
    pub(super) fn waiting(&self) -> (u64, Option<Mono>) {
        let folded = self.folds.iter().filter_map(|fold| Some((fold.event.count, fold.folded?)));
        folded.fold((0, None), |(sum, first), (count, at)| {
            (sum.saturating_add(count), Some(first.map_or(at, |first: Mono| first.min(at))))
        })
    }
}

fn hash(event: &DecisionEvent<'_>) -> u64 {
    let mut hasher = DefaultHasher::new();
    kind(event).hash(&mut hasher);
    hasher.finish()
}

fn alike(one: &DecisionEvent<'_>, other: &DecisionEvent<'_>) -> bool {
    kind(one) == kind(other)
}

/// What makes refusals alike: who, what and why. Not the path or the resource: a caller that tries them all is one.
type Kind<'e> = ((bool, &'e str, Option<&'e str>), [Option<&'e str>; 3], &'e [Cow<'e, str>]);

fn kind<'e>(event: &'e DecisionEvent<'_>) -> Kind<'e> {
    (
        (event.decision == DecisionWord::Ask, &event.service, event.action.as_deref()),
        [event.issuer.as_deref(), event.subject.as_deref(), event.workload.as_deref()],
        &event.reasons,
    )
}
