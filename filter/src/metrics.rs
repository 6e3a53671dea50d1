//! What is counted, in memory: the request path only adds here, and the tick hands sums to the proxy. So counting costs
//! no host call per request, ids are looked up once, and nothing is ever incremented by zero.
//! Names are few: they come from this file, from fixed codes and from the configured services, never from callers.

use std::collections::BTreeMap;

use grantmesh_shared::wire::records::DecisionWord;

/// A counter or gauge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Metric {
    /// `grantmesh.decisions.WORD`.
    Decision(DecisionKey),
    /// `grantmesh.reasons.CODE`: the first reason of each refusal.
    Reason(&'static str),
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
    /// `grantmesh.waits.WORD`: calls that waited, and what came of it.
    Waits(&'static str),
    /// `grantmesh.host_errors`.
    HostErrors,
}

/// [`DecisionWord`], in an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DecisionKey {
    /// Let through.
    Allow,
    /// Refused; may be asked for.
    Ask,
    /// Refused.
    Deny,
}

impl From<DecisionWord> for DecisionKey {
    fn from(word: DecisionWord) -> Self {
        match word {
            DecisionWord::Allow => Self::Allow,
            DecisionWord::Ask => Self::Ask,
            DecisionWord::Deny => Self::Deny,
        }
    }
}

impl Metric {
    /// The name in the proxy's statistics.
    #[must_use]
    pub fn name(self) -> String {
        let (group, word) = match self {
            Self::Decision(DecisionKey::Allow) => ("decisions.", "allow"),
            Self::Decision(DecisionKey::Ask) => ("decisions.", "ask"),
            Self::Decision(DecisionKey::Deny) => ("decisions.", "deny"),
            Self::Reason(code) => ("reasons.", code),
            Self::Preflights => ("", "preflights"),
            Self::SyncAnswers => ("sync.", "answers"),
            Self::SyncFailure(code) => ("sync.failures.", code),
            Self::RecordsMade => ("records.", "made"),
            Self::RecordsAcknowledged => ("records.", "acknowledged"),
            Self::RecordsDropped => ("records.", "dropped"),
            Self::RecordsFailures => ("records.", "failures"),
            Self::Waits(word) => ("waits.", word),
            Self::HostErrors => ("", "host_errors"),
        };
        format!("grantmesh.{group}{word}")
    }
}

/// Sums since the last hand-over.
#[derive(Debug, Default)]
pub struct Counters {
    sums: BTreeMap<Metric, u64>,
    /// The three words per service, each for one call.
    services: BTreeMap<(Box<str>, DecisionKey), u64>,
}

impl Counters {
    /// Adds to a counter.
    pub fn add(&mut self, metric: Metric, count: u64) {
        let sum = self.sums.entry(metric).or_default();
        *sum = sum.saturating_add(count);
    }

    /// Adds one decision of a service of the configuration.
    pub fn decided(&mut self, service: &str, word: DecisionWord) {
        let key = DecisionKey::from(word);
        self.add(Metric::Decision(key), 1);
        // Looked up by a scan: services are few, and their names must not be allocated for every call.
        let known = self.services.iter_mut().find(|((name, known), _)| *known == key && **name == *service);
        match known {
            Some((_, sum)) => *sum = sum.saturating_add(1),
            None => {
                self.services.insert((service.into(), key), 1);
            }
        }
    }

    /// Takes every sum that is not zero, with its name.
    pub fn take(&mut self) -> Vec<(String, u64)> {
        let mut taken = Vec::new();
        for (metric, sum) in &mut self.sums {
            taken.push((metric.name(), std::mem::take(sum)));
        }
        for ((service, key), sum) in &mut self.services {
            let name = Metric::Decision(*key).name();
            taken.push((format!("{name}.{service}"), std::mem::take(sum)));
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
