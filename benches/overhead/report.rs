//! The report: medians with quartiles, and ratios of measurements of the same round.

use std::collections::BTreeMap;
use std::fmt;

/// Microseconds per request by variant and round.
#[derive(Debug, Default)]
pub(crate) struct Report {
    variants: BTreeMap<&'static str, BTreeMap<usize, f64>>,
}

impl Report {
    pub(crate) fn add(&mut self, variant: &'static str, round: usize, micros: f64) {
        self.variants.entry(variant).or_default().insert(round, micros);
    }

    /// The ratios of two variants, round by round.
    fn ratios(&self, variant: &str, base: &str) -> Vec<f64> {
        let (Some(ours), Some(theirs)) = (self.variants.get(variant), self.variants.get(base)) else {
            return Vec::new();
        };
        ours.iter().filter_map(|(round, micros)| theirs.get(round).map(|base| micros / base)).collect()
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
        writeln!(f, "\nCPU of the worker thread per request, in µs: median (quartiles)")?;
        for (variant, rounds) in &self.variants {
            writeln!(f, "  {variant:10} {}", line(&rounds.values().copied().collect::<Vec<_>>()))?;
        }
        writeln!(f, "\nratios within a round: median (quartiles)")?;
        let pairs = [
            ("again", "none"),
            ("trivial", "none"),
            ("role", "none"),
            ("role", "trivial"),
            ("grant", "none"),
            ("grant", "trivial"),
        ];
        for (variant, base) in pairs {
            writeln!(f, "  {:18} {}", format!("{variant} / {base}"), line(&self.ratios(variant, base)))?;
        }
        Ok(())
    }
}
