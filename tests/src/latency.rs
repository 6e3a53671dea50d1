//! Durations of one kind, and what is said about them.

use std::time::Duration;

use serde_json::{Value, json};

/// Durations of one kind.
#[derive(Debug, Clone)]
pub struct Latencies(Vec<Duration>);

impl FromIterator<Duration> for Latencies {
    fn from_iter<I: IntoIterator<Item = Duration>>(durations: I) -> Self {
        let mut durations: Vec<Duration> = durations.into_iter().collect();
        durations.sort_unstable();
        Self(durations)
    }
}

impl Latencies {
    /// The duration that this part of all are not above; zero if there is none.
    #[must_use]
    pub fn quantile(&self, part: f64) -> Duration {
        let last = self.0.len().saturating_sub(1);
        let index = (part * last as f64).round() as usize;
        self.0.get(index.min(last)).copied().unwrap_or_default()
    }

    /// The middle one.
    #[must_use]
    pub fn median(&self) -> Duration {
        self.quantile(0.5)
    }

    /// Quartiles, extremes and what is nearly one in milliseconds.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let ms = |part| (self.quantile(part).as_secs_f64() * 1e5).round() / 100.0;
        json!({
            "rounds": self.0.len(),
            "min_ms": ms(0.0), "p25_ms": ms(0.25), "median_ms": ms(0.5), "p75_ms": ms(0.75), "p90_ms": ms(0.9),
            "p99_ms": ms(0.99), "max_ms": ms(1.0),
        })
    }
}
