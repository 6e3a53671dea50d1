//! What `grantmesh serve` is told: by flags, the environment and one YAML file, in that order of precedence.
//! Everything is validated together, and every fault is told at once, before anything is opened.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use grantmesh_shared::engine::Subject;
use grantmesh_shared::time::Span;
use grantmesh_shared::wire::sync::Freshness;
use serde::Deserialize;

use crate::identity::{DEV_AUDIENCE, DEV_ISSUER, JwksSource};
use crate::notify::EndpointSettings;

pub use webhooks::WebhookArgs;

/// Where the server listens if nothing is said.
const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8480);

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// The settings of `serve` as they were stated; the file has the same names.
#[derive(Debug, Clone, Default, clap::Args, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct ServeArgs {
    /// Where to listen; port 0 takes a free one [default: 127.0.0.1:8480]
    #[arg(long, env = "GRANTMESH_LISTEN", value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,
    /// A file that gets the address once the server listens
    #[arg(long, env = "GRANTMESH_LISTEN_FILE", value_name = "FILE")]
    pub listen_file: Option<PathBuf>,
    /// The folder of keys and, with SQLite, of the database
    #[arg(long, env = "GRANTMESH_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// `sqlite:PATH` or `postgres://…` [default: DIR/grantmesh.db]
    #[arg(long, env = "GRANTMESH_DATABASE", value_name = "URL", hide_env_values = true)]
    pub database: Option<String>,
    /// Where people and filters' challenges reach this server [default: http://ADDRESS]
    #[arg(long, env = "GRANTMESH_PUBLIC_URL", value_name = "URL")]
    pub public_url: Option<String>,
    /// Use the development issuer, whose tokens anybody with the data folder can make; only on a loopback address
    #[arg(long, env = "GRANTMESH_DEV", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub dev: Option<bool>,
    /// The `iss` of users' tokens
    #[arg(long, env = "GRANTMESH_ISSUER", value_name = "ISS")]
    pub issuer: Option<String>,
    /// The `aud` of users' tokens
    #[arg(long, env = "GRANTMESH_AUDIENCE", value_name = "AUD")]
    pub audience: Option<String>,
    /// The issuer's public keys: a file or a URL
    #[arg(long, env = "GRANTMESH_JWKS", value_name = "FILE|URL")]
    pub jwks: Option<String>,
    /// Who may change the policy and revoke any grant: `user:NAME` or `group:NAME`; may be repeated
    #[arg(long = "operator", env = "GRANTMESH_OPERATOR", value_name = "REF", value_delimiter = ',')]
    #[serde(rename = "operators")]
    pub operators: Vec<String>,
    /// Who may read everything; may be repeated
    #[arg(long = "auditor", env = "GRANTMESH_AUDITOR", value_name = "REF", value_delimiter = ',')]
    #[serde(rename = "auditors")]
    pub auditors: Vec<String>,
    /// How old a filter's knowledge may be for critical actions [default: 5s]
    #[arg(long, env = "GRANTMESH_FRESH_CRITICAL", value_name = "DURATION")]
    pub fresh_critical: Option<Span>,
    /// The same for standard actions [default: 30s]
    #[arg(long, env = "GRANTMESH_FRESH_STANDARD", value_name = "DURATION")]
    pub fresh_standard: Option<Span>,
    /// The same for low actions [default: 5m]
    #[arg(long, env = "GRANTMESH_FRESH_LOW", value_name = "DURATION")]
    pub fresh_low: Option<Span>,
    /// What to log, like `info` or `grantmesh_control_plane=debug` [default: info]
    #[arg(long, env = "GRANTMESH_LOG", value_name = "FILTER")]
    pub log: Option<String>,
    /// How to log
    #[arg(long, env = "GRANTMESH_LOG_FORMAT", value_enum, value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
    /// Endpoints of notifications; only in the file, under this name
    #[arg(skip)]
    pub webhooks: Vec<WebhookArgs>,
    /// A YAML file with any of these settings, and with `webhooks`
    #[arg(long, env = "GRANTMESH_CONFIG", value_name = "FILE")]
    #[serde(skip)]
    pub config: Option<PathBuf>,
    /// Print the settings as they would be used, or what is wrong with them, and end
    #[arg(long)]
    #[serde(skip)]
    pub check: bool,
}

/// Everything that is wrong with the settings.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct ConfigError(pub Vec<String>);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the settings cannot be used")?;
        self.0.iter().try_for_each(|fault| write!(f, "\n- {}", fault.replace('\n', "\n  ")))
    }
}

/// Whose tokens are believed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IssuerSettings {
    /// The development issuer.
    Dev,
    /// An OpenID issuer.
    Oidc {
        /// The `iss`.
        issuer: String,
        /// The `aud`.
        audience: String,
        /// Its public keys.
        jwks: JwksSource,
    },
}

