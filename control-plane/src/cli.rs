//! The command line `grantmesh`: the server, tools that work on its data folder, and the client of its API.
//! Everything it prints goes through `output`; every failure is told in the server's own words.

mod arrival;
mod audit;
mod break_glass;
mod client;
mod decision;
mod delegations;
mod doctor;
mod exit;
mod grants;
mod local;
mod locks;
mod notifications;
mod offline;
mod output;
mod policy;
mod requests;
mod run;
mod serve;
mod signals;
mod tables;
mod watch;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use grantmesh_shared::time::{Span, Timestamp};
use grantmesh_shared::wire::signature::Sha256Hash;

use crate::config::ServeArgs;
use output::Output;

/// Just-in-time approval for service calls, enforced inside Envoy.
#[derive(Debug, Parser)]
#[command(name = "grantmesh", version, propagate_version = true, max_term_width = 110, after_help = exit::HELP)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    /// Without colours
    #[arg(long, global = true, env = "NO_COLOR", value_parser = clap::builder::FalseyValueParser::new(), hide = true)]
    no_color: bool,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the control plane
    Serve(Box<ServeArgs>),
    /// Make the control plane's keys, where they are missing, and print the public ones
    Keygen(KeygenArgs),
    /// Go on from a database that was restored from a backup, or whose clock had been ahead
    NewEpoch(NewEpochArgs),
    /// Print a token of the development issuer
    Token(TokenArgs),
    /// Print a credential for filters
    Credential(CredentialArgs),
    /// Ask for a grant
    Request(RequestArgs),
    /// Run a command; where its call is refused, ask, wait for the decision and run it again
    Run(run::RunArgs),
    /// List requests
    Requests(RequestsArgs),
    /// Approve a request
    Approve(ApproveArgs),
    /// Deny a request
    Deny(DenyArgs),
    /// Let somebody else review in your place, for a time
    Delegate(delegations::DelegateArgs),
    /// List who reviews in whose place, or end that
    Delegations(delegations::DelegationsArgs),
    /// Take your own request back
    Withdraw(WithdrawArgs),
    /// List grants, or show one with what it was used for
    Grants(GrantsArgs),
    /// List the uses of a grant that is for a number of calls, and what came of each
    Uses(UsesArgs),
    /// Ask for more time for your own grant
    Extend(ExtendArgs),
    /// End a grant before its time, or all that fit
    Revoke(RevokeArgs),
    /// Give your own grant back
    Release(ReleaseArgs),
    /// Have a short grant at once, without an approval, if the policy gives you that right; somebody else reviews it afterwards
    BreakGlass(break_glass::BreakGlassArgs),
    /// List and decide the reviews of what was done by break-glass
    #[command(subcommand)]
    PostReview(break_glass::PostReviewCommand),
    /// Have break-glass tokens signed beforehand, which proxies honour while the control plane cannot be reached
    #[command(subcommand)]
    OfflineToken(offline::OfflineCommand),
    /// Block principals, services or actions above every grant
    #[command(subcommand)]
    Lock(locks::LockCommand),
    /// Set and clear the facts that the policy's conditions name
    #[command(subcommand)]
    Signal(signals::SignalCommand),
    /// Generate, check, test, explain, compare, simulate, apply or show the policy and its history
    #[command(subcommand)]
    Policy(PolicyCommand),
    /// Read or verify the audit log
    #[command(subcommand)]
    Audit(AuditCommand),
    /// List the filters that follow the control plane
    Fleet(FleetArgs),
    /// List deliveries of notifications, and have those tried again that were given up
    #[command(subcommand)]
    Notifications(notifications::NotificationCommand),
    /// Show what happens to your requests, grants and delegations, and to what you may review, as it happens
    Watch(watch::WatchArgs),
    /// Check the configuration of a proxy with the filter in it
    Doctor(doctor::DoctorArgs),
    /// Print the completion script of a shell
    Completion(CompletionArgs),
}

