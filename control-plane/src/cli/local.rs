//! Commands that work on the data folder alone: keys, development tokens, filters' credentials.

use serde_json::json;

use super::output::Output;
use super::{CredentialArgs, Failure, KeygenArgs, TokenArgs};
use crate::audit::LogKey;
use crate::clock::{Clock as _, SystemClock};
use crate::identity::{FilterCredentials, mint_dev_token};
use crate::keys::{DEV_ISSUER_KEY, DevIssuerKey, Ed25519Key, Keys, SIGNING_KEY};

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

pub(super) fn token(args: &TokenArgs, out: &mut Output) -> Result<(), Failure> {
    let key = DevIssuerKey::load(&args.data.data_dir.join(DEV_ISSUER_KEY))?;
    out.line(mint_dev_token(&key, &args.user, &args.groups, &args.audience, args.ttl, SystemClock.now())?);
    Ok(())
}

pub(super) fn credential(args: &CredentialArgs, out: &mut Output) -> Result<(), Failure> {
    let key = Ed25519Key::load(&args.data.data_dir.join(SIGNING_KEY))?;
    out.line(FilterCredentials::mint(&key, &args.name, &args.services, args.ttl, SystemClock.now())?);
    Ok(())
}
