//! Calls with a break-glass token, while the control plane is heard and while it is not.

use grantmesh_shared::time::Timestamp;
use grantmesh_shared::wire::offline::OfflineToken;
use grantmesh_shared::wire::table::UserItem;

use super::*;

/// When a critical call is refused for want of news, and one of any kind.
const DOWN: u64 = 6_000;
const LONG_DOWN: u64 = 400_000;

fn token(subject: &str, actions: &[&str], expires_at: i64) -> Option<Result<&'static Offline, OfflineError>> {
    let token = OfflineToken {
        v: 1,
        grant: GrantId::new(8, [8; 10]),
        user: UserItem { issuer: ISSUER.to_owned(), subject: subject.to_owned() },
        service: "payments".to_owned(),
        right: "on-call".to_owned(),
        actions: actions.iter().map(|action| (*action).to_owned()).collect(),
        starts_at: Timestamp::from_millis(1_000_000),
        expires_at: Timestamp::from_millis(expires_at),
    };
    Some(Ok(Box::leak(Box::new(Offline::from(token)))))
}

fn anns() -> Option<Result<&'static Offline, OfflineError>> {
    token("ann", &["refund.create", "account.close"], 9_000_000)
}

fn refund(millis: u64) -> Case {
    Case { millis, offline: anns(), ..case("POST", "/v1/accounts/any/refunds") }
}

#[test]
fn a_token_counts_only_while_the_control_plane_is_not_heard() {
    // The flow is not even shown one then; were it, an ask would become a call that goes on.
    let ran = Case { offline: None, ..refund(100) }.is("ask", "no_role");
    assert!(!ran.event.unwrap().offline);
    let ran = refund(DOWN).is("allow", "");
    let event = ran.event.unwrap();
    assert_eq!((event.grant, event.offline, event.break_glass), (Some(GrantId::new(8, [8; 10])), true, true));
    assert!(ran.watched, "it is reset when the token ends");
    Case { offline: None, ..refund(DOWN) }.is("deny", "stale");
}

#[test]
fn what_was_allowed_and_is_stale_goes_on_by_the_token_and_is_marked() {
    let close = |offline| Case { millis: LONG_DOWN, offline, ..case("DELETE", "/v1/accounts/a") };
    close(None).is("deny", "stale");
    let event = close(anns()).is("allow", "").event.unwrap();
    assert!(event.offline && event.binding.is_none());
    // A role that still counts needs no token, and is not marked.
    let event = Case { millis: DOWN, ..close(anns()) }.is("allow", "").event.unwrap();
    assert!(!event.offline && event.binding.is_some());
}

#[test]
fn a_token_is_for_its_user_its_actions_and_its_time() {
    let with = |offline| Case { offline, ..refund(DOWN) };
    // Nobody's is shown to a call of somebody else; were it, it would allow nothing.
    with(token("bob", &["refund.create"], 9_000_000)).is("deny", "offline_ended");
    with(token("ann", &["account.close"], 9_000_000)).is("deny", "offline_other_action");
    with(token("ann", &[], 9_000_000)).is("deny", "offline_other_action");
    with(token("ann", &["refund.create"], 1_005_000)).is("deny", "offline_ended");
    with(Some(Err(OfflineError::Signature))).is("deny", "offline_signature");
    Case { services: vec!["ledger"], ..refund(DOWN) }.is("deny", "offline_other_action");
    Case { headers: case("POST", "/nowhere").headers, ..refund(DOWN) }.is("deny", "unmatched");
}

#[test]
fn deny_rules_stand_above_it_and_nothing_is_done_unrecorded() {
    Case { identity: person("ann", &["contractors"]), ..refund(DOWN) }.is("deny", "deny_rule");
    Case { room: false, ..refund(DOWN) }.is("deny", "records_backlog");
    let low = Case { offline: token("ann", &["account.read"], 9_000_000), ..case("GET", "/v1/accounts/a") };
    let low = || Case { millis: LONG_DOWN, offline: low.offline, ..case("GET", "/v1/accounts/a") };
    assert!(low().is("allow", "").event.is_some(), "reading is counted, but not when it is done so");
    Case { room: false, ..low() }.is("deny", "records_backlog");
    Case { may_run: false, ..refund(DOWN) }.is("deny", "too_many_run");
}

#[test]
fn a_lock_that_was_heard_of_takes_a_token_back() {
    Case { locked: true, ..refund(DOWN) }.is("deny", "locked");
    Case { locked: true, ..refund(100) }.is("deny", "locked");
}

#[test]
fn a_token_is_judged_with_the_body_where_the_decision_depends_on_it() {
    let transfer = |offline| Case { millis: LONG_DOWN, offline, bodies: true, ..case("POST", "/v1/transfers") };
    transfer(None).is("deny", "stale");
    transfer(Some(Err(OfflineError::Signature))).is("deny", "offline_signature");
    let offline = token("ann", &["transfer.create"], 9_000_000);
    let typed = || transfer(offline).with("content-type", "application/json");
    typed().is("hold", "");
    let event = Case { body: Some(br#"{"amount":900}"#.to_vec()), ..typed() }.is("allow", "").event.unwrap();
    assert!(event.offline);
    Case { body: Some(br#"{"amount":900}"#.to_vec()), offline: anns(), ..typed() }.is("deny", "offline_other_action");
}
