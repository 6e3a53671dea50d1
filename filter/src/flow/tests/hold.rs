//! Calls that are held while people decide: which are, what is filed for them, and what their callers are told.

use grantmesh_shared::id::RequestId;
use grantmesh_shared::wire::holds::HoldState;
use grantmesh_shared::wire::problem::Problem;

use super::*;
use crate::holds::Standing;

fn clerk(method: &str, path: &str) -> Case {
    Case { identity: person("cora", &["clerks"]), holding: Holding::May, ..case(method, path) }
}

#[test]
fn a_call_that_may_be_asked_for_is_held_where_its_rule_says_so() {
    let close = || clerk("DELETE", "/v1/accounts/acc-9?hard=1");
    let (item, most) = close().with("x-grantmesh-justification", "the%20owner%20asked").is("held", "").held.unwrap();
    assert_eq!((item.rule.as_str(), most), ("closing", Span::from_secs(30)));
    assert_eq!(item.justification.as_deref(), Some("the owner asked"));
    assert_eq!(item.call.unwrap().target.as_deref(), Some("/v1/accounts/acc-9?hard=1"), "it is bound as it is");
    let event = item.event;
    assert_eq!((event.decision, event.resource.as_deref()), (DecisionWord::Ask, Some("account/acc-9")));
    assert_eq!((event.subject.as_deref(), event.reasons), (Some("cora"), vec!["no_role".into(), "may_ask".into()]));
    assert_eq!(item.until.millis(), 1_030_102, "by the latest that the control plane's time can be, and never less");

    // Where it may not, where the rule does not say so, and where it may not even be asked for.
    Case { holding: Holding::Never, ..close() }.is("ask", "no_role");
    Case { holding: Holding::May, ..case("POST", "/v1/accounts/acc-2/refunds") }.is("ask", "no_role");
    Case { identity: person("cora", &[]), ..close() }.is("deny", "no_role");
    // What a role allows needs no asking.
    Case { identity: person("ann", &["support"]), ..close() }.is("allow", "");
    // Nobody is held whose groups are not all known: nobody could say whether they may ask.
    let many: Vec<&'static str> = std::iter::once("clerks").chain(std::iter::repeat_n("other", 64)).collect();
    Case { identity: person("cora", &many), ..close() }.is("ask", "no_role");
    // A shadow changes nothing, so nothing waits in it.
    clerk("DELETE", "/v1/notes/acc-9").is("shadow", "no_role");
    // A table that is too old decides nothing, and asks nothing.
    Case { millis: 30_000, ..close() }.is("deny", "stale");
}

#[test]
fn a_justification_is_taken_in_its_one_reading_or_not_at_all() {
    let said = |text: &str| {
        let held = clerk("DELETE", "/v1/accounts/acc-9").with("x-grantmesh-justification", text).run().held;
        held.unwrap().0.justification
    };
    assert_eq!(said("caf%C3%A9"), Some("café".to_owned()));
    for text in ["a+b", "%ff", "%0a", "%zz", &"a".repeat(1_025)] {
        assert_eq!(said(text), None, "{text}");
    }
}

#[test]
fn a_call_that_was_held_in_vain_is_told_why() {
    let request = RequestId::new(7, [7; 10]);
    let told = |state: Option<HoldState>| {
        let standing = Standing { request: state.as_ref().map(|_| request.clone()), state };
        let holding = Holding::Over(Box::leak(Box::new(standing)));
        let ran = Case { holding, ..clerk("DELETE", "/v1/accounts/acc-9") }.is("ask", "no_role");
        let problem: Problem = serde_json::from_slice(&ran.reply.unwrap().body).unwrap();
        let why = problem.reasons.last().unwrap().code.clone();
        assert!(ran.event.unwrap().reasons.iter().any(|code| *code == *why), "the log tells it, too");
        (why, problem.challenge.unwrap().request)
    };
    assert_eq!(told(None), ("hold_not_filed".to_owned(), None));
    let position = Position { epoch: 1, revision: 9 };
    for (state, code) in [
        (HoldState::Pending, "hold_over"),
        (HoldState::Approved(position), "hold_approved"),
        (HoldState::Denied, "hold_denied"),
        (HoldState::TimedOut, "hold_timed_out"),
        (HoldState::Withdrawn, "hold_withdrawn"),
        (HoldState::Refused("no".to_owned()), "hold_refused"),
    ] {
        assert_eq!(told(Some(state)), (code.to_owned(), Some(request.clone())));
    }
}
