//! Sends notifications: deliveries of the outbox as signed webhooks, in the form of Standard Webhooks. Run by `tasks`.
//!
//! ```text
//!  app (outbox) ─ due deliveries ─► Courier ─► guard (where it may connect to) ─► endpoint
//!        ▲                             │ sign
//!        └──────── what came of it ────┘
//! ```
//!
//! At least once: an attempt whose outcome is not kept is made again, under the same `webhook-id`.

mod guard;
mod sign;

use std::time::Duration;

use futures_util::future::join_all;
use reqwest::header::{CONTENT_TYPE, USER_AGENT};
use reqwest::{Client, StatusCode, Url};

pub use guard::{Guard, Refused};
pub use sign::{Secret, SecretError};

use crate::app::{App, AppError, Attempt, Delivery};
use crate::domain::{EventKind, shortened};

/// How long an endpoint may take to answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// How many deliveries to one endpoint are tried at once.
const AT_ONCE: u32 = 16;

/// An endpoint, as the operator states it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointSettings {
    /// Its name, which deliveries are kept under.
    pub name: String,
    /// Where it is. It may hold secrets, so it is shown nowhere but by its host.
    pub url: Url,
    /// What its notifications are signed with; each of them signs, so that one can be replaced by another.
    pub secrets: Vec<Secret>,
    /// What it is told.
    pub kinds: Vec<EventKind>,
    /// Where it may be.
    pub guard: Guard,
}

/// Sends to one endpoint.
#[derive(Debug)]
pub struct Courier {
    endpoint: EndpointSettings,
    http: Client,
}

impl Courier {
    /// A courier for an endpoint.
    ///
    /// # Errors
    /// If the endpoint is at an address that is refused, or no client can be made.
    pub fn new(endpoint: EndpointSettings) -> Result<Self, CourierError> {
        endpoint.guard.permits_url(&endpoint.url)?;
        let http = Client::builder()
            // Whatever an endpoint says, nobody else is asked in its place.
            .redirect(reqwest::redirect::Policy::none())
            // A proxy of the environment would connect where the guard does not see it.
            .no_proxy()
            .dns_resolver(endpoint.guard.clone())
            .connect_timeout(TIMEOUT / 2)
            .timeout(TIMEOUT)
            .build()
            .map_err(|error| CourierError::Client(error.without_url()))?;
        Ok(Self { endpoint, http })
    }

    /// The endpoint's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.endpoint.name
    }

    /// Tells the endpoint all that is due: makes deliveries of new events, tries what is due, keeps what came of it.
    /// Gives how many deliveries were tried.
    ///
    /// # Errors
    /// If the store fails; what was done stays done, and what was not kept is done again.
    pub async fn deliver(&self, app: &App) -> Result<usize, AppError> {
        app.fan_out(&self.endpoint.name, &self.endpoint.kinds).await?;
        let mut done = 0;
        loop {
            let due = app.take_due_deliveries(&self.endpoint.name, AT_ONCE).await?;
            if due.is_empty() {
                return Ok(done);
            }
            done += due.len();
            let now = app.settings().clock.now();
            let tried = due.into_iter().map(async |delivery| {
                let attempt = self.send(&delivery, now.millis().div_euclid(1_000)).await;
                (delivery, attempt)
            });
            app.settle_deliveries(join_all(tried).await).await?;
        }
    }

    async fn send(&self, delivery: &Delivery, seconds: i64) -> Attempt {
        let (id, body) = (delivery.event.id.as_str(), &delivery.event.body);
        let request = self
            .http
            .post(self.endpoint.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header(USER_AGENT, concat!("grantmesh/", env!("CARGO_PKG_VERSION")))
            .header("webhook-id", id)
            .header("webhook-timestamp", seconds)
            .header("webhook-signature", sign::signatures(&self.endpoint.secrets, id, seconds, body))
            .body(body.clone());
        // The body of the answer is nobody's business and is not read.
        let attempt = match request.send().await {
            Ok(answer) if answer.status().is_success() => return Attempt::Taken,
            Ok(answer) if answer.status() == StatusCode::GONE => Attempt::Refused("it answered 410: gone".to_owned()),
            Ok(answer) => Attempt::Failed(format!("it answered {}", answer.status().as_u16())),
            Err(error) => Attempt::Failed(why(error)),
        };
        if let Attempt::Failed(fault) | Attempt::Refused(fault) = &attempt {
            let (endpoint, attempts) = (&self.endpoint.name, delivery.attempts);
            tracing::warn!(endpoint, event = id, attempts, fault, "a notification was not delivered");
        }
        attempt
    }
}

/// Why an attempt failed, without the URL.
fn why(error: reqwest::Error) -> String {
    if error.is_timeout() {
        return format!("it did not answer within {} s", TIMEOUT.as_secs());
    }
    let error = error.without_url();
    let mut cause: &dyn std::error::Error = &error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    shortened(&cause.to_string(), 200)
}

/// Why nothing can be sent to an endpoint.
#[derive(Debug, thiserror::Error)]
pub enum CourierError {
    /// It is where nothing is sent.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// No client can be made.
    #[error("notifications cannot be sent")]
    Client(#[source] reqwest::Error),
}