/// How the server is reached, and as whom.
#[derive(Debug, Clone, Args)]
struct ClientArgs {
    /// The control plane
    #[arg(long, env = "GRANTMESH_SERVER", value_name = "URL")]
    server: Option<String>,
    /// Your access token
    #[arg(long, env = "GRANTMESH_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Print the server's answer as JSON
    #[arg(long)]
    json: bool,
}

/// Whether to wait for the filters.
#[derive(Debug, Clone, Copy, Args)]
struct WaitArgs {
    /// Wait until every filter has acknowledged or can no longer act on what it knew before
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "30s", value_name = "DURATION")]
    wait: Option<Span>,
}

impl WaitArgs {
    fn duration(self) -> std::time::Duration {
        self.wait.unwrap_or_default().duration()
    }
}

#[derive(Debug, Args)]
struct DataDirArgs {
    /// The folder of the control plane's keys
    #[arg(long, env = "GRANTMESH_DATA_DIR", value_name = "DIR")]
    data_dir: PathBuf,
}

#[derive(Debug, Args)]
struct KeygenArgs {
    #[command(flatten)]
    data: DataDirArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct NewEpochArgs {
    /// Why; the audit log keeps it
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// The database: `sqlite:PATH` or `postgres://…` [default: DIR/grantmesh.db]
    #[arg(long, env = "GRANTMESH_DATABASE", value_name = "URL", hide_env_values = true)]
    database: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: DataDirArgs,
}

#[derive(Debug, Args)]
struct TokenArgs {
    /// The token's subject
    user: String,
    /// A group of the user; may be repeated
    #[arg(long = "group", value_name = "GROUP")]
    groups: Vec<String>,
    /// A further claim, its value as JSON or plain text; may be repeated
    #[arg(long = "claim", value_name = "NAME=VALUE", value_parser = local::claim)]
    claims: Vec<(String, serde_json::Value)>,
    /// How long it is valid
    #[arg(long, default_value = "1h", value_name = "DURATION")]
    ttl: Span,
    /// The token's audience
    #[arg(long, default_value = crate::identity::DEV_AUDIENCE, value_name = "AUD")]
    audience: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: DataDirArgs,
}

#[derive(Debug, Args)]
struct CredentialArgs {
    /// The node id of the proxy
    #[arg(long, value_name = "NODE")]
    name: String,
    /// A service that the filter may load; may be repeated
    #[arg(long = "service", value_name = "SERVICE", required = true)]
    services: Vec<String>,
    /// How long it is valid
    #[arg(long, default_value = "720h", value_name = "DURATION")]
    ttl: Span,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: DataDirArgs,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
struct RequestArgs {
    #[command(subcommand)]
    show: Option<RequestCommand>,
    /// The URL that a refusal names
    #[arg(long, value_name = "URL", conflicts_with_all = ["service", "action", "resource", "method", "path"])]
    from_url: Option<String>,
    /// The service
    #[arg(long, required_unless_present = "from_url")]
    service: Option<String>,
    /// The action
    #[arg(long, requires = "resource", conflicts_with_all = ["method", "path"])]
    action: Option<String>,
    /// What it touches
    #[arg(long, requires = "action")]
    resource: Option<String>,
    /// The method of the call, instead of action and resource
    #[arg(long, requires = "path")]
    method: Option<String>,
    /// The path of the call
    #[arg(long, requires = "method")]
    path: Option<String>,
    /// The rule to ask under
    #[arg(long)]
    rule: Option<String>,
    /// Why; the reviewers read it
    #[arg(long, value_name = "TEXT", required = true)]
    justification: Option<String>,
    /// The ticket that it is about
    #[arg(long, value_name = "TICKET")]
    ticket: Option<String>,
    /// For how long; the rule's default if left out
    #[arg(long)]
    duration: Option<Span>,
    /// For how many calls; for one if left out and the rule counts them
    #[arg(long, value_name = "NUMBER")]
    uses: Option<u32>,
    /// From when on, as a time or as a length of time from now; from its approval on if left out
    #[arg(long, value_name = "TIME", value_parser = requests::start)]
    start: Option<Timestamp>,
    /// Wait for the decision, at most so long
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "24h", value_name = "DURATION")]
    wait: Option<Span>,
    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Debug, Subcommand)]
