//! Tokens as an attacker or a badly configured issuer would make them.

use std::os::unix::fs::PermissionsExt;

use axum::response::Redirect;
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use grantmesh_shared::time::{Span, Timestamp};
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

use super::*;
use crate::keys::{DEV_ISSUER_KEY, DevIssuerKey, Ed25519Key};

const NOW: Timestamp = Timestamp::from_millis(1_800_000_000_000);
const NOW_SECS: i64 = 1_800_000_000;

struct Issuer {
    _folder: tempfile::TempDir,
    key: DevIssuerKey,
}

impl Issuer {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let key = DevIssuerKey::create(&folder.path().join(DEV_ISSUER_KEY)).unwrap();
        Self { _folder: folder, key }
    }

    fn tokens(&self) -> UserTokens {
        let keys = KeySource::fixed(KeySet::of(&self.key.jwks().unwrap()));
        UserTokens::new(DEV_ISSUER.to_owned(), DEV_AUDIENCE.to_owned(), keys)
    }

    fn sign(&self, claims: &Value) -> String {
        self.sign_as(&Header { kid: Some("dev".to_owned()), ..Header::new(Algorithm::ES256) }, claims)
    }

    fn sign_as(&self, header: &Header, claims: &Value) -> String {
        jsonwebtoken::encode(header, claims, self.key.encoding_key()).unwrap()
    }
}

fn claims() -> Value {
    json!({ "iss": DEV_ISSUER, "aud": "grantmesh", "sub": "ann", "iat": NOW_SECS, "exp": NOW_SECS + 600, "groups": ["leads"] })
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[name] = value;
    claims
}

fn raw(header: &Value, claims: &Value, signature: &str) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.{signature}", part(header), part(claims))
}

#[tokio::test]
async fn a_good_token_names_its_user() {
    let issuer = Issuer::new();
    let minted =
        mint_dev_token(&issuer.key, "ann", &["leads".to_owned()], DEV_AUDIENCE, Span::from_secs(600), NOW).unwrap();
    for token in [minted, issuer.sign(&claims()), issuer.sign(&with("aud", json!(["other", "grantmesh"])))] {
        let user = issuer.tokens().verify(&token, NOW).await.unwrap();
        assert_eq!((user.subject.as_str(), user.groups), ("ann", vec!["leads".to_owned()]));
        assert_eq!(user.expires_at, NOW.plus(Span::from_secs(600)));
    }
}

#[tokio::test]
async fn claims_are_required_and_checked_by_type() {
    let issuer = Issuer::new();
    let tokens = issuer.tokens();
    for name in ["iss", "aud", "sub", "exp", "iat"] {
        let mut missing = claims();
        missing.as_object_mut().unwrap().remove(name);
        for claims in [missing, with(name, Value::Null)] {
            let told = tokens.verify(&issuer.sign(&claims), NOW).await.unwrap_err().to_string();
            assert!(told.starts_with(&format!("the token has no claim `{name}`")), "{told}");
        }
    }
    let strange = [
        ("sub", json!(7)),
        ("sub", json!("")),
        ("sub", json!("a".repeat(257))),
        ("sub", json!("ann\n")),
        ("sub", json!("ann\u{202e}")),
        ("sub", json!("ann\u{200d}")),
        ("iss", json!([DEV_ISSUER])),
        ("aud", json!({ "grantmesh": true })),
        ("aud", json!(["grantmesh", 7])),
        ("exp", json!("1900000000")),
        ("exp", json!(-1)),
        ("iat", json!(true)),
        ("nbf", json!("now")),
        ("groups", json!("leads")),
        ("groups", json!(["leads", 7])),
        ("groups", json!(["leads", "a\nb"])),
        ("groups", json!(["leads", "a\u{2067}b"])),
        ("groups", json!(["leads", "a\u{e0041}b"])),
        ("groups", json!(vec!["g"; 257])),
    ];
    for (name, value) in strange {
        let error = tokens.verify(&issuer.sign(&with(name, value.clone())), NOW).await.unwrap_err();
        assert!(matches!(error, TokenError::ClaimForm(claim, _) if claim == name), "{name} {value}: {error}");
    }
}

