//! Waiting for the decision on a request, with progress for whoever sits before it.

use std::time::Duration;

use grantmesh_shared::time::Span;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::client::{Client, ClientError};
use super::output::Output;
use super::{exit, segment};
use crate::http::view::RequestView;

/// How often it is asked.
const PERIOD: Duration = Duration::from_secs(1);

/// So many questions in a row may remain without an answer.
const PATIENCE: u32 = 30;

/// Waits until a request is decided, or so long; gives the request as it is then, and how a command should end.
pub(super) async fn wait(
    client: &Client,
    id: &str,
    most: Span,
    out: &mut Output,
) -> Result<(RequestView, u8), ClientError> {
    let path = format!("/v1/requests/{}", segment(id));
    let mut latest: RequestView = client.read(&client.get(&path, &[]).await?)?;
    let mut period = interval(PERIOD);
    period.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let decided = async {
        let (mut told, mut unanswered) = (None, 0);
        while latest.state == "pending" {
            let progress = latest.reviews.len();
            if told != Some(progress) {
                out.remark(format_args!(
                    "{id} is pending, {progress} {}",
                    if progress == 1 { "review" } else { "reviews" }
                ));
                told = Some(progress);
            }
            period.tick().await;
            match client.get(&path, &[]).await {
                Ok(answer) => (latest, unanswered) = (client.read(&answer)?, 0),
                // The server may be restarting; what it decided is kept.
                Err(ClientError::Unreachable { .. }) if unanswered < PATIENCE => unanswered += 1,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    };
    match timeout(most.duration(), decided).await {
        Ok(ended) => ended?,
        Err(_) => out.remark(format_args!("{id} is still pending after {most}")),
    }
    let code = match latest.state.as_str() {
        "approved" => 0,
        "denied" => exit::DENIED,
        "pending" => exit::PENDING,
        _ => exit::ENDED,
    };
    Ok((latest, code))
}