enum RequestCommand {
    /// Show a request: what is asked for, and the call that a grant would be bound to
    Show(ShowArgs),
}

#[derive(Debug, Args)]
struct ShowArgs {
    /// The request
    request: String,
    #[command(flatten)]
    client: ClientArgs,
}

/// What a list is narrowed to.
#[derive(Debug, Args)]
struct OnlyArgs {
    /// Only of this service
    #[arg(long)]
    service: Option<String>,
    /// Only of this action of the service
    #[arg(long, requires = "service")]
    action: Option<String>,
    /// Only under this rule of the service
    #[arg(long, requires = "service")]
    rule: Option<String>,
    /// Only from this time on, like `2026-03-01T12:00:00Z`
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only before this time
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// The oldest first
    #[arg(long)]
    oldest_first: bool,
}

impl OnlyArgs {
    fn query(self) -> Vec<(&'static str, String)> {
        let Self { service, action, rule, since, until, oldest_first } = self;
        let order = oldest_first.then(|| "oldest".to_owned());
        let stated = [
            ("service", service),
            ("action", action),
            ("rule", rule),
            ("since", since),
            ("until", until),
            ("order", order),
        ];
        stated.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }
}

#[derive(Debug, Args)]
struct RequestsArgs {
    /// Only in this state: pending, approved, denied, timed_out or withdrawn
    #[arg(long)]
    state: Option<String>,
    /// Only those you filed
    #[arg(long)]
    mine: bool,
    /// Only those that this person filed, by the subject of their tokens
    #[arg(long, value_name = "NAME")]
    requester: Option<String>,
    #[command(flatten)]
    only: OnlyArgs,
    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Debug, Args)]
struct ApproveArgs {
    /// The request
    request: String,
    /// The digest of the request that you were shown, as a notification or `grantmesh requests ID` has it; without, the
    /// request is fetched and what is decided is what it then is
    #[arg(long, value_name = "DIGEST")]
    digest: Option<Sha256Hash>,
    /// Why
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// For a shorter time than was asked
    #[arg(long)]
    duration: Option<Span>,
    /// For fewer calls than was asked
    #[arg(long, value_name = "NUMBER")]
    uses: Option<u32>,
    /// Reveal only this field of those that the rule reveals; may be repeated
    #[arg(long, value_name = "FIELD")]
    reveal: Vec<String>,
    /// Reveal none of the fields that the rule reveals
    #[arg(long, conflicts_with = "reveal")]
    reveal_nothing: bool,
    /// Review in the place of this person, who has delegated their reviews to you
    #[arg(long, value_name = "USER")]
    on_behalf_of: Option<String>,
    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Debug, Args)]
struct DenyArgs {
    /// The request
    request: String,
    /// As for `approve`
    #[arg(long, value_name = "DIGEST")]
    digest: Option<Sha256Hash>,
    /// Why
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Review in the place of this person, who has delegated their reviews to you
    #[arg(long, value_name = "USER")]
    on_behalf_of: Option<String>,
    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Debug, Args)]
struct WithdrawArgs {
    /// The request
    request: String,
    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Debug, Subcommand)]
enum GrantsCommand {
    /// Show a grant: what it was used for, and what would have been enough
    Show(GrantShowArgs),
}

#[derive(Debug, Args)]
struct GrantShowArgs {
    /// The grant
    grant: String,
    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
struct GrantsArgs {
    #[command(subcommand)]
    show: Option<GrantsCommand>,
    /// Only in this state: scheduled, active, expired, revoked, released or exhausted
    #[arg(long)]
    state: Option<String>,
    /// Only those you hold
    #[arg(long)]
    mine: bool,
    /// Only those under which no call was ever let through
    #[arg(long)]
    unused: bool,
    /// Only those that this person held, by the subject of their tokens
    #[arg(long, value_name = "NAME")]
    holder: Option<String>,
    #[command(flatten)]
    only: OnlyArgs,
    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Debug, Args)]