#[tokio::test]
async fn other_issuers_audiences_and_times_are_refused() {
    let issuer = Issuer::new();
    let tokens = issuer.tokens();
    let expected = [
        (with("iss", json!("https://evil.example")), TokenError::Issuer(DEV_ISSUER.to_owned())),
        (with("aud", json!("grantmesh-filter")), TokenError::Audience("grantmesh".to_owned())),
        (with("aud", json!([])), TokenError::Audience("grantmesh".to_owned())),
        (with("exp", json!(NOW_SECS - 10)), TokenError::Expired(NOW.minus(Span::from_secs(10)))),
        (with("iat", json!(NOW_SECS + 11)), TokenError::NotYet(NOW.plus(Span::from_secs(11)))),
        (with("nbf", json!(NOW_SECS + 11)), TokenError::NotYet(NOW.plus(Span::from_secs(11)))),
    ];
    for (claims, error) in expected {
        assert_eq!(tokens.verify(&issuer.sign(&claims), NOW).await, Err(error));
    }
    for claims in
        [with("exp", json!(NOW_SECS - 9)), with("iat", json!(NOW_SECS + 10)), with("exp", json!(NOW_SECS as f64 + 0.5))]
    {
        assert!(tokens.verify(&issuer.sign(&claims), NOW).await.is_ok(), "inside the leeway: {claims}");
    }
}

#[tokio::test]
async fn algorithms_cannot_be_confused() {
    let issuer = Issuer::new();
    let tokens = issuer.tokens();
    let jwks = serde_json::to_value(issuer.key.jwks().unwrap()).unwrap();
    let x = jwks["keys"][0]["x"].as_str().unwrap();
    for alg in ["none", "None", "nOnE", "ES999"] {
        let token = raw(&json!({ "alg": alg }), &claims(), "");
        assert_eq!(tokens.verify(&token, NOW).await, Err(TokenError::Algorithm), "{alg}");
    }
    let secrets = [x.as_bytes().to_vec(), jwks.to_string().into_bytes(), URL_SAFE_NO_PAD.decode(x).unwrap()];
    for (secret, algorithm) in secrets.iter().zip([Algorithm::HS256, Algorithm::HS384, Algorithm::HS512]) {
        let header = Header { kid: Some("dev".to_owned()), ..Header::new(algorithm) };
        let token = jsonwebtoken::encode(&header, &claims(), &EncodingKey::from_secret(secret)).unwrap();
        assert_eq!(tokens.verify(&token, NOW).await, Err(TokenError::Algorithm));
    }
    // Right key type and key id, but another algorithm in the header than the key is for.
    let good = issuer.sign(&claims());
    let signature = good.rsplit('.').next().unwrap();
    for alg in ["RS256", "EdDSA", "ES384"] {
        let token = raw(&json!({ "alg": alg, "kid": "dev" }), &claims(), signature);
        assert_eq!(tokens.verify(&token, NOW).await, Err(TokenError::UnknownKey), "{alg}");
    }
}