impl IssuerSettings {
    /// The `iss`.
    #[must_use]
    pub fn issuer(&self) -> &str {
        match self {
            Self::Dev => DEV_ISSUER,
            Self::Oidc { issuer, .. } => issuer,
        }
    }

    /// The `aud`.
    #[must_use]
    pub fn audience(&self) -> &str {
        match self {
            Self::Dev => DEV_AUDIENCE,
            Self::Oidc { audience, .. } => audience,
        }
    }
}

/// Settings that can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServeSettings {
    /// Where to listen.
    pub listen: SocketAddr,
    /// The file that gets the address.
    pub listen_file: Option<PathBuf>,
    /// The folder of keys.
    pub data_dir: PathBuf,
    /// The database.
    pub database: String,
    /// Where people reach this server; nothing if it is where it listens.
    pub public_url: Option<String>,
    /// Whose tokens are believed.
    pub issuer: IssuerSettings,
    /// Operators.
    pub operators: Vec<Subject>,
    /// Auditors.
    pub auditors: Vec<Subject>,
    /// Freshness bounds of filters.
    pub freshness: Freshness,
    /// What to log.
    pub log: String,
    /// How to log.
    pub log_format: LogFormat,
    /// Who is told of what happens.
    pub webhooks: Vec<EndpointSettings>,
}

impl ServeArgs {
    /// Reads the file, if one is named, and validates everything.
    ///
    /// # Errors
    /// Everything that is wrong.
    pub fn resolve(self) -> Result<ServeSettings, ConfigError> {
        let file = match &self.config {
            None => Self::default(),
            Some(path) => read(path).map_err(|fault| ConfigError(vec![fault]))?,
        };
        self.over(file).validate()
    }

    /// These settings, with those of the file where nothing is said here.
    fn over(self, file: Self) -> Self {
        let list = |ours: Vec<String>, theirs| if ours.is_empty() { theirs } else { ours };
        Self {
            listen: self.listen.or(file.listen),
            listen_file: self.listen_file.or(file.listen_file),
            data_dir: self.data_dir.or(file.data_dir),
            database: self.database.or(file.database),
            public_url: self.public_url.or(file.public_url),
            dev: self.dev.or(file.dev),
            issuer: self.issuer.or(file.issuer),
            audience: self.audience.or(file.audience),
            jwks: self.jwks.or(file.jwks),
            operators: list(self.operators, file.operators),
            auditors: list(self.auditors, file.auditors),
            fresh_critical: self.fresh_critical.or(file.fresh_critical),
            fresh_standard: self.fresh_standard.or(file.fresh_standard),
            fresh_low: self.fresh_low.or(file.fresh_low),
            log: self.log.or(file.log),
            log_format: self.log_format.or(file.log_format),
            webhooks: file.webhooks,
            config: self.config,
            check: self.check,
        }
    }