struct UsesArgs {
    /// The grant
    grant: String,
    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Debug, Args)]
struct ExtendArgs {
    /// The grant
    grant: String,
    /// How much more
    #[arg(long)]
    duration: Span,
    /// Why; needed where reviewers decide it
    #[arg(long, value_name = "TEXT")]
    justification: Option<String>,
    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("which").args(["grant", "all_of", "service", "action", "rule"]).required(true).multiple(true)))]
struct RevokeArgs {
    /// The grant
    #[arg(conflicts_with_all = ["all_of", "service", "action", "rule", "dry_run"])]
    grant: Option<String>,
    /// All grants of this user
    #[arg(long, value_name = "USER")]
    all_of: Option<String>,
    /// All grants of this service; with other parts, those that fit all of them
    #[arg(long)]
    service: Option<String>,
    /// All grants of this action
    #[arg(long)]
    action: Option<String>,
    /// All grants under this rule or break-glass right
    #[arg(long)]
    rule: Option<String>,
    /// Only list them
    #[arg(long)]
    dry_run: bool,
    /// Why
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    wait: WaitArgs,
    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Debug, Args)]
struct ReleaseArgs {
    /// The grant
    grant: String,
    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Debug, Subcommand)]
enum PolicyCommand {
    /// Check policy files without a server: faults, and warnings of what is probably not meant
    Check(PolicyCheckArgs),
    /// Print the JSON Schema of policy documents, for editors
    Schema,
    /// Make a `Service` document from an OpenAPI document or gRPC descriptors, and print it
    Generate(policy::generate::GenerateArgs),
    /// Play the cases beside policy files, and tell what of the policy none touches
    Test(policy::test::TestArgs),
    /// Tell what differs between two policies, in words and in decisions
    Diff(policy::diff::DiffArgs),
    /// Tell what a policy would have made of the decisions that were recorded
    Simulate(policy::simulate::SimulateArgs),
    /// Decide one call, with everything that the policy says about its action
    Explain(policy::explain::ExplainArgs),
    /// Put policy files in force, if nobody else applied others meanwhile
    Apply(policy::apply::ApplyArgs),
    /// Show the policy in force, or one that was
    Show(policy::versions::ShowArgs),
    /// List the versions of the policy, newest first
    History(policy::versions::HistoryArgs),
}

#[derive(Debug, Args)]
struct PolicyCheckArgs {
    /// Files, or folders with .yaml, .yml and .json files
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Fail on warnings, too: what is allowed and probably not meant
    #[arg(long)]
    deny_warnings: bool,
    /// Print faults and warnings as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Subcommand)]
enum AuditCommand {
    /// Print the latest entries
    Tail(AuditTailArgs),
    /// Recompute the log, from a database or from a server
    Verify(AuditVerifyArgs),
}

#[derive(Debug, Args)]
struct AuditTailArgs {
    /// How many
    #[arg(long, default_value_t = 20)]
    limit: u32,
    /// Go on with new ones
    #[arg(long)]
    follow: bool,
    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Debug, Args)]
struct AuditVerifyArgs {
    /// The database, read directly: `sqlite:PATH` or `postgres://…`
    #[arg(long, value_name = "URL")]
    database: Option<String>,
    /// The log's verifier key as `keygen` printed it; without it the checkpoint's signature is not checked
    #[arg(long, env = "GRANTMESH_LOG_KEY", value_name = "VKEY")]
    log_key: Option<String>,
    #[command(flatten)]
    client: ClientArgs,
}

#[derive(Debug, Args)]
struct CompletionArgs {
    /// The shell
    shell: clap_complete::Shell,
}

#[derive(Debug, Args)]
struct FleetArgs {
    #[command(flatten)]
    client: ClientArgs,
}

