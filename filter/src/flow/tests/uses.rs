//! Calls under grants for a number of calls: when one is claimed, and when nothing is let through for want of one.

use super::*;

#[test]
fn a_use_is_claimed_where_its_outcome_can_be_seen() {
    let note = || Case { bodies: true, ..case("POST", "/v1/accounts/acc-3/notes") };
    // Before anything says that there are callbacks for responses.
    Case { bodies: false, ..note() }.is("deny", "cannot_claim");
    let ran = note().is("use", "");
    assert!(ran.watched && ran.event.unwrap().grant == Some(GrantId::new(3, [3; 10])));
    Case { claim: "held", ..note() }.is("use", "");
    Case { claim: "refused", ..note() }.is("deny", "no_role");
    Case { claim: "over", ..note() }.is("deny", "claim_unanswered");
    Case { claim: "full", ..note() }.is("deny", "too_many_run");

    // Its head has gone on, and could not be told to go on once.
    let memo = Case { bodies: true, ..case("POST", "/v1/memos") }.with("content-type", "application/json");
    Case { body: Some(br#"{"amount": 5000}"#.to_vec()), ..memo }.is("deny", "cannot_claim");
}

#[test]
fn what_a_role_allows_needs_no_use_that_reveals_more() {
    let card = || Case { bodies: true, ..case("GET", "/v1/cards/acc-5") };
    let event = card().is("use", "").event.unwrap();
    assert_eq!((event.grant, event.binding.as_deref()), (Some(GrantId::new(5, [5; 10])), Some("support")));
    Case { claim: "over", ..card() }.is("mask", "");
    Case { claim: "full", ..card() }.is("mask", "");
}
