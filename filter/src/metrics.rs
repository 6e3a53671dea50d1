//! What is counted, in memory: the request path only adds here, and the tick hands sums to the proxy. So counting costs
//! no host call per request, ids are looked up once, and nothing is ever incremented by zero.
//! Names are few: they come from this file, from fixed codes and from the configured services, never from callers.

use grantmesh_shared::engine::ConditionError;
use grantmesh_shared::wire::records::DecisionWord;

/// A counter, beside those of decisions (`grantmesh.decisions.WORD` and `grantmesh.decisions.WORD.SERVICE`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// `grantmesh.reasons.CODE`: the first reason of each refusal.
    Reason(&'static str),
    /// `grantmesh.shadowed.CODE`: the first reason of each refusal that was let through in shadow.
    Shadowed(&'static str),
    /// `grantmesh.condition_errors.CODE`.
    ConditionError(&'static str),
    /// `grantmesh.preflights`.
    Preflights,
    /// `grantmesh.sync.answers`.
    SyncAnswers,
    /// `grantmesh.sync.failures.CODE`.
    SyncFailure(&'static str),
    /// `grantmesh.records.made`.
    RecordsMade,
    /// `grantmesh.records.acknowledged`.
    RecordsAcknowledged,
    /// `grantmesh.records.dropped`.
    RecordsDropped,
    /// `grantmesh.records.failures`.
    RecordsFailures,
    /// `grantmesh.sleeps`: how often the machine may have slept.
    Sleeps,
    /// `grantmesh.waits.WORD`: calls that waited, and what came of it.
    Waits(&'static str),
    /// `grantmesh.host_errors`.
    HostErrors,
}

impl Metric {
    /// The name in the proxy's statistics.
    #[must_use]
    pub fn name(self) -> String {
        let (group, word) = match self {
            Self::Reason(code) => ("reasons.", code),
            Self::Shadowed(code) => ("shadowed.", code),
            Self::ConditionError(code) => ("condition_errors.", code),
            Self::Preflights => ("", "preflights"),
            Self::SyncAnswers => ("sync.", "answers"),
            Self::SyncFailure(code) => ("sync.failures.", code),
            Self::RecordsMade => ("records.", "made"),
            Self::RecordsAcknowledged => ("records.", "acknowledged"),
            Self::RecordsDropped => ("records.", "dropped"),
            Self::RecordsFailures => ("records.", "failures"),
            Self::Sleeps => ("", "sleeps"),
            Self::Waits(word) => ("waits.", word),
            Self::HostErrors => ("", "host_errors"),
        };
        format!("grantmesh.{group}{word}")
    }
}

/// Sums since the last hand-over. Kept in lists that are looked through: there are few, and a call touches one or two.
#[derive(Debug, Default)]
pub struct Counters {
    sums: Vec<(Metric, u64)>,
    services: Vec<Decided>,
}

/// The decisions for calls of one service.
#[derive(Debug)]
struct Decided {
    service: Box<str>,
    allow: u64,
    ask: u64,
    deny: u64,
}

impl Decided {
    const fn sum(&mut self, word: DecisionWord) -> &mut u64 {
        match word {
            DecisionWord::Allow => &mut self.allow,
            DecisionWord::Ask => &mut self.ask,
            DecisionWord::Deny => &mut self.deny,
        }
    }
}

impl Counters {
    /// Adds to a counter.
    pub fn add(&mut self, metric: Metric, count: u64) {
        match self.sums.iter_mut().find(|(known, _)| *known == metric) {
            Some((_, sum)) => *sum = sum.saturating_add(count),
            None => self.sums.push((metric, count)),
        }
    }

    /// Adds one decision of a service of the configuration.
    pub fn decided(&mut self, service: &str, word: DecisionWord) {
        // Names must not be allocated for every call.
        if let Some(known) = self.services.iter_mut().find(|known| *known.service == *service) {
            let sum = known.sum(word);
            *sum = sum.saturating_add(1);
            return;
        }
        let mut new = Decided { service: service.into(), allow: 0, ask: 0, deny: 0 };
        *new.sum(word) = 1;
        self.services.push(new);
    }

    /// Notes conditions that could not be judged.
    pub fn condition_errors(&mut self, errors: &[ConditionError<'_>]) {
        for ConditionError { error, .. } in errors {
            self.add(Metric::ConditionError(error.code()), 1);
        }
    }

    /// Takes every sum that is not zero, with its name.
    pub fn take(&mut self) -> Vec<(String, u64)> {
        let mut taken = Vec::new();
        for word in [DecisionWord::Allow, DecisionWord::Ask, DecisionWord::Deny] {
            let name = format!("grantmesh.decisions.{}", word.as_str());
            let mut total = 0_u64;
            for decided in &mut self.services {
                let sum = std::mem::take(decided.sum(word));
                total = total.saturating_add(sum);
                taken.push((format!("{name}.{}", decided.service), sum));
            }
            taken.push((name, total));
        }
        for (metric, sum) in &mut self.sums {
            taken.push((metric.name(), std::mem::take(sum)));
        }
        taken.retain(|(_, sum)| *sum != 0);
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_handed_over_once_and_never_as_zero() {
        let mut counters = Counters::default();
        counters.decided("payments", DecisionWord::Allow);
        counters.decided("payments", DecisionWord::Allow);
        counters.decided("ledger", DecisionWord::Ask);
        counters.add(Metric::SyncFailure("nonce"), 3);
        counters.add(Metric::RecordsMade, 0);
        let mut taken = counters.take();
        taken.sort();
        let expected = [
            ("grantmesh.decisions.allow", 2),
            ("grantmesh.decisions.allow.payments", 2),
            ("grantmesh.decisions.ask", 1),
            ("grantmesh.decisions.ask.ledger", 1),
            ("grantmesh.sync.failures.nonce", 3),
        ];
        assert_eq!(taken, expected.map(|(name, sum)| (name.to_owned(), sum)));
        assert_eq!(counters.take(), Vec::new());
    }
}