/// Runs a command that was parsed from the arguments. Its failure is already told when this returns.
pub async fn run(cli: Cli) -> ExitCode {
    let mut out = Output::new(cli.no_color);
    match dispatch(cli.command, &mut out).await {
        Ok(()) => out.exit_code(),
        Err(error) => {
            out.error(&*error);
            exit::FAILED.into()
        }
    }
}

/// Any failure of a command; only told, never matched.
type Failure = Box<dyn std::error::Error + Send + Sync>;

async fn dispatch(command: Command, out: &mut Output) -> Result<(), Failure> {
    match command {
        Command::Serve(args) => serve::serve(*args, out).await,
        Command::Keygen(args) => local::keygen(&args, out),
        Command::NewEpoch(args) => local::new_epoch(&args, out).await,
        Command::Token(args) => local::token(&args, out),
        Command::Credential(args) => local::credential(&args, out),
        Command::Request(args) => requests::file(args, out).await,
        Command::Run(args) => run::run(args, out).await,
        Command::Requests(args) => requests::list(args, out).await,
        Command::Approve(args) => requests::approve(args, out).await,
        Command::Deny(args) => requests::deny(args, out).await,
        Command::Delegate(args) => delegations::delegate(args, out).await,
        Command::Delegations(args) => delegations::list(args, out).await,
        Command::Withdraw(args) => requests::withdraw(args, out).await,
        Command::Grants(args) => grants::list(args, out).await,
        Command::Uses(args) => grants::uses(args, out).await,
        Command::Extend(args) => grants::extend(args, out).await,
        Command::Revoke(args) => grants::revoke(args, out).await,
        Command::Release(args) => grants::release(args, out).await,
        Command::BreakGlass(args) => break_glass::break_glass(args, out).await,
        Command::PostReview(command) => break_glass::run(command, out).await,
        Command::OfflineToken(command) => offline::run(command, out).await,
        Command::Lock(command) => locks::run(command, out).await,
        Command::Signal(command) => signals::run(command, out).await,
        Command::Policy(PolicyCommand::Check(args)) => policy::check(&args, out),
        Command::Policy(PolicyCommand::Generate(args)) => policy::generate::run(&args, out),
        Command::Policy(PolicyCommand::Schema) => policy::schema(out),
        Command::Policy(PolicyCommand::Test(args)) => policy::test::run(&args, out),
        Command::Policy(PolicyCommand::Diff(args)) => policy::diff::run(&args, out),
        Command::Policy(PolicyCommand::Simulate(args)) => policy::simulate::run(args, out).await,
        Command::Policy(PolicyCommand::Explain(args)) => policy::explain::run(args, out).await,
        Command::Policy(PolicyCommand::Apply(args)) => policy::apply::run(args, out).await,
        Command::Policy(PolicyCommand::Show(args)) => policy::versions::show(args, out).await,
        Command::Policy(PolicyCommand::History(args)) => policy::versions::history(args, out).await,
        Command::Audit(AuditCommand::Tail(args)) => audit::tail(args, out).await,
        Command::Audit(AuditCommand::Verify(args)) => audit::verify(args, out).await,
        Command::Fleet(args) => grants::fleet(args, out).await,
        Command::Notifications(command) => notifications::run(command, out).await,
        Command::Watch(args) => watch::run(args, out).await,
        Command::Doctor(args) => doctor::run(&args, out),
        Command::Completion(args) => completion(&args, out),
    }
}

fn completion(args: &CompletionArgs, out: &mut Output) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut <Cli as clap::CommandFactory>::command(), "grantmesh", &mut script);
    out.line(String::from_utf8(script)?.trim_end());
    Ok(())
}

/// An id as one segment of a path: what is no id can at most be an id that does not exist.
fn segment(id: &str) -> String {
    let plain = |letter: &char| letter.is_ascii_alphanumeric() || *letter == '_';
    id.chars().map(|letter| if plain(&letter) { letter } else { '-' }).collect()
}

#[cfg(test)]
mod tests;
