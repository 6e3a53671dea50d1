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

/// How far a pending request has come.
fn progress(request: &RequestView) -> String {
    let reviews = match request.reviews.len() {
        1 => "1 review".to_owned(),
        count => format!("{count} reviews"),
    };
    let Some(open) = request.stages.iter().find(|stage| stage.state == "open") else { return reviews };
    let approvals: usize = open.factors.iter().map(|factor| factor.approvals.len()).sum();
    let needed: u32 = open.factors.iter().map(|factor| factor.needed).sum();
    format!("{reviews}; {approvals} of {needed} in {}, waits for {}", open.name, request.awaited.join(", "))
}

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
            let progress = progress(&latest);
            if told.as_ref() != Some(&progress) {
                out.remark(format_args!("{id} is pending, {progress}"));
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
