//! `grantmesh run`: runs a command; where its call is refused and may be asked for, files the request, waits for the
//! decision, and runs the command again. A refused call has not reached its service, so running it again repeats nothing.

use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use clap::Args;
use grantmesh_shared::time::Span;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::process::Command;
use tokio::time::{MissedTickBehavior, interval};

use super::output::Output;
use super::{ClientArgs, Failure, decision, requests};
use crate::http::view::RequestView;

/// The header of a refusal that says where to ask.
const REQUEST_URL: &str = "grantmesh-request-url:";

/// So much of what a command prints is looked at; one that prints more was not refused.
const LOOKED_AT: usize = 1024 * 1024;

/// How often, and how many times, an approved call is tried that filters do not know of yet.
const AGAIN: Duration = Duration::from_millis(500);
const TIMES: u32 = 20;

#[derive(Debug, Args)]
pub(super) struct RunArgs {
    /// Why; the reviewers read it
    #[arg(long, value_name = "TEXT")]
    justification: String,
    /// The ticket that it is about, where the rule wants one
    #[arg(long, value_name = "TICKET")]
    ticket: Option<String>,
    /// For how long; the rule's default if left out
    #[arg(long)]
    duration: Option<Span>,
    /// For how many calls; for one if left out and the rule counts them
    #[arg(long, value_name = "NUMBER")]
    uses: Option<u32>,
    /// How long to wait for the decision
    #[arg(long, default_value = "1h", value_name = "DURATION")]
    wait: Span,
    #[command(flatten)]
    client: ClientArgs,
    /// The command, one call only; its token for Grantmesh is not given to it
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<String>,
}

/// What a command did.
struct Ran {
    status: ExitStatus,
    /// What it printed, where it is not printed yet.
    out: Vec<u8>,
    err: Vec<u8>,
}

pub(super) async fn run(args: RunArgs, out: &mut Output) -> Result<(), Failure> {
    let RunArgs { justification, ticket, duration, uses, wait, client: client_args, command } = args;
    let first = once(&command).await?;
    let Some(url) = challenge(&first) else {
        first.end(out);
        return Ok(());
    };
    out.remark("the call is refused and may be asked for");
    let filed = requests::file_from_url(&url, &client_args, (justification, ticket), (duration, uses)).await;
    let (client, answer) = match filed {
        Ok(filed) => filed,
        Err(error) => {
            first.end(out);
            return Err(error.into());
        }
    };
    let request: RequestView = client.read(&answer)?;
    let (_, code) = decision::wait(&client, &request.id, wait, out).await?;
    if code != 0 {
        first.end(out);
        out.end_with(code);
        return Ok(());
    }
    out.remark(format_args!("{} is approved", request.id));
    let mut again = interval(AGAIN);
    again.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut latest = first;
    for _ in 0..TIMES {
        again.tick().await;
        latest = once(&command).await?;
        if challenge(&latest).is_none() {
            break;
        }
    }
    latest.end(out);
    Ok(())
}

impl Ran {
    /// Prints what it printed, and lets this command end as it did.
    fn end(self, out: &mut Output) {
        out.bytes(&self.out, &self.err);
        // A signal has no code; shells say 128 and its number.
        let signal =
            std::os::unix::process::ExitStatusExt::signal(&self.status).map(|signal| signal.saturating_add(128));
        let code = self.status.code().or(signal).unwrap_or(1);
        out.end_with(u8::try_from(code).unwrap_or(1));
    }
}

/// Runs the command once.
async fn once(command: &[String]) -> Result<Ran, Failure> {
    let (program, arguments) = command.split_first().ok_or("no command is named\nwrite it behind `--`")?;
    let mut command = Command::new(program);
    // Whatever it runs is nobody who may ask, approve or revoke.
    command.args(arguments).env_remove("GRANTMESH_TOKEN").kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut running = command.spawn().map_err(|error| format!("`{program}` cannot be run: {error}"))?;
    let (stdout, stderr) = (running.stdout.take(), running.stderr.take());
    let (printed, told) = tokio::join!(kept(stdout, tokio::io::stdout()), kept(stderr, tokio::io::stderr()));
    let (printed, told, status) = (printed?, told?, running.wait().await?);
    Ok(Ran { status, out: printed, err: told })
}

/// What comes, to be looked at; of what is too much for a refusal, all is passed on as it comes, and nothing kept.
async fn kept(from: Option<impl AsyncRead + Unpin>, mut to: impl AsyncWrite + Unpin) -> std::io::Result<Vec<u8>> {
    let Some(mut from) = from else { return Ok(Vec::new()) };
    let (mut kept, mut chunk, mut passing) = (Vec::new(), vec![0; 16 * 1024], false);
    loop {
        let read = from.read(&mut chunk).await?;
        let Some(part) = chunk.get(..read).filter(|part| !part.is_empty()) else { break };
        kept.extend_from_slice(part);
        passing |= kept.len() > LOOKED_AT;
        if passing {
            to.write_all(&kept).await?;
            kept.clear();
        }
    }
    to.flush().await?;
    Ok(kept)
}

/// Where a refusal says to ask: in its document, or in a header that the command showed.
fn challenge(ran: &Ran) -> Option<String> {
    let printed = String::from_utf8_lossy(&ran.out);
    let body = printed.rsplit_once("\r\n\r\n").map_or(&*printed, |(_, body)| body);
    let document = [&*printed, body].into_iter().find_map(|text| {
        let document: Value = serde_json::from_str(text.trim()).ok()?;
        let refused = document["decision"] == "ask" && document["status"].is_number();
        refused.then(|| document["request_url"].as_str().map(str::to_owned)).flatten()
    });
    let told = String::from_utf8_lossy(&ran.err);
    let header = || {
        let lines = printed.lines().chain(told.lines());
        lines.map(|line| line.trim_start_matches(['<', ' '])).find_map(|line| {
            let (name, url) = line.split_at_checked(REQUEST_URL.len())?;
            name.eq_ignore_ascii_case(REQUEST_URL).then(|| url.trim().to_owned())
        })
    };
    document.or_else(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ran(out: &str, err: &str) -> Ran {
        Ran { status: ExitStatus::default(), out: out.as_bytes().to_vec(), err: err.as_bytes().to_vec() }
    }

    #[test]
    fn a_challenge_is_found_in_the_document_and_in_shown_headers() {
        let document = r#"{"decision":"ask","status":403,"request_url":"http://g/v1/requests/new?a=b"}"#;
        let found = Some("http://g/v1/requests/new?a=b".to_owned());
        assert_eq!(challenge(&ran(document, "")), found);
        let shown = format!("HTTP/1.1 403 Forbidden\r\nx: y\r\n\r\n{document}");
        assert_eq!(challenge(&ran(&shown, "")), found);
        assert_eq!(challenge(&ran("", "* x\n< Grantmesh-Request-Url: http://g/v1/requests/new?a=b\r\n")), found);
        for other in ["", "{}", r#"{"request_url":"http://g"}"#, r#"{"decision":"deny","status":403}"#, "grantmesh"] {
            assert_eq!(challenge(&ran(other, "")), None, "{other}");
        }
    }
}
