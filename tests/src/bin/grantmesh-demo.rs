//! The story of Grantmesh, told in a terminal on real parts: Envoy, the filter in it, the control plane, an upstream.
//! `cargo dev demo` builds what it needs and starts it. Every command that it prints is the one that it runs.

use std::cell::Cell;
use std::io::IsTerminal as _;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use grantmesh_tests::{ALICE, CliOutput, LEA, MALLORY, Mesh, OLAF, Person, Setup, Stage, text, until};
use reqwest::Method;
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};

/// Plays the whole story with a real Envoy: refused, asked for, approved, let through, ended, recorded.
///
/// On a terminal everything stays up afterwards until Ctrl-C, to be tried by hand.
#[derive(Debug, Parser)]
#[command(name = "grantmesh-demo", bin_name = "cargo dev demo", version)]
struct Arguments {
    /// End by itself when the story is told, also on a terminal; the exit code is 0 if it went as told
    #[arg(long)]
    once: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let (mut stage, told) = (Stage::new(), Cell::new(false));
    let stays = !arguments.once && std::io::stdout().is_terminal();
    let played = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("no runtime")
        .and_then(|runtime| runtime.block_on(until_asked_to_end(perform(&mut stage, stays, &told))));
    match played {
        Ok(_) if told.get() => ExitCode::SUCCESS,
        Ok(signal) => {
            stage.bad(&format!("ended after step {}, before the story was told", stage.number()));
            // As a shell tells of a signal.
            ExitCode::from(128_u8.saturating_add(signal))
        }
        Err(error) if stage.number() == 0 => {
            stage.bad(&format!("the story could not begin: {error:#}"));
            ExitCode::FAILURE
        }
        Err(error) => {
            stage.bad(&format!("step {} did not go as told: {error:#}", stage.number()));
            ExitCode::FAILURE
        }
    }
}

/// Ends early and in order, so that no process stays behind, on Ctrl-C and SIGTERM. Gives the number of that signal.
async fn until_asked_to_end(performance: impl Future<Output = Result<()>>) -> Result<u8> {
    let mut terminated = signal(SignalKind::terminate())?;
    tokio::select! {
        played = performance => played.map(|()| 0),
        interrupted = tokio::signal::ctrl_c() => interrupted.map(|()| 2).map_err(Into::into),
        _ = terminated.recv() => Ok(15),
    }
}

/// `told` becomes true when the story went as told to its end.
async fn perform(stage: &mut Stage, stays: bool, told: &Cell<bool>) -> Result<()> {
    stage.title("Grantmesh: refused, asked for, approved, let through, ended, recorded");
    stage.aside("Nothing here is pretended: a real Envoy with the filter in it, the control plane, a service behind them. They start now.");
    let mut mesh = Mesh::start(Setup::default()).await?;
    let (_, log_key) = mesh.control_plane.public_keys().await?;
    let mut story = Story { envoy: mesh.envoy()?.url(), log_key, mesh: &mut mesh, stage };
    story.introduce()?;
    story.tell().await?;
    told.set(true);
    if stays {
        stage.say("");
        stage.title("Everything stays up until Ctrl-C: set the variables above in another terminal and try it.");
        std::future::pending::<()>().await;
    }
    Ok(())
}

struct Story<'m> {
    mesh: &'m mut Mesh,
    stage: &'m mut Stage,
    envoy: String,
    log_key: String,
}

