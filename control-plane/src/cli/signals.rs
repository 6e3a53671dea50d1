//! Commands about signals: set, clear, list.

use clap::{Args, Subcommand};
use grantmesh_shared::time::Span;
use reqwest::header::IF_NONE_MATCH;

use super::client::Client;
use super::output::{Output, Tone};
use super::{ClientArgs, Failure, WaitArgs, arrival, tables};
use crate::http::bodies::{SetBody, SignalChangedView, SignalsView};

#[derive(Debug, Subcommand)]
pub(super) enum SignalCommand {
    /// Set a signal for a while, or set it anew
    Set(SetArgs),
    /// End a signal before its time
    Clear(ClearArgs),
    /// List the signals that the policy declares, and which are set
    List(ListArgs),
}

#[derive(Debug, Args)]
pub(super) struct SetArgs {
    /// The signal, `incident.open`
    name: String,
    /// Of which user or ticket, where the policy has it said of one
    #[arg(long, value_name = "NAME")]
    of: Option<String>,
    /// Why
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// For how long from now
    #[arg(long)]
    duration: Span,
    /// Only if it is not set already, by anybody
    #[arg(long)]
    if_not_set: bool,
    #[command(flatten)]
    wait: WaitArgs,
    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Debug, Args)]
pub(super) struct ClearArgs {
    /// The signal
    name: String,
    /// Of which user or ticket, where the policy has it said of one
    #[arg(long, value_name = "NAME")]
    of: Option<String>,
    /// Why
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    wait: WaitArgs,
    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Debug, Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    client: ClientArgs,
}

pub(super) async fn run(command: SignalCommand, out: &mut Output) -> Result<(), Failure> {
    match command {
        SignalCommand::Set(args) => set(args, out).await,
        SignalCommand::Clear(args) => clear(args, out).await,
        SignalCommand::List(args) => list(args, out).await,
    }
}

async fn set(args: SetArgs, out: &mut Output) -> Result<(), Failure> {
    let SetArgs { name, of, reason, duration, if_not_set, wait, client: args } = args;
    let client = Client::new(&args)?;
    let body = SetBody { of, reason, duration, wait: wait.wait };
    let over = if_not_set.then_some((IF_NONE_MATCH, "*"));
    let answer = client.put_waiting(&path(&name), over, &body, wait.duration()).await?;
    tell(&client.read(&answer)?, &answer, args.json, out)
}

async fn clear(args: ClearArgs, out: &mut Output) -> Result<(), Failure> {
    let ClearArgs { name, of, reason, wait, client: args } = args;
    let client = Client::new(&args)?;
    let answer = client.delete_waiting(&path(&name), &[("of", of), ("reason", reason)], wait.wait).await?;
    tell(&client.read(&answer)?, &answer, args.json, out)
}

fn tell(
    changed: &SignalChangedView,
    answer: &serde_json::Value,
    as_json: bool,
    out: &mut Output,
) -> Result<(), Failure> {
    let SignalChangedView { signal, arrival } = changed;
    // Of what is said of users or tickets the answer has the one that was set.
    let set = signal.set.as_ref().or(signal.said.first());
    let state = if set.is_some() { "set" } else { "cleared" };
    if as_json {
        out.json(answer)?;
    } else {
        let until = set.map(|set| format!(" until {}", tables::when(&set.expires_at)));
        let state = out.toned(Tone::Good, state);
        let of = set.and_then(|set| set.of.as_ref()).map(|of| format!(" of {}", of.escape_debug())).unwrap_or_default();
        out.line(format_args!("{} is {state}{of}{}", signal.name, until.unwrap_or_default()));
        arrival::tell(arrival.as_ref(), "no filter follows now", out);
    }
    arrival::judge(arrival.as_ref(), format!("the signal is {state}"))
}

async fn list(args: ListArgs, out: &mut Output) -> Result<(), Failure> {
    let client = Client::new(&args.client)?;
    let answer = client.get("/v1/signals", &[]).await?;
    if args.client.json {
        return Ok(out.json(&answer)?);
    }
    let SignalsView { signals } = client.read(&answer)?;
    if signals.is_empty() {
        out.remark("no signals that you may set");
        return Ok(());
    }
    out.table(tables::signals(&signals));
    Ok(())
}

/// A signal as one segment of a path: what is no name can at most be a signal that does not exist.
fn path(name: &str) -> String {
    let plain = |letter: &char| letter.is_ascii_alphanumeric() || matches!(letter, '.' | '-' | '_');
    let name: String = name.chars().map(|letter| if plain(&letter) { letter } else { '_' }).collect();
    let dots = name.bytes().all(|byte| byte == b'.');
    format!("/v1/signals/{}", if dots { "_" } else { &name })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_segment_of_a_path() {
        for (name, expected) in
            [("incident.open", "incident.open"), ("..", "_"), ("", "_"), ("../grants?x=/#", ".._grants_x___")]
        {
            assert_eq!(path(name), format!("/v1/signals/{expected}"));
        }
    }
}
