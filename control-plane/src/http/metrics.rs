//! The numbers of `/metrics`. Labels are routes, statuses and words, never names or ids.

use std::sync::atomic::AtomicU64;

use grantmesh_shared::time::Span;
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::app::{DeliverySums, PostReviewSums, StreamSums};

/// What `/metrics` calls its own media type.
pub(super) const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    method: String,
    route: String,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Decided {
    decision: String,
}

/// Counters that live as long as the server, and gauges that are read when somebody asks.
#[derive(Debug)]
pub(super) struct Metrics {
    registry: Registry,
    answered: Family<Answered, Counter>,
    decisions: Family<Decided, Counter>,
    gauges: Gauges,
}

#[derive(Debug, Clone, Default)]
struct Gauges {
    live: Gauge,
    held: Gauge,
    epoch: Gauge,
    revision: Gauge,
    log_size: Gauge,
    queued: Gauge,
    lag: Gauge<f64, AtomicU64>,
    streams: Gauge,
    made: Gauge,
    received: Gauge,
    dropped: Gauge,
    lost: Gauge,
    broken: Gauge,
    open: Gauge,
    overdue: Gauge,
    behind: Gauge<f64, AtomicU64>,
    waiting: Gauge,
    dead: Gauge,
}

/// What the gauges show.
#[derive(Debug, Clone, Copy)]
pub(super) struct Readings {
    pub(super) live: usize,
    pub(super) held: u64,
    pub(super) epoch: u64,
    pub(super) revision: u64,
    pub(super) log_size: u64,
    /// Records that wait in filters, and for how long the oldest has.
    pub(super) queued: u64,
    pub(super) lag: Span,
    /// Nothing if the database cannot be read now; then the gauges stay as they were.
    pub(super) streams: Option<StreamSums>,
    /// Nothing if they cannot be read, as above.
    pub(super) post_reviews: Option<PostReviewSums>,
    /// Nothing if they cannot be read, as above.
    pub(super) deliveries: Option<DeliverySums>,
    /// How far this machine's clock is behind the time that is told.
    pub(super) behind: Span,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("grantmesh");
        let (answered, decisions, gauges) = (Family::default(), Family::default(), Gauges::default());
        registry.register("http_requests", "Requests answered, by route and status", Family::clone(&answered));
        registry.register("decision_records", "Decision records received from filters", Family::clone(&decisions));
        registry.register("live_filter_vms", "Filter VMs whose lease has not run out", gauges.live.clone());
        registry.register("held_polls", "Long polls that are held now", gauges.held.clone());
        registry.register("epoch", "Epoch of the state that filters follow", gauges.epoch.clone());
        registry.register("revision", "Revision of the state that filters follow", gauges.revision.clone());
        registry.register("audit_log_entries", "Entries of the audit log", gauges.log_size.clone());
        registry.register("records_queued", "Decision records that wait in filters", gauges.queued.clone());
        registry.register("records_lag_seconds", "Age of the oldest record that waits in a filter", gauges.lag.clone());
        registry.register(
            "record_streams",
            "Streams of decision records, one per filter VM ever",
            gauges.streams.clone(),
        );
        registry.register(
            "stream_decisions_made",
            "Decisions, and outcomes of uses, that filters had to record",
            gauges.made.clone(),
        );
        registry.register(
            "stream_decisions_received",
            "Decisions, and outcomes of uses, in the audit log",
            gauges.received.clone(),
        );
        registry.register(
            "stream_decisions_dropped",
            "Decisions, and outcomes of uses, that filters had no room for",
            gauges.dropped.clone(),
        );
        registry.register(
            "stream_decisions_lost",
            "Decisions, and outcomes of uses, that went with a filter VM",
            gauges.lost.clone(),
        );
        registry.register(
            "break_glass_grants",
            "Grants that were ever given at once, without an approval",
            gauges.broken.clone(),
        );
        registry.register("post_reviews_open", "Post-reviews that nobody has decided", gauges.open.clone());
        registry.register("post_reviews_overdue", "Open post-reviews that are overdue", gauges.overdue.clone());
        registry.register(
            "notifications_waiting",
            "Notifications that are to be delivered, for the first time or again",
            gauges.waiting.clone(),
        );
        registry.register("notifications_dead", "Notifications that were given up", gauges.dead.clone());
        registry.register(
            "clock_behind_seconds",
            "How far this machine's clock is behind the time that was told already",
            gauges.behind.clone(),
        );
        Self { registry, answered, decisions, gauges }
    }
}

impl Metrics {
    pub(super) fn answered(&self, method: &str, route: &str, status: u16) {
        // A method is whatever the caller wrote; only those that exist become a label.
        let method =
            ["GET", "POST", "HEAD", "OPTIONS"].iter().find(|known| **known == method).copied().unwrap_or("other");
        self.answered.get_or_create(&Answered { method: method.to_owned(), route: route.to_owned(), status }).inc();
    }

    pub(super) fn decisions(&self, decision: &str, count: u64) {
        self.decisions.get_or_create(&Decided { decision: decision.to_owned() }).inc_by(count);
    }

    pub(super) fn text(&self, readings: Readings) -> Result<String, std::fmt::Error> {
        let Readings { live, held, epoch, revision, log_size, queued, lag, streams, post_reviews, deliveries, behind } =
            readings;
        self.gauges.live.set(i64::try_from(live).unwrap_or(i64::MAX));
        let counted = [
            (&self.gauges.held, held),
            (&self.gauges.epoch, epoch),
            (&self.gauges.revision, revision),
            (&self.gauges.log_size, log_size),
            (&self.gauges.queued, queued),
        ];
        self.gauges.lag.set(lag.duration().as_secs_f64());
        self.gauges.behind.set(behind.duration().as_secs_f64());
        let sums = streams.map(|sums| {
            [
                (&self.gauges.streams, sums.streams),
                (&self.gauges.made, sums.made),
                (&self.gauges.received, sums.received),
                (&self.gauges.dropped, sums.dropped),
                (&self.gauges.lost, sums.lost),
            ]
        });
        let reviews = post_reviews.map(|sums| {
            [(&self.gauges.broken, sums.all), (&self.gauges.open, sums.open), (&self.gauges.overdue, sums.overdue)]
        });
        let deliveries = deliveries.map(|sums| [(&self.gauges.waiting, sums.waiting), (&self.gauges.dead, sums.dead)]);
        let sums = sums.into_iter().flatten().chain(reviews.into_iter().flatten());
        let sums = sums.chain(deliveries.into_iter().flatten());
        for (gauge, value) in counted.into_iter().chain(sums) {
            gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        }
        let mut text = String::new();
        text::encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_what_is_shown_and_what_cannot_be_read_stays() {
        let metrics = Metrics::default();
        let mut readings = Readings {
            live: 1,
            held: 0,
            epoch: 1,
            revision: 1,
            log_size: 1,
            queued: 0,
            lag: Span::default(),
            streams: None,
            post_reviews: None,
            deliveries: Some(DeliverySums { waiting: 3, dead: 2 }),
            behind: Span::from_millis(2_500),
        };
        for deliveries in [readings.deliveries, None] {
            readings.deliveries = deliveries;
            let text = metrics.text(readings).unwrap();
            for line in ["notifications_waiting 3", "notifications_dead 2", "clock_behind_seconds 2.5"] {
                assert!(text.contains(&format!("grantmesh_{line}\n")), "{text}");
            }
        }
    }
}
