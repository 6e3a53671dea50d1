//! The plugin's configuration: one strict JSON text, read by `root` when the proxy delivers it.
//! An unreadable text is refused to the proxy; a readable one with wrong values makes a filter that denies and says why.

use grantmesh_shared::body::DEFAULT_DEPTH;
use grantmesh_shared::wire::read;
use grantmesh_shared::wire::signature::from_hex;
use serde::Deserialize;

use crate::question::PinnedKey;

/// The longest configuration that is looked at.
const MAX_BYTES: usize = 256 * 1024;

/// The most trusted proxies in front of one another.
const MAX_HOPS: usize = 16;

/// The most bytes of a body: the proxy's own bound, unless somebody raised it.
const MAX_BODY_BYTES: usize = 1024 * 1024;

/// The deepest nesting of a body.
const MAX_DEPTH: usize = 100;

/// The most services of one filter.
const MAX_SERVICES: usize = 256;

/// A checked configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The proxy's cluster that leads to the control plane.
    pub cluster: String,
    /// The `:authority` of callouts.
    pub authority: String,
    /// The services whose calls are decided here. Never empty.
    pub services: Vec<String>,
    /// The control plane's public keys. Never empty.
    pub keys: Vec<PinnedKey>,
    /// The filter's credential, sent as a bearer token.
    pub credential: String,
    /// Where people and tools reach the control plane; without a trailing slash.
    pub public_url: String,
    /// Raised when a text that the proxy once refused is delivered again.
    pub generation: u64,
    /// The key under which `jwt_authn` puts the verified claims into its metadata.
    pub identity_key: String,
    /// Where it is read which workload calls.
    pub peer: Peer,
    /// Whether CORS preflights pass without a decision.
    pub cors_preflight: bool,
    /// What the services behind this proxy do with a call that asks to be taken for one of another method.
    pub method_override: MethodOverride,
    /// Whether each decision is left for access logs, as the filter state `wasm.grantmesh_decision`.
    pub access_log: bool,
    /// Which proxy in front says where a call comes from; without one, no condition knows.
    pub source: Option<Source>,
    /// The header, in lower case, in which a trusted proxy in front says the caller's country.
    pub country_header: Option<String>,
    /// Where this proxy stands.
    pub origin: Origin,
    /// How bodies are read, by the module that reads them.
    pub bodies: BodiesConfig,
}

/// How bodies are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BodiesConfig {
    /// Whether the proxy lets this plugin hold a call's head and see its body: `allow_on_headers_stop_iteration`.
    pub hold_heads: bool,
    /// The most bytes of a request's body that are read.
    pub request_bytes: usize,
    /// The most bytes of a response that are masked.
    pub response_bytes: usize,
    /// The deepest nesting that is read.
    pub depth: usize,
}

impl Default for BodiesConfig {
    fn default() -> Self {
        Self { hold_heads: false, request_bytes: 64 * 1024, response_bytes: 256 * 1024, depth: DEFAULT_DEPTH }
    }
}

/// What becomes of calls that carry, or could carry, another method than their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MethodOverride {
    /// Override headers and parameters are refused, and posted forms as well, because their fields are not read here.
    #[default]
    Refuse,
    /// Posted forms pass: no service behind this proxy takes a method from a form's fields.
    AllowForms,
    /// Everything passes: no service behind this proxy takes a method from anywhere but the request line.
    Ignored,
}

/// Where it is read which workload calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Peer {
    /// In the certificate of the connection: a sidecar, or a gateway that asks for one.
    #[default]
    Tls,
    /// In the filter state that a waypoint's listener sets.
    Waypoint,
    /// Nowhere, because no caller of this listener has a certificate: an ingress gateway. Spares every call a question to
    /// the proxy. Nothing of the policy that names workloads applies there, locks neither.
    None,
}

/// A header in which trusted proxies in front note addresses, one after another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Its name in lower case.
    pub header: String,
    /// How many entries at its end are by trusted proxies; the first of them is the caller's address. At least 1.
    pub trusted_hops: usize,
}

