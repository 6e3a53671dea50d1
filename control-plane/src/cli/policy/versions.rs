//! `policy show` and `policy history`: what is in force, and what was.

use clap::Args;
use grantmesh_shared::wire::policy::{PolicyFile, parse};

use super::tell;
use crate::cli::client::Client;
use crate::cli::output::Output;
use crate::cli::policy::files::FilesError;
use crate::cli::{ClientArgs, Failure, segment, tables};
use crate::http::bodies::{PolicyVersionView, PolicyView};
use crate::http::view::ListView;

/// What `policy show` takes.
#[derive(Debug, Args)]
pub(in crate::cli) struct ShowArgs {
    /// This version; the one in force if nothing is said
    #[arg(long, value_name = "POLICY", conflicts_with = "revision")]
    id: Option<String>,
    /// The version that was in force at this revision, as filters and records name it
    #[arg(long, value_name = "N")]
    revision: Option<u64>,
    /// As one file in the one form of all policies that say the same: by kind and name, without comments
    #[arg(long)]
    canonical: bool,
    #[command(flatten)]
    client: ClientArgs,
}

/// What `policy history` takes.
#[derive(Debug, Args)]
pub(in crate::cli) struct HistoryArgs {
    /// How many versions
    #[arg(long, default_value_t = 20)]
    limit: u32,
    #[command(flatten)]
    client: ClientArgs,
}

pub(in crate::cli) async fn show(args: ShowArgs, out: &mut Output) -> Result<(), Failure> {
    let ShowArgs { id, revision, canonical, client: args } = args;
    let client = Client::new(&args)?;
    let answer = match (id, revision) {
        (Some(id), _) => client.get(&format!("/v1/policy/versions/{}", segment(&id)), &[]).await?,
        (None, Some(revision)) => client.get("/v1/policy", &[("revision", revision.to_string())]).await?,
        (None, None) => client.get("/v1/policy", &[]).await?,
    };
    if args.json {
        return Ok(out.json(&answer)?);
    }
    let PolicyView { about: policy, files } = client.read(&answer)?;
    let at = tables::when(&policy.applied_at);
    out.line(format_args!("# {} by {}, {at}, from revision {} on", policy.id, policy.author.subject, policy.revision));
    if let Some(digest) = &policy.digest {
        out.line(format_args!("# digest {digest}"));
    }
    if let Some(message) = &policy.message {
        out.line(format_args!("# {}", message.replace('\n', "\n# ")));
    }
    let files: Vec<PolicyFile> = files.into_iter().map(PolicyFile::from).collect();
    if canonical {
        let documents = parse(&files).map_err(|faults| {
            tell(&faults, &files, out);
            FilesError::Faults(faults.len())
        })?;
        out.line(documents.to_yaml()?.trim_end());
        return Ok(());
    }
    for file in &files {
        out.line(format_args!("# file: {}\n{}", file.name, file.text.trim_end()));
    }
    Ok(())
}

pub(in crate::cli) async fn history(args: HistoryArgs, out: &mut Output) -> Result<(), Failure> {
    let client = Client::new(&args.client)?;
    let answer = client.get("/v1/policy/versions", &[("limit", args.limit.to_string())]).await?;
    if args.client.json {
        return Ok(out.json(&answer)?);
    }
    let versions: ListView<PolicyVersionView> = client.read(&answer)?;
    if versions.items.is_empty() {
        out.remark("no policy was applied yet");
        return Ok(());
    }
    out.table(tables::policies(&versions.items));
    if versions.next_cursor.is_some() {
        out.remark("there are older ones: say `--limit` for more");
    }
    Ok(())
}

/// The beginning of a hash, for people.
pub(in crate::cli) fn short(digest: Option<&str>) -> &str {
    digest.map_or("-", |digest| digest.get(..12).unwrap_or(digest))
}
