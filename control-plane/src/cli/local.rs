//! Commands that work on the data folder alone: keys, development tokens, filters' credentials.

use std::sync::Arc;

use grantmesh_shared::time::Timestamp;
use serde_json::{Map, Value, json};

use super::output::Output;
use super::{CredentialArgs, Failure, KeygenArgs, NewEpochArgs, TokenArgs};
use crate::app::{App, Settings};
use crate::audit::LogKey;
use crate::clock::{Clock as _, SystemClock};
use crate::domain::Text;
use crate::identity::{DEV_CLAIMS, FilterCredentials, mint_dev_token_with};
use crate::keys::{DEV_ISSUER_KEY, DevIssuerKey, Ed25519Key, Keys, SIGNING_KEY};
use crate::mark::Mark;

pub(super) fn keygen(args: &KeygenArgs, out: &mut Output) -> Result<(), Failure> {
    let keys = Keys::create(&args.data.data_dir, true)?;
    let log = LogKey::from_seed(keys.log.seed())?;
    if args.json {
        out.json(&json!({ "filter_key": keys.signing.pin(), "log_key": log.vkey() }))?;
        return Ok(());
    }
    out.line(format_args!("filter key (for `keys` of the filter's configuration)\n  {}", keys.signing.pin()));
    out.line(format_args!("log key (for `grantmesh audit verify --log-key`)\n  {}", log.vkey()));
    Ok(())
}

pub(super) async fn new_epoch(args: &NewEpochArgs, out: &mut Output) -> Result<(), Failure> {
    let folder = &args.data.data_dir;
    let keys = Keys::load(folder)?;
    let mark = Mark::of(folder);
    let database = args.database.clone().unwrap_or_else(|| format!("sqlite:{}", folder.join("grantmesh.db").display()));
    // An epoch begins by the machine's own clock, even if the one before had come further.
    let clock = Arc::new(SystemClock);
    let settings = Settings { clock, ..Settings::new(database, LogKey::from_seed(keys.log.seed())?) };
    let app = App::open(settings).await?;
    let begun = app.begin_epoch(&Text::new(&args.reason, "reason")?, mark.epoch()?).await?;
    app.close().await;
    mark.reach(&begun.head)?;
    let (position, before, back) = (begun.head.position, begun.before.position, begun.time_goes_back());
    if args.json {
        out.json(&json!({
            "epoch": position.epoch,
            "revision": position.revision,
            "before": { "epoch": before.epoch, "revision": before.revision },
            "time_goes_back": back.map(|back| back.to_string()),
        }))?;
    } else {
        out.line(format_args!(
            "epoch {} begins at revision {}, after revision {} of epoch {}: filters take everything anew",
            position.epoch, position.revision, before.revision, before.epoch
        ));
    }
    if let Some(back) = back {
        out.remark(format_args!(
            "time goes back by {back}, to this machine's clock, which must be right: what had ended since counts again"
        ));
    }
    out.remark(
        "uses that were taken after the backup are given back: revoke active grants with uses that may have been",
    );
    Ok(())
}

pub(super) fn token(args: &TokenArgs, out: &mut Output) -> Result<(), Failure> {
    let key = DevIssuerKey::load(&args.data.data_dir.join(DEV_ISSUER_KEY))?;
    let more: Map<String, Value> = args.claims.iter().cloned().collect();
    let (user, groups, now) = (&args.user, &args.groups, SystemClock.now());
    let token = mint_dev_token_with(&key, user, groups, &args.audience, args.ttl, now, &more)?;
    tell(out, args.json, "token", &token, now.plus(args.ttl))
}

/// Reads `NAME=VALUE`; the value is JSON where it is some, else a text.
pub(super) fn claim(text: &str) -> Result<(String, Value), String> {
    let (name, value) = text.split_once('=').ok_or("write it like `department=sales` or `level=3`")?;
    if name.is_empty() || DEV_CLAIMS.contains(&name) {
        return Err(format!("`{name}` is set by the token itself\nname another claim"));
    }
    Ok((name.to_owned(), serde_json::from_str(value).unwrap_or_else(|_| value.into())))
}

pub(super) fn credential(args: &CredentialArgs, out: &mut Output) -> Result<(), Failure> {
    let key = Ed25519Key::load(&args.data.data_dir.join(SIGNING_KEY))?;
    let now = SystemClock.now();
    let credential = FilterCredentials::mint(&key, &args.name, &args.services, args.ttl, now)?;
    tell(out, args.json, "credential", &credential, now.plus(args.ttl))
}

/// Something secret alone on its line, for a variable or a file, or with its end as JSON.
fn tell(out: &mut Output, as_json: bool, name: &str, secret: &str, expires_at: Timestamp) -> Result<(), Failure> {
    if as_json {
        return Ok(out.json(&json!({ name: secret, "expires_at": expires_at.to_string() }))?);
    }
    out.line(secret);
    Ok(())
}