#[tokio::test]
async fn foreign_keys_and_damaged_tokens_are_refused() {
    let (issuer, other) = (Issuer::new(), Issuer::new());
    let tokens = issuer.tokens();
    assert_eq!(tokens.verify(&other.sign(&claims()), NOW).await, Err(TokenError::Signature));
    let foreign = Header { kid: Some("evil".to_owned()), ..Header::new(Algorithm::ES256) };
    assert_eq!(tokens.verify(&other.sign_as(&foreign, &claims()), NOW).await, Err(TokenError::UnknownKey));
    let embedded = Header { jwk: other.key.jwks().unwrap().keys.pop(), ..Header::new(Algorithm::ES256) };
    assert_eq!(tokens.verify(&other.sign_as(&embedded, &claims()), NOW).await, Err(TokenError::Signature));
    let critical = Header { crit: Some(vec!["exp".to_owned()]), ..Header::new(Algorithm::ES256) };
    assert_eq!(tokens.verify(&issuer.sign_as(&critical, &claims()), NOW).await, Err(TokenError::Malformed));

    let good = issuer.sign(&claims());
    let (message, signature) = good.rsplit_once('.').unwrap();
    let (header, _) = message.split_once('.').unwrap();
    let swapped = format!("{header}.{}.{signature}", URL_SAFE_NO_PAD.encode(with("sub", json!("root")).to_string()));
    assert_eq!(tokens.verify(&swapped, NOW).await, Err(TokenError::Signature));
    for token in ["", ".", "..", "a.b", "a.b.c", "\u{fc}.x.y", &format!("{good}.x"), message] {
        assert_eq!(tokens.verify(token, NOW).await, Err(TokenError::Malformed), "{token}");
    }
    let long = issuer.sign(&with("padding", json!("x".repeat(17_000))));
    assert_eq!(tokens.verify(&long, NOW).await, Err(TokenError::TooLong));
    // A repeated claim could be read differently by two parsers.
    let twice = claims().to_string().replacen('{', "{\"sub\":\"root\",", 1);
    let message = format!("{header}.{}", URL_SAFE_NO_PAD.encode(twice));
    let signature =
        jsonwebtoken::crypto::sign(message.as_bytes(), issuer.key.encoding_key(), Algorithm::ES256).unwrap();
    assert_eq!(tokens.verify(&format!("{message}.{signature}"), NOW).await, Err(TokenError::Malformed));
}

#[tokio::test]
async fn no_error_repeats_the_token() {
    let issuer = Issuer::new();
    let token = issuer.sign(&with("sub", json!({ "secret-name": 1 })));
    let told = issuer.tokens().verify(&token, NOW).await.unwrap_err().to_string();
    assert!(!told.contains("secret-name") && !told.contains(&token), "{told}");
}

#[tokio::test]
async fn shared_secrets_in_a_key_set_are_left_out() {
    let secret = json!({ "keys": [{ "kty": "oct", "kid": "s", "alg": "HS256", "k": "c2VjcmV0" }, { "kty": "future", "kid": "f" }] });
    let jwks: JwkSet = serde_json::from_value(secret.clone()).unwrap();
    let header = Header { kid: Some("s".to_owned()), ..Header::new(Algorithm::HS256) };
    assert!(KeySet::of(&jwks).find(&header).is_none());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jwks.json");
    std::fs::write(&path, secret.to_string()).unwrap();
    assert!(matches!(KeySource::follow(JwksSource::File(path), NOW).await, Err(JwksError::Empty(_))));
}

#[tokio::test]
async fn a_rotated_key_is_found_without_a_restart() {
    let (old, new) = (Issuer::new(), Issuer::new());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jwks.json");
    let write = |issuer: &Issuer, id: &str| {
        let mut jwks = issuer.key.jwks().unwrap();
        jwks.keys[0].common.key_id = Some(id.to_owned());
        std::fs::write(&path, serde_json::to_string(&jwks).unwrap()).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    };
    write(&old, "old");
    let keys = KeySource::follow(JwksSource::File(path.clone()), NOW).await.unwrap();
    let tokens = UserTokens::new(DEV_ISSUER.to_owned(), DEV_AUDIENCE.to_owned(), keys);
    let token = |issuer: &Issuer, id: &str| {
        issuer.sign_as(&Header { kid: Some(id.to_owned()), ..Header::new(Algorithm::ES256) }, &claims())
    };
    assert!(tokens.verify(&token(&old, "old"), NOW).await.is_ok());
    // The first unknown key is looked for at once, the next one only after a pause.
    assert_eq!(tokens.verify(&token(&new, "new"), NOW).await, Err(TokenError::UnknownKey));
    write(&new, "new");
    assert_eq!(tokens.verify(&token(&new, "new"), NOW.plus(Span::from_millis(900))).await, Err(TokenError::UnknownKey));
    assert!(tokens.verify(&token(&new, "new"), NOW.plus(Span::from_secs(10))).await.is_ok());
    assert_eq!(tokens.verify(&token(&old, "old"), NOW.plus(Span::from_secs(12))).await, Err(TokenError::UnknownKey));
}

