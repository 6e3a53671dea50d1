//! What a response must be to be masked, and what is kept of calls until then.

use grantmesh_shared::id::DecisionId;
use grantmesh_shared::wire::records::DecisionWord;

use super::*;
use crate::headers::serialise;
use crate::waiting::Sent;

fn call() -> MaskedCall {
    let event = serde_json::json!({
        "id": DecisionId::new(1, [1; 10]), "decision": DecisionWord::Allow, "service": "s", "method": "GET", "path": "/",
    });
    MaskedCall {
        service: "s".to_owned(),
        criticality: None,
        fields: vec![("iban".to_owned(), "/iban".to_owned())],
        event: serde_json::from_value(event).unwrap(),
    }
}

fn judged(status: &str, headers: &[(&str, &str)], ends: bool) -> Result<Head, &'static str> {
    let headers = std::iter::once((":status", status)).chain(headers.iter().copied());
    let pairs: Vec<(&[u8], &[u8])> = headers.map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
    let map = serialise(&pairs);
    head(&Headers::parse(&map).unwrap(), ends, &BodiesConfig::default()).map_err(|withheld| withheld.code())
}

#[test]
fn only_a_whole_plain_json_document_is_masked() {
    let json = ("content-type", "application/json");
    for (status, headers, ends, expected) in [
        ("200", &[json][..], false, Ok(Head::Body)),
        ("200", &[("content-type", "application/json; charset=utf-8")], false, Ok(Head::Body)),
        ("422", &[("content-type", "application/problem+json")], false, Ok(Head::Body)),
        ("200", &[json, ("content-encoding", "identity")], false, Ok(Head::Body)),
        ("200", &[json, ("content-length", "262144")], false, Ok(Head::Body)),
        ("204", &[], true, Ok(Head::NoBody)),
        ("304", &[("etag", "x")], true, Ok(Head::NoBody)),
        ("200", &[("content-type", "text/html")], true, Ok(Head::NoBody)),
        ("200", &[], false, Err("response_type")),
        ("200", &[("content-type", "text/html")], false, Err("response_type")),
        ("200", &[("content-type", "text/event-stream")], false, Err("response_type")),
        ("200", &[("content-type", "application/x-ndjson")], false, Err("response_type")),
        ("200", &[("content-type", "application/grpc")], false, Err("response_type")),
        ("200", &[("content-type", "+json")], false, Err("response_type")),
        ("200", &[("content-type", "application/json; charset=utf-16")], false, Err("response_type")),
        ("200", &[json, json], false, Err("response_type")),
        ("200", &[json, ("content-encoding", "gzip")], false, Err("response_encoding")),
        ("206", &[json], false, Err("response_partial")),
        ("200", &[json, ("content-range", "bytes 0-1/2")], false, Err("response_partial")),
        ("101", &[("upgrade", "websocket")], false, Err("response_partial")),
        ("200", &[json, ("content-length", "262145")], false, Err("response_too_large")),
    ] {
        assert_eq!(judged(status, headers, ends), expected, "{status} {headers:?} {ends}");
    }
}

#[test]
fn a_body_is_masked_or_withheld_as_a_whole() {
    let config = BodiesConfig { response_bytes: 32, depth: 3, ..BodiesConfig::default() };
    let masked = |body: &str| {
        let masked = call().masked(body.as_bytes(), &config).map_err(|withheld| withheld.code());
        masked.map(|body| String::from_utf8(body).unwrap())
    };
    assert_eq!(masked(r#"{"iban":"DE1","n":1}"#).as_deref(), Ok(r#"{"iban":null,"n":1}"#));
    assert_eq!(masked(r#"{"n":1}"#).as_deref(), Ok(r#"{"n":1}"#));
    assert_eq!(masked("").as_deref(), Ok(""));
    assert_eq!(masked(&format!("{{\"iban\":\"{}\"}}", "1".repeat(22))), Err("response_too_large"));
    assert_eq!(masked(r#"{"iban":"DE1"#), Err("response_malformed"));
    assert_eq!(masked(r#"{"iban":1,"iban":2}"#), Err("response_two_keys"));
    assert_eq!(masked("[[[[1]]]]"), Err("response_too_deep"));
}

#[test]
fn calls_are_kept_until_their_responses_have_gone_by() {
    let mut masking = Masking::default();
    let caller = |context| Caller { context, root: 1, sent: Sent::Head };
    for context in 0..u32::try_from(MOST).unwrap() {
        assert!(masking.has_room(|| 1));
        masking.begin(caller(context), u64::from(context % 3), call());
    }
    assert!(!masking.has_room(|| 1));
    let mut looked: Vec<u32> = (0..MOST / LOOKS).flat_map(|_| masking.some()).map(|caller| caller.context).collect();
    looked.sort_unstable();
    looked.dedup();
    assert_eq!(looked.len(), MOST, "each is looked for in its turn");
    assert_eq!(masking.end(7).map(|(caller, _)| caller.context), Some(7));
    assert!(masking.end(7).is_none() && masking.has_room(|| 1));
    masking.withhold(caller(7), b"document".to_vec());
    assert_eq!((masking.get(7), masking.document(7)), (None, Some(&b"document"[..])));
    assert!(masking.end(7).is_none());
    assert_eq!(Masking::default().some(), []);
}