impl Story<'_> {
    fn introduce(&mut self) -> Result<()> {
        let grantmesh = &self.mesh.control_plane;
        let say = |line: &str| self.stage.say(line);
        say("");
        say(&format!("    Envoy           {}   in front of the service `payments`", self.envoy));
        say(&format!("    control plane   {}   with the policy shared/policies/payments/policy.yaml", grantmesh.url()));
        say(&format!("    service         http://{}   answers whatever gets through", self.mesh.upstream.address()));
        say("");
        self.stage.aside("    To run any command below yourself, in another terminal:");
        let programs = self.mesh.grantmesh().parent().unwrap_or(Path::new("."));
        say(&format!("    export PATH=\"{}:$PATH\"", programs.display()));
        say(&format!(
            "    export ENVOY={} GRANTMESH_SERVER={} DATA={}",
            self.envoy,
            grantmesh.url(),
            grantmesh.folder().display()
        ));
        for person in [ALICE, LEA, MALLORY, OLAF] {
            let groups: String = person.groups.iter().map(|group| format!(" --group {group}")).collect();
            say(&format!(
                "    export {}=$(grantmesh token {}{groups} --data-dir $DATA)",
                variable(&person),
                person.name
            ));
        }
        say(&format!("    export LOG_KEY={}", self.log_key));
        Ok(())
    }

    async fn tell(&mut self) -> Result<()> {
        self.stage.step("Alice, in support, calls for a refund. No role of hers allows it.");
        let refusal = self.call("acc-42", 403, None).await?;
        let url = text(&refusal, "/request_url")?.to_owned();
        ensure!(refusal["decision"] == "ask", "the refusal does not say that she may ask");
        self.stage.good("refused, told why, and told where to ask");

        self.stage.step("She asks, with the URL from the refusal.");
        let ask = ["request", "--from-url", &url, "--justification", "charged twice, ticket 8841", "--duration", "15m"];
        let asked = self.grantmesh(&ALICE, &ask).await?;
        let request = id("req_", asked.success()?)?;
        ensure!(asked.out.contains("pending"), "the request is not pending");
        self.stage.good("a request is pending; nothing is allowed yet");

        self.stage.step("She cannot approve it herself.");
        let own = self.grantmesh(&ALICE, &["approve", &request]).await?;
        ensure!(
            own.code == 1 && own.err.contains("self_approval"),
            "it ended with {} and not with a refusal",
            own.code
        );
        self.stage.good("refused");

        self.stage.step("Mallory is nobody in particular: to him there is no such request.");
        let strange = self.grantmesh(&MALLORY, &["approve", &request]).await?;
        ensure!(strange.code == 1 && strange.err.contains("not_found"), "it ended with {}", strange.code);
        self.stage.good("not found");

        self.stage.step("Lea, who leads payments, approves.");
        let approved = self.grantmesh(&LEA, &["approve", &request, "--reason", "seen the ticket"]).await?;
        let at = Instant::now();
        let grant = id("grant_", approved.success()?)?;
        self.stage.good("a grant for Alice, for this action on this account, for 15 minutes");

        self.stage.step("What is decided is decided once.");
        let again = self.grantmesh(&LEA, &["approve", &request]).await?;
        ensure!(again.code == 1 && again.err.contains("already_decided"), "it ended with {}", again.code);
        self.stage.good("refused");

        self.stage.step("The same call again. Envoy decides it alone; nobody is asked on the way.");
        self.call("acc-42", 200, Some((at, "the approval was known"))).await?;
        ensure!(self.mesh.upstream.count() > 0, "the service has not seen it");
        self.stage.good("let through to the service");

        self.stage.step("Another account is another matter.");
        self.call("acc-43", 403, None).await?;
        self.stage.good("refused: the grant is for account/acc-42");

        self.stage.step("Lea takes the grant back and waits until every VM of every filter has said that it knows.");
        let revoked = self.grantmesh(&LEA, &["revoke", &grant, "--reason", "done", "--wait"]).await?;
        revoked.success()?;
        self.stage.good("proven to have arrived");

        self.stage.step("The same call once more.");
        let last = self.call("acc-42", 403, None).await?;
        self.stage.good("refused");

        self.stage.step("A grant that Alice gives back herself.");
        let (given_back, at) = self.granted("10m").await?;
        self.call("acc-42", 200, Some((at, "the approval was known"))).await?;
        self.grantmesh(&ALICE, &["release", &given_back]).await?.success()?;
        self.call("acc-42", 403, Some((Instant::now(), "it was given back"))).await?;
        self.stage.good("refused");

        self.stage.step("A grant for three seconds, which nobody ends.");
        let (brief, at) = self.granted("3s").await?;
        self.call("acc-42", 200, Some((at, "the approval was known"))).await?;
        let (alice, path) = (self.mesh.control_plane.api(&ALICE).await?, format!("/v1/grants/{brief}"));
        until("its time is over", Duration::from_secs(10), async || {
            let grant = alice.get(&path).await?.expect(200)?;
            Ok((text(&grant, "/state")? == "expired").then_some(()))
        })
        .await?;
        self.call("acc-42", 403, Some((Instant::now(), "the control plane knew that it was over"))).await?;
        self.stage.good("refused when its time was over");

        self.stage
            .step("The log has it all: who asked, who decided, every call, in a tree that cannot be rewritten unseen.");
        let last = text(&last, "/decision_id")?;
        until("the filter's records are in the log", Duration::from_secs(10), async || {
            let tail = self.mesh.control_plane.cli(&OLAF, &["audit", "tail", "--limit", "200", "--json"]).await?;
            Ok(tail.success()?.contains(last).then_some(()))
        })
        .await?;
        let tail = self.grantmesh(&OLAF, &["audit", "tail", "--limit", "60"]).await?;
        ensure!(tail.success()?.contains(&grant) && tail.out.contains(&request), "the log does not tell of the grant");
        let verified = self.grantmesh(&OLAF, &["audit", "verify", "--log-key", &self.log_key]).await?;
        verified.success()?;
        self.stage.good("recomputed and whole");
        Ok(())
    }

    /// Asks once more and has it approved; gives the grant and when that was known.
    async fn granted(&self, duration: &str) -> Result<(String, Instant)> {
        let ask = ["request", "--service", "payments", "--action", "refund.create", "--resource", "account/acc-42"];
        let why = ["--justification", "ticket 8841 again", "--duration", duration];
        let asked = self.grantmesh(&ALICE, &[&ask[..], &why].concat()).await?;
        let approved = self.grantmesh(&LEA, &["approve", &id("req_", asked.success()?)?]).await?;
        Ok((id("grant_", approved.success()?)?, Instant::now()))
    }

    /// Runs `grantmesh` as somebody; shows the command and what it said.
    async fn grantmesh(&self, person: &Person, arguments: &[&str]) -> Result<CliOutput> {
        let shown = |argument: &&str| if *argument == self.log_key { "$LOG_KEY".to_owned() } else { quoted(argument) };
        let shown: Vec<String> = arguments.iter().map(shown).collect();
        self.stage.command(&format!("GRANTMESH_TOKEN=${} grantmesh {}", variable(person), shown.join(" ")));
        let output = self.mesh.control_plane.cli(person, arguments).await?;
        self.stage.output(&format!("{}{}", output.out, output.err));
        Ok(output)
    }

    /// Alice calls for a refund; shows the call as a curl command and the answer, which must have this status.
    /// After something the answer changes as soon as that has arrived, so the call is repeated until then.
    async fn call(&mut self, account: &str, status: u16, after: Option<(Instant, &str)>) -> Result<Value> {
        let path = format!("/v1/accounts/{account}/refunds");
        self.stage.command(&format!("curl -i -X POST -H \"authorization: Bearer $ALICE\" $ENVOY{path}"));
        let caller = self.mesh.caller(&ALICE).await?;
        let patience = if after.is_some() { Duration::from_secs(10) } else { Duration::ZERO };
        let mut reply = caller.send(Method::POST, &path, None).await?;
        let expected = until("the call is answered as told", patience, async || {
            if reply.status != status {
                reply = caller.send(Method::POST, &path, None).await?;
            }
            Ok((reply.status == status).then_some(()))
        })
        .await;
        let took =
            after.map(|(at, what)| format!("   ({} ms after {what})", at.elapsed().as_millis())).unwrap_or_default();
        let body = reply.json()?;
        self.stage.output(&format!("HTTP/1.1 {}{took}\n{}", reply.status, shortened(&body)));
        expected.with_context(|| format!("the answer is {} instead of {status}", reply.status))?;
        Ok(body)
    }
}