#[tokio::test]
async fn keys_are_fetched_from_a_url_and_nothing_else_passes_for_them() {
    let issuer = Issuer::new();
    let jwks = serde_json::to_string(&issuer.key.jwks().unwrap()).unwrap();
    let large = format!("{jwks}{}", " ".repeat(1024 * 1024));
    let routes = axum::Router::new()
        .route("/keys", get(async move || jwks))
        .route("/moved", get(async || Redirect::temporary("/keys")))
        .route("/large", get(async move || large))
        .route("/page", get(async || "<html>"));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move { axum::serve(listener, routes).await });
    let source = |path: &str| JwksSource::parse(&format!("http://{address}{path}"));
    let follow = async |path: &str| KeySource::follow(source(path), NOW).await;
    let tokens = UserTokens::new(DEV_ISSUER.to_owned(), DEV_AUDIENCE.to_owned(), follow("/keys").await.unwrap());
    assert!(tokens.verify(&issuer.sign(&claims()), NOW).await.is_ok());
    assert!(matches!(follow("/moved").await, Err(JwksError::Form(..))), "a redirect is not followed");
    assert!(matches!(follow("/large").await, Err(JwksError::TooLarge(_))));
    assert!(matches!(follow("/page").await, Err(JwksError::Form(..))));
    assert!(matches!(follow("/none").await, Err(JwksError::Fetch(..))));
    // Known keys stay when the issuer is not reached.
    server.abort();
    assert!(tokens.verify(&issuer.sign(&claims()), NOW.plus(Span::from_secs(301))).await.is_ok());
    assert!(matches!(follow("/keys").await, Err(JwksError::Fetch(..))));
}

#[test]
fn credentials_are_bound_to_services_and_to_our_key() {
    let (key, other, issuer) = (Ed25519Key::generate().unwrap(), Ed25519Key::generate().unwrap(), Issuer::new());
    let credentials = FilterCredentials::new(&key);
    let services = ["payments".to_owned()];
    let mint = |key: &Ed25519Key| FilterCredentials::mint(key, "node-1", &services, Span::from_secs(60), NOW).unwrap();
    let claims_read = credentials.verify(&mint(&key), NOW).unwrap();
    assert_eq!(claims_read.node, "node-1");
    assert_eq!(claims_read.services, services);
    assert_eq!(credentials.verify(&mint(&other), NOW), Err(TokenError::Signature));
    assert_eq!(credentials.verify(&issuer.sign(&claims()), NOW), Err(TokenError::UnknownKey));
    let late = NOW.plus(Span::from_secs(71));
    assert!(matches!(credentials.verify(&mint(&key), late), Err(TokenError::Expired(_))));
    let public_as_secret =
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims(), &EncodingKey::from_secret(&key.public()));
    assert_eq!(credentials.verify(&public_as_secret.unwrap(), NOW), Err(TokenError::Algorithm));
    let unbound = json!({ "iss": FILTER_ISSUER, "aud": FILTER_AUDIENCE, "sub": "n", "iat": NOW_SECS, "exp": NOW_SECS + 60, "services": [] });
    let unbound = jsonwebtoken::encode(&Header::new(Algorithm::EdDSA), &unbound, &key.encoding_key().unwrap()).unwrap();
    assert!(matches!(credentials.verify(&unbound, NOW), Err(TokenError::ClaimForm("services", _))));
}