/// Where a proxy stands; what is not said, no condition knows.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// The mesh.
    #[serde(default)]
    pub mesh: Option<String>,
    /// The namespace.
    #[serde(default)]
    pub namespace: Option<String>,
    /// The gateway.
    #[serde(default)]
    pub gateway: Option<String>,
}

/// Why a configuration is not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Not JSON of the known form.
    #[error("the plugin configuration cannot be read: {0}")]
    Unreadable(String),
    /// A value that cannot be worked with.
    #[error("`{field}` of the plugin configuration {problem}")]
    Value {
        /// The field.
        field: &'static str,
        /// What is wrong with it and what to write.
        problem: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    #[serde(default = "grantmesh")]
    cluster: String,
    #[serde(default = "grantmesh")]
    authority: String,
    services: Vec<String>,
    keys: Vec<String>,
    credential: String,
    public_url: String,
    #[serde(default)]
    generation: u64,
    #[serde(default)]
    identity: IdentityText,
    #[serde(default)]
    peer: Peer,
    #[serde(default)]
    cors_preflight: bool,
    #[serde(default)]
    method_override: MethodOverride,
    #[serde(default)]
    access_log: bool,
    #[serde(default)]
    source: Option<SourceText>,
    #[serde(default)]
    country: Option<CountryText>,
    #[serde(default)]
    origin: Origin,
    #[serde(default)]
    bodies: BodiesConfig,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SourceText {
    header: String,
    #[serde(default = "one")]
    trusted_hops: usize,
}

const fn one() -> usize {
    1
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CountryText {
    header: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct IdentityText {
    #[serde(default = "jwt_payload")]
    provider_metadata: String,
}

impl Default for IdentityText {
    fn default() -> Self {
        Self { provider_metadata: jwt_payload() }
    }
}

fn grantmesh() -> String {
    "grantmesh".to_owned()
}

fn jwt_payload() -> String {
    "jwt_payload".to_owned()
}

impl Config {
    /// Reads a configuration.
    ///
    /// # Errors
    /// [`ConfigError::Unreadable`] if it is not JSON of the known form, else the first value that is wrong.
    pub fn parse(text: &[u8]) -> Result<Self, ConfigError> {
        if text.len() > MAX_BYTES {
            return Err(ConfigError::Unreadable("it is over 256 KiB".to_owned()));
        }
        let text: Text = read::from_bytes(text).map_err(|error| ConfigError::Unreadable(error.to_string()))?;
        let is_word = |word: &str| !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_graphic());
        for (field, value) in
            [("cluster", &text.cluster), ("authority", &text.authority), ("credential", &text.credential)]
        {
            if !is_word(value) {
                return Err(wrong(field, "is empty or has spaces or other characters that a header cannot carry"));
            }
        }
        if text.identity.provider_metadata.is_empty() {
            return Err(wrong(
                "identity.provider_metadata",
                "is empty\nwrite what `payload_in_metadata` says in the `jwt_authn` filter",
            ));
        }
        let services = checked_services(text.services)?;
        if text.keys.is_empty() {
            return Err(wrong("keys", "is empty\nadd the public key that `grantmesh keygen` prints"));
        }
        let keys = text.keys.iter().map(|key| checked_key(key)).collect::<Result<_, _>>()?;
        let public_url = text.public_url.trim_end_matches('/');
        let is_url = is_word(public_url)
            && ["http://", "https://"]
                .iter()
                .any(|scheme| public_url.strip_prefix(scheme).is_some_and(|rest| !rest.is_empty()))
            && !public_url.contains(['?', '#', '"']);
        if !is_url {
            return Err(wrong("public_url", "is not a URL\nwrite it like `https://grantmesh.example`"));
        }
        Ok(Self {
            cluster: text.cluster,
            authority: text.authority,
            services,
            keys,
            credential: text.credential,
            public_url: public_url.to_owned(),
            generation: text.generation,
            identity_key: text.identity.provider_metadata,
            peer: text.peer,
            cors_preflight: text.cors_preflight,
            method_override: text.method_override,
            access_log: text.access_log,
            source: text.source.map(checked_source).transpose()?,
            country_header: text.country.map(|country| checked_header("country.header", country.header)).transpose()?,
            origin: checked_origin(text.origin)?,
            bodies: checked_bodies(text.bodies)?,
        })
    }

    /// The service of every call, if only one is configured.
    #[must_use]
    pub fn only_service(&self) -> Option<&str> {
        match self.services.as_slice() {
            [service] => Some(service),
            _ => None,
        }
    }
}

fn wrong(field: &'static str, problem: &str) -> ConfigError {
    ConfigError::Value { field, problem: problem.to_owned() }
}

/// A header's name as the proxy has it: in lower case.
fn checked_header(field: &'static str, name: String) -> Result<String, ConfigError> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
    if (1..=128).contains(&name.len()) && name.bytes().all(plain) {
        return Ok(name);
    }
    Err(wrong(field, "is not the name of a header\nwrite it in lower case, like `x-forwarded-for`"))
}

fn checked_source(SourceText { header, trusted_hops }: SourceText) -> Result<Source, ConfigError> {
    let header = checked_header("source.header", header)?;
    if !(1..=MAX_HOPS).contains(&trusted_hops) {
        return Err(wrong("source.trusted_hops", "must be 1 to 16: how many proxies that you trust add to the header"));
    }
    Ok(Source { header, trusted_hops })
}

fn checked_origin(origin: Origin) -> Result<Origin, ConfigError> {
    let named = [&origin.mesh, &origin.namespace, &origin.gateway];
    let plain = |name: &String| {
        (1..=256).contains(&name.len()) && !name.chars().any(|letter| letter.is_control() || letter.is_whitespace())
    };
    if named.into_iter().flatten().all(plain) {
        return Ok(origin);
    }
    Err(wrong("origin", "has a name that is empty, over 256 bytes, or has spaces"))
}

fn checked_bodies(bodies: BodiesConfig) -> Result<BodiesConfig, ConfigError> {
    let sizes = [("bodies.request_bytes", bodies.request_bytes), ("bodies.response_bytes", bodies.response_bytes)];
    for (field, size) in sizes {
        if !(1..=MAX_BODY_BYTES).contains(&size) {
            return Err(wrong(field, "must be 1 to 1048576: the proxy itself buffers no more"));
        }
    }
    if !(1..=MAX_DEPTH).contains(&bodies.depth) {
        return Err(wrong("bodies.depth", "must be 1 to 100"));
    }
    Ok(bodies)
}

fn checked_services(services: Vec<String>) -> Result<Vec<String>, ConfigError> {
    if services.is_empty() || services.len() > MAX_SERVICES {
        return Err(wrong("services", "must name 1 to 256 services"));
    }
    let mut seen: Vec<&str> = Vec::new();
    for service in &services {
        let plain = (1..=128).contains(&service.len())
            && !service.chars().any(|letter| letter.is_control() || letter.is_whitespace());
        if !plain {
            return Err(wrong("services", "has a name that is empty, over 128 bytes, or has spaces"));
        }
        if seen.contains(&service.as_str()) {
            return Err(wrong("services", &format!("names `{service}` twice")));
        }
        seen.push(service);
    }
    Ok(services)
}

fn checked_key(text: &str) -> Result<PinnedKey, ConfigError> {
    from_hex::<32>(text)
        .and_then(|bytes| PinnedKey::new(&bytes))
        .ok_or_else(|| {
            let shown: String = text.chars().take(80).collect();
            wrong(
                "keys",
                &format!("has `{shown}`, which is not a public key\nwrite the 64 hexadecimal digits that `grantmesh keygen` prints"),
            )
        })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    // The public key of RFC 8032's first test.
    const KEY: &str = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";

    fn fine() -> Value {
        json!({
            "services": ["payments"],
            "keys": [KEY],
            "credential": "a.b.c",
            "public_url": "http://127.0.0.1:8080/",
        })
    }

    fn parse(value: &Value) -> Result<Config, ConfigError> {
        Config::parse(value.to_string().as_bytes())
    }

    #[test]
    fn what_is_left_out_has_its_default() {
        let config = parse(&fine()).unwrap();
        assert_eq!((config.cluster.as_str(), config.authority.as_str()), ("grantmesh", "grantmesh"));
        assert_eq!(config.identity_key, "jwt_payload");
        assert_eq!(config.public_url, "http://127.0.0.1:8080");
        assert_eq!(config.only_service(), Some("payments"));
        assert!(config.peer == Peer::Tls && !config.cors_preflight && !config.access_log);
        assert_eq!(config.method_override, MethodOverride::Refuse);
        assert_eq!((config.source, config.country_header, config.origin), (None, None, Origin::default()));
        let BodiesConfig { hold_heads, request_bytes, response_bytes, depth } = config.bodies;
        assert_eq!((hold_heads, request_bytes, response_bytes, depth), (false, 65_536, 262_144, 32));
    }

    #[test]
    fn proxies_in_front_are_trusted_by_name() {
        let mut value = fine();
        value["source"] = json!({ "header": "x-forwarded-for" });
        value["country"] = json!({ "header": "x-country" });
        value["origin"] = json!({ "mesh": "m", "namespace": "payments" });
        let config = parse(&value).unwrap();
        assert_eq!(config.source, Some(Source { header: "x-forwarded-for".to_owned(), trusted_hops: 1 }));
        assert_eq!(config.country_header.as_deref(), Some("x-country"));
        assert_eq!((config.origin.namespace.as_deref(), config.origin.gateway), (Some("payments"), None));
    }

    #[test]
    fn unreadable_and_wrong_are_different_things() {
        let with = |field: &str, value: Value| {
            let mut config = fine();
            config[field] = value;
            parse(&config)
        };
        for text in ["", "{", "[]", "null", "\"x\"", "{\"services\":[\"a\"]}"] {
            assert!(matches!(Config::parse(text.as_bytes()), Err(ConfigError::Unreadable(_))), "{text}");
        }
        assert!(matches!(Config::parse(b"\xff"), Err(ConfigError::Unreadable(_))));
        let unknown = with("servces", json!([])).unwrap_err().to_string();
        assert!(unknown.contains("servces"), "{unknown}");
        for (word, peer) in [("tls", Peer::Tls), ("waypoint", Peer::Waypoint), ("none", Peer::None)] {
            assert_eq!(with("peer", json!(word)).unwrap().peer, peer);
        }
        assert!(matches!(with("peer", json!("mtls")), Err(ConfigError::Unreadable(_))));
        assert!(matches!(with("method_override", json!("allow")), Err(ConfigError::Unreadable(_))));
        assert_eq!(with("method_override", json!("ignored")).unwrap().method_override, MethodOverride::Ignored);
        for (field, value) in [
            ("services", json!([])),
            ("services", json!(["a", "a"])),
            ("services", json!([""])),
            ("services", json!(["a b"])),
            ("keys", json!([])),
            ("keys", json!(["00"])),
            ("keys", json!(["00".repeat(32)])),
            ("credential", json!("")),
            ("credential", json!("a\r\nx: y")),
            ("cluster", json!("")),
            ("public_url", json!("grantmesh.example")),
            ("public_url", json!("https://")),
            ("public_url", json!("https://a/?b")),
            ("identity", json!({"provider_metadata": ""})),
            ("source", json!({"header": "X-Forwarded-For"})),
            ("source", json!({"header": "x-forwarded-for", "trusted_hops": 0})),
            ("source", json!({"header": "x-forwarded-for", "trusted_hops": 17})),
            ("country", json!({"header": ""})),
            ("origin", json!({"mesh": ""})),
            ("origin", json!({"gateway": "a b"})),
            ("bodies", json!({"request_bytes": 0})),
            ("bodies", json!({"response_bytes": 1_048_577})),
            ("bodies", json!({"depth": 101})),
        ] {
            let error = with(field, value.clone()).unwrap_err();
            assert!(
                matches!(&error, ConfigError::Value { field: named, .. } if named.starts_with(field)),
                "{field} {value}: {error}"
            );
        }
    }
}
