//! `grantmesh serve`: puts the parts together, serves until a signal, and stops without losing an answer.

use std::sync::Arc;

use grantmesh_shared::time::Timestamp;
use jsonwebtoken::jwk::JwkSet;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tracing_subscriber::EnvFilter;

use super::Failure;
use super::output::Output;
use crate::app::{App, Settings};
use crate::audit::LogKey;
use crate::clock::{Clock as _, SystemClock};
use crate::config::{IssuerSettings, LogFormat, ServeArgs, ServeSettings, password};
use crate::http::{self, Api};
use crate::identity::{FilterCredentials, KeySet, KeySource, UserTokens};
use crate::keys::{DEV_ISSUER_KEY, DevIssuerKey, Keys, make_folder};
use crate::mark::Mark;
use crate::notify::Courier;
use crate::push::Push;
use crate::redact::{Redacted, keep_secret};
use crate::tasks;

pub(super) async fn serve(args: ServeArgs, out: &mut Output) -> Result<(), Failure> {
    let check = args.check;
    let settings = args.resolve()?;
    if check {
        out.line(&settings);
        return Ok(());
    }
    secrets(&settings);
    start_log(&settings)?;
    let couriers = settings.webhooks.iter().cloned().map(Courier::new).collect::<Result<Vec<_>, _>>()?;
    let keys = keys(&settings)?;
    let (users, dev_jwks) = users(&settings, SystemClock.now()).await?;
    let app = App::open(Settings {
        operators: settings.operators.clone(),
        auditors: settings.auditors.clone(),
        ..Settings::new(settings.database.clone(), LogKey::from_seed(keys.log.seed())?)
    })
    .await?;
    let mark = Mark::of(&settings.data_dir);
    mark.check(&app.head().await?)?;
    let filters = FilterCredentials::new(&keys.signing);
    let push = Push::start(app.clone(), Arc::new(keys.signing), settings.freshness).await?;
    let following = tokio::spawn(Arc::clone(&push).run());
    let (stopped, stop) = watch::channel(false);
    for courier in &couriers {
        // One that is new is told of all that happens from now on.
        app.know_endpoint(courier.name()).await?;
    }
    let mut tasks = tasks::start(&app, &push, couriers, mark, &stop);

    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let listener = http::listen(settings.listen, settings.listen_file.as_deref()).await?;
    let address = listener.local_addr()?;
    let public_url = settings.public_url.clone().unwrap_or_else(|| format!("http://{address}"));
    tracing::info!(%address, public_url, issuer = settings.issuer.issuer(), "listening");
    let api = Api::new(app, Arc::clone(&push), users, filters, public_url, dev_jwks);
    let signalled = async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    let served = http::serve(listener, http::router(api), Arc::clone(&push), signalled).await;
    push.end();
    stopped.send_replace(true);
    while tasks.join_next().await.is_some() {}
    following.await?;
    tracing::info!("stopped");
    Ok(served?)
}

/// Has everything that is known to be a secret taken out of whatever is told from now on.
fn secrets(settings: &ServeSettings) {
    settings.webhooks.iter().flat_map(|webhook| &webhook.secrets).for_each(|secret| keep_secret(secret.as_text()));
    if let Some(password) = password(&settings.database) {
        keep_secret(&password);
    }
}

fn start_log(settings: &ServeSettings) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(&settings.log)?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(Redacted(std::io::stderr));
    match settings.log_format {
        LogFormat::Text => log.with_ansi(false).try_init(),
        LogFormat::Json => log.json().flatten_event(true).try_init(),
    }
}

/// The control plane's keys; with the development issuer, those that are missing are made.
fn keys(settings: &ServeSettings) -> Result<Keys, Failure> {
    if settings.issuer != IssuerSettings::Dev {
        return Ok(Keys::load(&settings.data_dir)?);
    }
    make_folder(&settings.data_dir)?;
    Ok(Keys::create(&settings.data_dir, true)?)
}

async fn users(settings: &ServeSettings, now: Timestamp) -> Result<(UserTokens, Option<JwkSet>), Failure> {
    let (issuer, audience) = (settings.issuer.issuer().to_owned(), settings.issuer.audience().to_owned());
    match &settings.issuer {
        IssuerSettings::Oidc { jwks, .. } => {
            let keys = KeySource::follow(jwks.clone(), now).await?;
            Ok((UserTokens::new(issuer, audience, keys), None))
        }
        IssuerSettings::Dev => {
            tracing::warn!(
                "DEVELOPMENT ISSUER: whoever can read `{}` in the data folder can be anybody. Never serve with `--dev` what matters",
                DEV_ISSUER_KEY
            );
            let path = settings.data_dir.join(DEV_ISSUER_KEY);
            let key = if path.exists() { DevIssuerKey::load(&path)? } else { DevIssuerKey::create(&path)? };
            let jwks = key.jwks()?;
            Ok((UserTokens::new(issuer, audience, KeySource::fixed(KeySet::of(&jwks))), Some(jwks)))
        }
    }
}
