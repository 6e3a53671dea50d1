//! What is gathered, what is left alone, and what refuses the call.

use grantmesh_shared::engine::Needs;

use super::*;
use crate::config::{Origin as Stands, Source};
use crate::headers::serialise;

/// The public key of RFC 8032's first test.
const KEY: &str = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";

fn config() -> Config {
    let text = format!(
        r#"{{"services":["s"],"keys":["{KEY}"],"credential":"c","public_url":"http://cp","country":{{"header":"x-country"}},
            "source":{{"header":"x-forwarded-for","trusted_hops":2}},"origin":{{"mesh":"m","gateway":"g"}}}}"#
    );
    Config::parse(text.as_bytes()).unwrap()
}

fn names(names: &[&str]) -> Vec<Box<str>> {
    names.iter().map(|name| (*name).into()).collect()
}

/// What conditions would see of a call with these headers, as text.
fn seen(headers: &[(&str, &str)], query: &str, needs: &Needs, config: &Config) -> Result<String, String> {
    let pairs: Vec<(&[u8], &[u8])> = headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
    let map = serialise(&pairs);
    let headers = Headers::parse(&map).unwrap();
    let identity = Identity::default();
    let host = Some(&b"Pay.Example"[..]);
    let sources = Sources {
        config,
        headers: &headers,
        identity: &identity,
        query: Some(query.as_bytes()),
        host,
        body: BodyFacts::NotRead,
    };
    let shown = |context: &Context<'_>| {
        let Context { host, headers, query, claims, body, actor, auth_time, address, country, origin } = context;
        assert_eq!((claims.len(), *body, *actor, *auth_time), (0, BodyFacts::NotRead, None, None));
        let pairs = headers.iter().chain(*query).map(|(name, value)| format!("{name}={value}"));
        let others = [
            host.map(str::to_owned),
            address.map(|address| address.to_string()),
            country.map(str::to_owned),
            origin.mesh.map(str::to_owned),
        ];
        pairs.chain(others.into_iter().flatten()).collect::<Vec<_>>().join(" ")
    };
    gather(sources, needs, shown).map_err(|error| format!("{}: {error}", error.code()))
}

#[test]
fn only_what_is_named_is_read() {
    let call = [("x-ticket", " PAY-7 "), ("x-other", "a"), ("x-other", "b"), ("x-country", "DE"), ("x-raw", "é")];
    let query = "dryRun=1&other=1&other=2";
    let config = config();
    assert_eq!(seen(&call, query, &Needs::default(), &config).as_deref(), Ok("m"));
    let needs = Needs { headers: names(&["x-missing", "x-ticket"]), query: names(&["dryRun"]), ..Needs::default() };
    assert_eq!(seen(&call, query, &needs, &config).as_deref(), Ok("x-ticket=PAY-7 dryRun=1 m"));
    let needs = Needs { host: true, country: true, ..Needs::default() };
    assert_eq!(seen(&call, query, &needs, &config).as_deref(), Ok("pay.example DE m"));
}

#[test]
fn two_readings_refuse_the_call() {
    let call = [("x-two", "a"), ("x-two", "a"), ("x-raw", "é"), ("x-country", "DE"), ("x-country", "FR")];
    let config = config();
    let header = |name| Needs { headers: names(&[name]), ..Needs::default() };
    let query = |name| Needs { query: names(&[name]), ..Needs::default() };
    for (needs, code) in [
        (header("x-two"), "two_values"),
        (header("x-raw"), "malformed_header"),
        (Needs { country: true, ..Needs::default() }, "two_values"),
        (query("a"), "two_parameters"),
        (query("b"), "ambiguous_parameter"),
    ] {
        let refused = seen(&call, "a=1&a=2&b=%zz", &needs, &config).unwrap_err();
        assert!(refused.starts_with(&format!("{code}: ")), "{refused}");
    }
}

#[test]
fn the_address_is_what_the_outermost_trusted_proxy_saw() {
    let needs = Needs { address: true, ..Needs::default() };
    let mut config = config();
    config.origin = Stands::default();
    let mut at = |hops: Option<usize>, value: &str| {
        config.source = hops.map(|trusted_hops| Source { header: "x-forwarded-for".to_owned(), trusted_hops });
        seen(&[("x-forwarded-for", value)], "", &needs, &config).unwrap()
    };
    for (hops, value, expected) in [
        (1, "192.0.2.7", "192.0.2.7"),
        (1, "10.0.0.1, 192.0.2.7", "192.0.2.7"),
        (2, "10.0.0.1,192.0.2.7 , 198.51.100.9", "192.0.2.7"),
        (2, "192.0.2.7", ""),
        (1, "10.0.0.1,", ""),
        (1, "10.0.0.1, unknown", ""),
        (1, "10.0.0.1, 192.0.2.7:443", ""),
        (1, "192.0.2.07", ""),
        (1, "2001:db8::1", "2001:db8::1"),
        (1, "::ffff:192.0.2.7", "192.0.2.7"),
        (1, "", ""),
    ] {
        assert_eq!(at(Some(hops), value), expected, "{hops} {value}");
    }
    // Without a proxy that vouches for it nobody's word counts.
    assert_eq!(at(None, "192.0.2.7"), "");
}