    fn validate(self) -> Result<ServeSettings, ConfigError> {
        let mut faults = Vec::new();
        let listen = self.listen.unwrap_or(DEFAULT_LISTEN);
        let data_dir = self.data_dir.clone().unwrap_or_else(|| {
            faults.push("no data folder is named\nadd `--data-dir DIR`".to_owned());
            PathBuf::new()
        });
        let issuer = self.issuer(listen, &mut faults);
        let database = self.database.unwrap_or_else(|| format!("sqlite:{}", data_dir.join("grantmesh.db").display()));
        if !["sqlite:", "postgres://", "postgresql://"].iter().any(|kind| database.starts_with(kind)) {
            faults.push("the database is neither `sqlite:PATH` nor `postgres://…`\nwrite one of them".to_owned());
        }
        if let Some(url) = &self.public_url {
            let usable = reqwest::Url::parse(url)
                .is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.query().is_none());
            if !usable {
                faults.push(format!("the public URL `{url}` is none\nwrite it like `https://grantmesh.example.com`"));
            }
        }
        let refs = |texts: &[String], faults: &mut Vec<String>| -> Vec<Subject> {
            let parsed = texts.iter().map(|text| match Subject::parse(text, issuer.issuer()) {
                Ok(Subject::Workload(_)) => Err(format!("`{text}` is a workload\nname users and groups")),
                Ok(subject) => Ok(subject),
                Err(error) => Err(error.to_string()),
            });
            parsed.filter_map(|parsed| parsed.map_err(|fault| faults.push(fault)).ok()).collect()
        };
        let (operators, auditors) = (refs(&self.operators, &mut faults), refs(&self.auditors, &mut faults));
        let default = Freshness::default();
        let millis = |stated: Option<Span>, default| stated.map_or(default, Span::millis);
        let freshness = Freshness {
            critical_ms: millis(self.fresh_critical, default.critical_ms),
            standard_ms: millis(self.fresh_standard, default.standard_ms),
            low_ms: millis(self.fresh_low, default.low_ms),
        };
        if freshness.tightest() < Span::from_millis(500) || freshness.lease() > Span::from_secs(3_600) {
            faults.push("a freshness bound is under `500ms` or over `1h`\nchoose one in between".to_owned());
        }
        let log = self.log.unwrap_or_else(|| "info".to_owned());
        if let Err(error) = tracing_subscriber::EnvFilter::try_new(&log) {
            faults.push(format!("the log filter `{log}` cannot be used: {error}"));
        }
        let webhooks = webhooks::endpoints(self.webhooks, &mut faults);
        if !faults.is_empty() {
            return Err(ConfigError(faults));
        }
        Ok(ServeSettings {
            listen,
            listen_file: self.listen_file,
            data_dir,
            database,
            public_url: self.public_url.map(|url| url.trim_end_matches('/').to_owned()),
            issuer,
            operators,
            auditors,
            freshness,
            log,
            log_format: self.log_format.unwrap_or_default(),
            webhooks,
        })
    }

    fn issuer(&self, listen: SocketAddr, faults: &mut Vec<String>) -> IssuerSettings {
        let stated = [&self.issuer, &self.audience, &self.jwks];
        if self.dev == Some(true) {
            if stated.iter().any(|value| value.is_some()) {
                faults.push(
                    "`--dev` has its own issuer\nleave out `--issuer`, `--audience` and `--jwks`, or `--dev`"
                        .to_owned(),
                );
            }
            if !listen.ip().is_loopback() {
                faults.push(format!(
                    "`--dev` listens on loopback only, not on `{listen}`\nanybody with its key can be anybody"
                ));
            }
            return IssuerSettings::Dev;
        }
        let (Some(issuer), Some(audience), Some(jwks)) = (&self.issuer, &self.audience, &self.jwks) else {
            faults.push("it is not said whose tokens to believe\nadd `--issuer`, `--audience` and `--jwks`, or `--dev` to try things out".to_owned());
            return IssuerSettings::Dev;
        };
        let jwks = JwksSource::parse(jwks);
        if let JwksSource::Url(url) = &jwks {
            let safe = reqwest::Url::parse(url).is_ok_and(|url| url.scheme() == "https" || is_loopback(&url));
            if !safe {
                faults.push(format!("the key set `{url}` would be fetched without TLS\nuse `https://`, or a file"));
            }
        }
        IssuerSettings::Oidc { issuer: issuer.clone(), audience: audience.clone(), jwks }
    }
}

fn is_loopback(url: &reqwest::Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn read(path: &Path) -> Result<ServeArgs, String> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("the file `{}` cannot be read: {error}", path.display()))?;
    serde_saphyr::from_str(&text).map_err(|error| format!("the file `{}` is not understood: {error}", path.display()))
}

impl fmt::Display for ServeSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let public_url = self.public_url.clone().unwrap_or_else(|| format!("http://{}", self.listen));
        writeln!(f, "listen: {}", self.listen)?;
        writeln!(f, "data-dir: {}", self.data_dir.display())?;
        writeln!(f, "database: {}", without_password(&self.database))?;
        writeln!(f, "public-url: {public_url}")?;
        writeln!(f, "dev: {}", self.issuer == IssuerSettings::Dev)?;
        writeln!(f, "issuer: {}", self.issuer.issuer())?;
        writeln!(f, "audience: {}", self.issuer.audience())?;
        if let IssuerSettings::Oidc { jwks, .. } = &self.issuer {
            writeln!(f, "jwks: {jwks}")?;
        }
        for (name, list) in [("operators", &self.operators), ("auditors", &self.auditors)] {
            let list: Vec<_> = list.iter().map(|subject| format!("\"{subject}\"")).collect();
            writeln!(f, "{name}: [{}]", list.join(", "))?;
        }
        writeln!(f, "fresh-critical: {}", Span::from_millis(self.freshness.critical_ms))?;
        writeln!(f, "fresh-standard: {}", Span::from_millis(self.freshness.standard_ms))?;
        writeln!(f, "fresh-low: {}", Span::from_millis(self.freshness.low_ms))?;
        for EndpointSettings { name, url, .. } in &self.webhooks {
            writeln!(f, "webhook: {name} at {}://{}", url.scheme(), url.host_str().unwrap_or_default())?;
        }
        write!(f, "log: {}", self.log)
    }
}

/// The password in a database URL, as it is written there.
#[must_use]
pub fn password(database: &str) -> Option<String> {
    reqwest::Url::parse(database).ok()?.password().map(str::to_owned)
}

/// A database URL without what must not be shown.
fn without_password(database: &str) -> String {
    match reqwest::Url::parse(database) {
        Ok(mut url) if database.starts_with("postgres") => {
            // Passwords also come as a parameter.
            url.set_query(None);
            let shown = url.password().is_none() || url.set_password(Some("***")).is_ok();
            if shown { url.to_string() } else { "postgres://***".to_owned() }
        }
        Ok(_) => database.to_owned(),
        Err(_) => "***".to_owned(),
    }
}

mod webhooks;

#[cfg(test)]
mod tests;