/// The members of an answer that the story is about, one a line, in JSON.
fn shortened(body: &Value) -> String {
    const MEMBERS: [&str; 6] = ["title", "detail", "action", "resource", "request_url", "served"];
    let told: Vec<_> = MEMBERS.iter().filter_map(|name| Some(format!("  \"{name}\": {}", body.get(name)?))).collect();
    let left_out = body.as_object().is_some_and(|members| members.len() > told.len());
    format!("{{\n{}{}\n}}", told.join(",\n"), if left_out { ",\n  …" } else { "" })
}

/// The first id of a kind in a text.
fn id(prefix: &str, text: &str) -> Result<String> {
    let rest = text
        .find(prefix)
        .and_then(|at| text.get(at..))
        .with_context(|| format!("no `{prefix}…` in what was printed"))?;
    Ok(rest.chars().take_while(|character| character.is_ascii_alphanumeric() || *character == '_').collect())
}

fn variable(person: &Person) -> String {
    person.name.to_uppercase()
}

/// An argument as a shell takes it.
fn quoted(argument: &str) -> String {
    let plain = argument.chars().all(|character| character.is_ascii_alphanumeric() || "-_./:=".contains(character));
    if plain && !argument.is_empty() { argument.to_owned() } else { format!("'{}'", argument.replace('\'', "'\\''")) }
}
