//! What is counted, in memory: the request path only adds here, and the tick hands sums to the proxy. So counting costs
//! no host call and no allocation per request, names are written and looked up once, and nothing is ever incremented by
//! zero. Names are few: they come from this file, from fixed codes and from the configured services, never from callers.
//!
//! Tags are written into names as Istio's are, `NAME=.=VALUE;.;`, in front of the last word: the proxy's `stats_tags` take
//! them out again (`deploy/envoy/envoy.yaml` has the expressions), and Prometheus reads
//! `grantmesh_decisions_total{outcome="allow",...}`.

use grantmesh_shared::engine::{ConditionError, Criticality};
use grantmesh_shared::wire::records::DecisionWord;

/// The most services that are told apart; the rest are counted as `other`.
const MAX_SERVICES: usize = 256;

/// A counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Metric {
    /// `grantmesh.decisions.{service,outcome,criticality,mode}total`.
    Decisions(Decided),
    /// `grantmesh.refusals.{reason}total`: the first reason of each refusal.
    Refusals(&'static str),
    /// `grantmesh.shadowed.{reason}total`: the first reason of each refusal that was let through in shadow.
    Shadowed(&'static str),
    /// `grantmesh.condition_errors.{error}total`: conditions that could not be judged.
    ConditionError(&'static str),
    /// `grantmesh.preflights`.
    Preflights,
    /// `grantmesh.callouts.{topic,result}total`: questions to the control plane, by what came of them.
    Callouts(&'static str, &'static str),
    /// `grantmesh.claims.{result}total`: claims of uses, by what came of them.
    Claims(&'static str),
    /// `grantmesh.holds.{result}total`: calls that were held, and what came of it.
    Holds(&'static str),
    /// `grantmesh.records.made`.
    RecordsMade,
    /// `grantmesh.records.acknowledged`.
    RecordsAcknowledged,
    /// `grantmesh.records.folded`: decisions that are told in the record of others like them.
    RecordsFolded,
    /// `grantmesh.records.dropped`.
    RecordsDropped,
    /// `grantmesh.sleeps`: how often the machine may have slept.
    Sleeps,
    /// `grantmesh.waits.WORD`: calls that waited, and what came of it.
    Waits(&'static str),
    /// `grantmesh.bodies.WORD`: calls that waited for their bodies, and what came of it.
    Bodies(&'static str),
    /// `grantmesh.responses.WORD`: responses that were to be masked, and what came of them.
    Responses(&'static str),
    /// `grantmesh.resets.{reason}total`: calls that were reset while they ran.
    Resets(&'static str),
    /// `grantmesh.host_errors`.
    HostErrors,
}

/// What is counted of a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Decided {
    /// The place of the service in [`Counters`].
    service: usize,
    outcome: &'static str,
    criticality: &'static str,
    mode: &'static str,
}

/// Sums since the last hand-over. Kept in lists that are looked through: there are few, and a call touches one or two.
#[derive(Debug, Default)]
pub struct Counters {
    sums: Vec<(Metric, u64)>,
    /// In the order in which they were met.
    services: Vec<Box<str>>,
}

impl Counters {
    /// Adds to a counter.
    pub fn add(&mut self, metric: Metric, count: u64) {
        match self.sums.iter_mut().find(|(known, _)| *known == metric) {
            Some((_, sum)) => *sum = sum.saturating_add(count),
            None => self.sums.push((metric, count)),
        }
    }

    /// Adds one decision of a service of the configuration; of an action of this criticality, where it matched one.
    pub fn decided(&mut self, service: &str, word: DecisionWord, criticality: Option<Criticality>, mode: &'static str) {
        // A scan: services are few, and their names must not be allocated for every call.
        let service = match self.services.iter().position(|known| **known == *service) {
            Some(place) => place,
            None if self.services.len() >= MAX_SERVICES => MAX_SERVICES,
            None => {
                self.services.push(service.into());
                self.services.len().saturating_sub(1)
            }
        };
        let criticality = criticality.map_or("none", Criticality::as_str);
        self.add(Metric::Decisions(Decided { service, outcome: word.as_str(), criticality, mode }), 1);
    }

    /// Notes conditions that could not be judged.
    pub fn condition_errors(&mut self, errors: &[ConditionError<'_>]) {
        for ConditionError { error, .. } in errors {
            self.add(Metric::ConditionError(error.code()), 1);
        }
    }

    /// Takes every sum that is not zero.
    pub fn take(&mut self) -> Vec<(Metric, u64)> {
        let sums = self.sums.iter_mut().filter(|(_, sum)| *sum != 0);
        sums.map(|(metric, sum)| (*metric, std::mem::take(sum))).collect()
    }

    /// A counter's name in the proxy's statistics.
    #[must_use]
    pub fn name(&self, metric: Metric) -> String {
        let (group, tags, word): (_, &[(&str, &str)], _) = match metric {
            Metric::Decisions(Decided { service, outcome, criticality, mode }) => {
                let service = self.services.get(service).map_or("other", |name| name);
                return name(
                    "decisions",
                    &[("service", service), ("outcome", outcome), ("criticality", criticality), ("mode", mode)],
                    "total",
                );
            }
            Metric::Refusals(code) => return name("refusals", &[("reason", code)], "total"),
            Metric::Shadowed(code) => return name("shadowed", &[("reason", code)], "total"),
            Metric::ConditionError(code) => return name("condition_errors", &[("error", code)], "total"),
            Metric::Resets(code) => return name("resets", &[("reason", code)], "total"),
            Metric::Callouts(topic, result) => {
                return name("callouts", &[("topic", topic), ("result", result)], "total");
            }
            Metric::Claims(result) => return name("claims", &[("result", result)], "total"),
            Metric::Holds(result) => return name("holds", &[("result", result)], "total"),
            Metric::Preflights => ("", &[], "preflights"),
            Metric::RecordsMade => ("records", &[], "made"),
            Metric::RecordsAcknowledged => ("records", &[], "acknowledged"),
            Metric::RecordsFolded => ("records", &[], "folded"),
            Metric::RecordsDropped => ("records", &[], "dropped"),
            Metric::Sleeps => ("", &[], "sleeps"),
            Metric::Waits(word) => ("waits", &[], word),
            Metric::Bodies(word) => ("bodies", &[], word),
            Metric::Responses(word) => ("responses", &[], word),
            Metric::HostErrors => ("", &[], "host_errors"),
        };
        name(group, tags, word)
    }
}

fn name(group: &str, tags: &[(&str, &str)], word: &str) -> String {
    let mut name = "grantmesh.".to_owned();
    if !group.is_empty() {
        name.push_str(group);
        name.push('.');
    }
    for (tag, value) in tags {
        name.push_str(tag);
        name.push_str("=.=");
        // What separates tags cannot be in one.
        name.extend(value.chars().map(|letter| if letter == ';' { '_' } else { letter }));
        name.push_str(";.;");
    }
    name.push_str(word);
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_handed_over_once_and_never_as_zero() {
        let mut counters = Counters::default();
        counters.decided("payments", DecisionWord::Allow, Some(Criticality::Critical), "enforce");
        counters.decided("payments", DecisionWord::Allow, Some(Criticality::Critical), "enforce");
        counters.decided("led;.;ger", DecisionWord::Ask, None, "enforce");
        counters.add(Metric::Callouts("sync", "nonce"), 3);
        counters.add(Metric::RecordsMade, 0);
        let taken = counters.take();
        let mut named: Vec<_> = taken.iter().map(|(metric, sum)| (counters.name(*metric), *sum)).collect();
        named.sort();
        let expected = [
            ("grantmesh.callouts.topic=.=sync;.;result=.=nonce;.;total", 3),
            (
                "grantmesh.decisions.service=.=led_._ger;.;outcome=.=ask;.;criticality=.=none;.;mode=.=enforce;.;total",
                1,
            ),
            (
                "grantmesh.decisions.service=.=payments;.;outcome=.=allow;.;criticality=.=critical;.;mode=.=enforce;.;total",
                2,
            ),
        ];
        assert_eq!(named, expected.map(|(name, sum)| (name.to_owned(), sum)));
        assert_eq!(counters.take(), Vec::new());
    }
}
