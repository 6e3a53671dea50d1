//! Calls whose decision depends on their body: when they are held for it, and what it must be.

use super::*;

const TRANSFER: &str = "/v1/transfers";

fn transfer() -> Case {
    Case { bodies: true, ..case("POST", TRANSFER).with("content-type", "application/json") }
}

fn with_body(body: &str) -> Case {
    Case { body: Some(body.as_bytes().to_vec()), ..transfer() }
}

#[test]
fn a_call_is_held_only_where_its_body_decides() {
    transfer().is("hold", "");
    let refused = Case { hold_heads: false, ..transfer() }.is("deny", "body_not_read");
    assert!(String::from_utf8(refused.reply.unwrap().body).unwrap().contains("allow_on_headers_stop_iteration"));
    // Nobody has to wait for what does not matter.
    Case { identity: person("eve", &[]), ..transfer() }.is("deny", "no_role");
    Case { identity: Ok(Identity::default()), ..transfer() }.is("deny", "no_principal");
    Case { identity: person("ann", &["contractors", "support"]), ..transfer() }.is("deny", "deny_rule");
    Case { identity: person("lea", &["leads"]), ..transfer() }.is("allow", "");
    Case { millis: 30_000, ..transfer() }.is("deny", "stale");
    case("POST", "/v1/notes-to-self").with("content-type", "text/plain").is("deny", "unmatched");
    Case { bodies: true, ..case("POST", "/v1/memos") }.is("deny", "body_type");
    Case { bodies: true, ..case("POST", "/v1/memos").with("content-type", "application/json") }
        .is("head-first", "may mask");
}

#[test]
fn the_body_decides_by_what_it_says() {
    with_body(r#"{"amount": 50}"#).is("allow", "");
    with_body(r#"{"amount": 50.01}"#).is("deny", "no_role");
    with_body(r#"{"amount": "50"}"#).is("deny", "no_role");
    with_body("{}").is("deny", "no_role");
    with_body("").is("deny", "no_role");
    with_body(r#"{"amount": 1, "amount": 1}"#).is("deny", "two_keys");
    with_body(r#"{"amount": 1"#).is("deny", "malformed_body");
    with_body(&format!("{{\"amount\": 1{}}}", " ".repeat(64 * 1024))).is("deny", "body_too_large");
    for unread in [Unread::TooLarge, Unread::Late, Unread::NoRoom, Unread::Answered, Unread::NotHeld] {
        let code = ["body_too_large", "body_late", "too_many_bodies", "answered_early", "body_not_read"];
        Case { unread: Some(unread), ..transfer() }.is("deny", code[unread as usize]);
    }
}

#[test]
fn what_is_no_plain_json_is_refused_before_it_comes() {
    let with = |name: &str, value: &str| transfer().with(name, value);
    Case { bodies: true, ..case("POST", TRANSFER) }.is("deny", "body_type");
    Case { bodies: true, ..case("POST", TRANSFER).with("content-type", "text/json") }.is("deny", "body_type");
    with("content-type", "application/json").is("deny", "body_type");
    with("content-encoding", "identity").is("deny", "body_encoding");
    with("content-length", "65536").is("hold", "");
    with("content-length", "65537").is("deny", "body_too_large");
    with("content-length", "99999999999999999999999").is("hold", "");
}

#[test]
fn what_may_be_an_enforced_action_is_refused_as_one() {
    let tool = |body: Option<&str>| {
        let headers = case("POST", "/tools").with("content-type", "application/json");
        Case { services: vec!["tools"], bodies: true, body: body.map(|body| body.as_bytes().to_vec()), ..headers }
    };
    tool(Some(r#"{"tool":"try"}"#)).is("shadow", "no_role");
    tool(Some(r#"{"tool":"use"}"#)).is("deny", "no_role");
    // Whoever reads them otherwise may find the enforced one in them.
    tool(Some(r#"{"tool":"USE"}"#)).is("deny", "unmatched");
    tool(Some(r#"{"tool":"use","tool":"try"}"#)).is("deny", "two_keys");
    tool(Some("{")).is("deny", "malformed_body");
    tool(None).with("content-length", "65537").is("deny", "body_too_large");
    tool(None).with("content-type", "text/plain").is("deny", "body_type");
    Case { unread: Some(Unread::Late), ..tool(None) }.is("deny", "body_late");
    Case { millis: 300_000, ..tool(None) }.is("deny", "stale");
    Case { services: vec!["tools"], ..case("POST", "/other") }.is("shadow", "unmatched");
}

#[test]
fn a_response_is_masked_unless_nothing_can_do_it() {
    let read = || Case { bodies: true, ..case("GET", "/v1/cards/acc-1") };
    read().is("mask", "");
    Case { room_to_mask: false, ..read() }.is("deny", "too_many_masked");
}

#[test]
fn without_the_callbacks_everything_that_needs_them_is_refused() {
    Case { bodies: false, ..transfer() }.is("deny", "no_role");
    case("GET", "/v1/cards/acc-1").is("deny", "cannot_mask");
}
