//! The report: medians with quartiles, and ratios of measurements of the same round.

use std::collections::BTreeMap;
use std::fmt;

/// The CPU of one request, in microseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    /// Of the worker thread.
    pub(crate) worker: f64,
    /// Of all threads of Envoy that work on calls, and of the ext_authz server.
    pub(crate) total: f64,
}

/// Costs by variant and round; the variants in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct Report {
    variants: Vec<(&'static str, BTreeMap<usize, Cost>)>,
}

/// One of the two figures of a cost.
type Figure = fn(&Cost) -> f64;

/// Pairs whose ratio is told, and what the ratio should be at most.
type Pairs = &'static [(&'static str, &'static str, Option<f64>)];

const WORKER: Pairs = &[
    ("again", "none", None),
    ("trivial", "none", None),
    ("role", "none", None),
    ("role", "trivial", None),
    ("grant", "none", Some(1.30)),
    ("grant", "trivial", Some(1.10)),
    ("rbac-10", "none", None),
    ("rbac-1000", "none", None),
    ("rbac-tree", "none", None),
    ("lua", "none", None),
    ("ext-authz-http", "none", None),
    ("ext-authz-grpc", "none", None),
    ("grant", "rbac-10", None),
    ("grant", "rbac-1000", None),
    ("grant", "rbac-tree", None),
    ("grant", "lua", None),
];

const TOTAL: Pairs = &[
    ("ext-authz-http", "none", None),
    ("ext-authz-grpc", "none", None),
    // No filter can go below this one.
    ("none", "ext-authz-grpc", None),
    ("role", "ext-authz-grpc", None),
    ("grant", "ext-authz-http", None),
    ("grant", "ext-authz-grpc", Some(0.33)),
];

impl Report {
    pub(crate) fn add(&mut self, variant: &'static str, round: usize, cost: Cost) {
        match self.variants.iter_mut().find(|(known, _)| *known == variant) {
            Some((_, rounds)) => {
                rounds.insert(round, cost);
            }
            None => self.variants.push((variant, BTreeMap::from([(round, cost)]))),
        }
    }

    fn rounds(&self, variant: &str) -> Option<&BTreeMap<usize, Cost>> {
        self.variants.iter().find(|(known, _)| *known == variant).map(|(_, rounds)| rounds)
    }

    /// The ratios of two variants, round by round; none if one of them was not measured.
    fn ratios(&self, variant: &str, base: &str, figure: Figure) -> Option<Vec<f64>> {
        let (ours, theirs) = (self.rounds(variant)?, self.rounds(base)?);
        let pairs = ours.iter().filter_map(|(round, cost)| Some(figure(cost) / figure(theirs.get(round)?)));
        Some(pairs.collect())
    }

    /// The ratios of what two variants add to a request.
    fn added(&self, variant: &str, base: &str, figure: Figure) -> Option<Vec<f64>> {
        let (ours, theirs, none) = (self.rounds(variant)?, self.rounds(base)?, self.rounds("none")?);
        let pairs = ours.iter().filter_map(|(round, cost)| {
            let none = figure(none.get(round)?);
            Some((figure(cost) - none) / (figure(theirs.get(round)?) - none))
        });
        Some(pairs.collect())
    }

    fn part(&self, f: &mut fmt::Formatter<'_>, what: &str, figure: Figure, pairs: Pairs) -> fmt::Result {
        writeln!(f, "\nCPU of {what} per request, in µs: median (quartiles)")?;
        for (variant, rounds) in &self.variants {
            writeln!(f, "  {variant:30} {}", line(&rounds.values().map(figure).collect::<Vec<_>>()))?;
        }
        writeln!(f, "ratios within a round: median (quartiles)")?;
        for (variant, base, bound) in pairs {
            if let Some(ratios) = self.ratios(variant, base, figure) {
                let bound = bound.map(|bound| format!("  wanted: at most {bound:.2}")).unwrap_or_default();
                writeln!(f, "  {:30} {}{bound}", format!("{variant} / {base}"), line(&ratios))?;
            }
        }
        Ok(())
    }
}

/// The value below which `share` of the values lie.
fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a place in a short list"
    )]
    let place = (share * sorted.len().saturating_sub(1) as f64).round() as usize;
    sorted.get(place).copied().unwrap_or(f64::NAN)
}

fn line(values: &[f64]) -> String {
    format!("{:7.2}  ({:6.2} to {:6.2})", quantile(values, 0.5), quantile(values, 0.25), quantile(values, 0.75))
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.part(f, "the worker thread", |cost| cost.worker, WORKER)?;
        self.part(f, "Envoy and the ext_authz server", |cost| cost.total, TOTAL)?;
        for variant in ["role", "grant"] {
            if let Some(ratios) = self.added(variant, "ext-authz-grpc", |cost| cost.total) {
                writeln!(f, "  {:30} {}", format!("{variant} / ext-authz-grpc, added"), line(&ratios))?;
            }
        }
        Ok(())
    }
}
