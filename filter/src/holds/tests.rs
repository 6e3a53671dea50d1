//! Holds against a control plane that answers, decides, and is not heard.

use ed25519_dalek::{Signer, SigningKey};
use grantmesh_shared::id::VmId;
use grantmesh_shared::time::Timestamp;
use grantmesh_shared::wire::holds::{HoldResult, HoldsKind, HoldsRequest};
use grantmesh_shared::wire::records::{DecisionEvent, DecisionWord};
use grantmesh_shared::wire::signature::{KeyId, Signature, signed_bytes};

use super::*;

fn at(millis: u64) -> Mono {
    Mono::from_millis(millis)
}

fn key() -> SigningKey {
    SigningKey::from_bytes(&[1; 32])
}

fn hold(number: u64) -> DecisionId {
    DecisionId::new(number, [5; 10])
}

fn request(number: u64) -> RequestId {
    RequestId::new(number, [6; 10])
}

fn point(revision: u64) -> Position {
    Position { epoch: 1, revision }
}

struct Filter {
    holds: Holds,
    random: Random,
    identity: VmIdentity,
    position: Option<Position>,
}

impl Filter {
    fn new() -> Self {
        let identity = VmIdentity { vm: VmId::new(0, [0; 10]), node: "n".to_owned(), services: Vec::new() };
        Self { holds: Holds::default(), random: Random::new([3; 32]), identity, position: Some(point(1)) }
    }

    fn item(number: u64, justification: &str) -> HoldItem<'static> {
        let call = ("POST", "/v1/accounts/acc-1/refunds");
        HoldItem {
            event: DecisionEvent::new(hold(number), DecisionWord::Ask, "payments", call),
            rule: "refunds".to_owned(),
            call: None,
            justification: Some(justification.to_owned()),
            until: Timestamp::from_millis(9),
        }
    }

    fn begin(&mut self, number: u64) {
        assert!(self.holds.begin(&Self::item(number, "why")));
    }

    fn due(&mut self, millis: u64) -> Option<HoldsRequest<'static>> {
        let question = self.holds.due(&self.identity, self.position, at(millis), &mut self.random)?;
        assert_eq!((question.topic, question.path), (Topic::Holds, HOLDS_PATH));
        Some(serde_json::from_slice(&question.body).unwrap())
    }

    /// Has the next question answered like this.
    fn told(&mut self, millis: u64, states: &[(u64, HoldState)]) -> HoldsRequest<'static> {
        let asked = self.due(millis).expect("a question");
        self.answer(&asked.nonce, states, &self::key(), millis).unwrap();
        asked
    }

    fn answer(
        &mut self,
        nonce: &str,
        states: &[(u64, HoldState)],
        by: &SigningKey,
        millis: u64,
    ) -> Result<(), AnswerError> {
        let result = |(number, state): &(u64, HoldState)| {
            let request = (!matches!(state, HoldState::Refused(_))).then(|| request(*number));
            HoldResult { decision: hold(*number), request, state: state.clone() }
        };
        let results = states.iter().map(result).collect();
        let answer = HoldsAnswer { v: PROTOCOL_VERSION, kind: HoldsKind::Holds, nonce: nonce.to_owned(), results };
        let body = serde_json::to_vec(&answer).unwrap();
        let id = KeyId::of(self::key().verifying_key().as_bytes());
        let signature = Signature { key: id, bytes: by.sign(&signed_bytes(&body)).to_bytes() }.to_string();
        let answer = Answer { status: b"200", signature: Some(signature.as_bytes()), body: &body };
        let keys = [PinnedKey::new(self::key().verifying_key().as_bytes()).unwrap()];
        self.holds.answered(&answer, &keys, at(millis), &mut self.random)
    }

    fn is_settled(&self, number: u64) -> bool {
        self.holds.is_settled(&hold(number), self.position)
    }
}

#[test]
fn a_call_is_filed_once_and_asked_for_until_it_is_decided() {
    let mut filter = Filter::new();
    assert!(filter.due(0).is_none(), "nobody waits");
    filter.begin(1);
    assert!(filter.holds.is_urgent());
    let asked = filter.told(10, &[(1, HoldState::Pending)]);
    assert_eq!((asked.file.len(), asked.ask.len(), asked.end.len()), (1, 0, 0));
    assert!(!filter.is_settled(1) && !filter.holds.is_urgent());

    assert!(filter.due(500).is_none(), "it was just asked for");
    let asked = filter.told(1_010, &[(1, HoldState::Pending)]);
    assert_eq!((asked.file.len(), asked.ask), (0, vec![hold(1)]));

    // A change of the table may be the grant: it is asked for at once.
    filter.position = Some(point(2));
    filter.told(1_020, &[(1, HoldState::Approved(point(3)))]);
    assert!(!filter.is_settled(1), "the table does not know of the approval yet");
    filter.position = Some(point(3));
    assert!(filter.is_settled(1));
    assert!(filter.due(5_000).is_some_and(|asked| asked.ask.is_empty()), "what is decided is not asked for");

    let standing = filter.holds.end(&hold(1), HoldEnd::Over);
    assert_eq!((standing.request, standing.state), (Some(request(1)), Some(HoldState::Approved(point(3)))));
    assert_eq!(filter.holds.end(&hold(1), HoldEnd::Gone), Standing::default(), "it is over once");
}

#[test]
fn whatever_else_is_decided_settles_at_once() {
    for state in [HoldState::Denied, HoldState::TimedOut, HoldState::Withdrawn, HoldState::Refused("no".to_owned())] {
        let mut filter = Filter::new();
        filter.begin(1);
        filter.told(0, &[(1, state)]);
        assert!(filter.is_settled(1));
    }
    assert!(Filter::new().is_settled(1), "what is not held waits for nothing");
}

#[test]
fn what_was_not_heard_is_said_again() {
    let mut filter = Filter::new();
    filter.begin(1);
    let first = filter.due(0).unwrap();
    assert!(filter.due(100).is_none(), "one question at a time");
    // Another's signature, and another question's nonce.
    let forged = filter.answer(&first.nonce, &[(1, HoldState::Denied)], &SigningKey::from_bytes(&[2; 32]), 110);
    assert_eq!(forged, Err(AnswerError::Signature));
    let again = filter.due(2_110).unwrap();
    assert_eq!(again.file, first.file, "the same hold");
    assert_eq!(filter.answer(&first.nonce, &[(1, HoldState::Denied)], &key(), 2_120), Err(AnswerError::Nonce));
    // One that the proxy says nothing of.
    assert!(filter.due(4_000).is_some(), "after the back-off");
    let lost = 4_000 + 2_500;
    assert!(filter.due(lost - 1).is_none());
    assert!(filter.due(lost).is_none() && filter.due(lost + 2_000).is_some());
    assert!(!filter.is_settled(1));
    filter.holds.forget_flight();
    assert_eq!(filter.due(lost + 2_001).unwrap().file, first.file, "its sender is gone");
}

#[test]
fn an_end_is_told_of_what_may_have_been_filed() {
    let mut filter = Filter::new();
    filter.begin(1);
    filter.due(0).unwrap();
    // The answer is lost, or whoever asked is gone: nobody here knows whether it was filed.
    filter.holds.forget_flight();
    filter.holds.end(&hold(1), HoldEnd::Gone);
    let asked = filter.due(5_000).unwrap();
    assert_eq!(asked.end, [EndedHold { decision: hold(1), why: HoldEnd::Gone }]);
}

#[test]
fn an_end_is_told_until_it_is_heard_and_only_of_what_was_filed() {
    let mut filter = Filter::new();
    filter.begin(1);
    filter.begin(2);
    filter.holds.end(&hold(2), HoldEnd::Gone);
    let asked = filter.due(0).unwrap();
    assert_eq!((asked.file.len(), asked.end.len()), (1, 0), "nobody has heard of the second");
    // It goes while it is being filed.
    filter.holds.end(&hold(1), HoldEnd::Gone);
    filter.answer(&asked.nonce, &[(1, HoldState::Pending)], &key(), 10).unwrap();
    let asked = filter.due(20).unwrap();
    assert_eq!(asked.end, [EndedHold { decision: hold(1), why: HoldEnd::Gone }]);
    filter.answer("", &[], &key(), 30).unwrap_err();
    let asked = filter.told(2_030, &[]);
    assert_eq!(asked.end.len(), 1, "said again");
    assert!(filter.holds.is_empty() && filter.due(9_000).is_none());
}

#[test]
fn an_answer_tells_only_of_what_was_asked() {
    let mut filter = Filter::new();
    filter.begin(1);
    let asked = filter.due(0).unwrap();
    filter.begin(2);
    filter.answer(&asked.nonce, &[(1, HoldState::Pending), (2, HoldState::Denied)], &key(), 10).unwrap();
    assert!(!filter.is_settled(2));
    assert_eq!(filter.due(20).unwrap().file.len(), 1, "it is still to be filed");
}

#[test]
fn questions_are_bounded_and_every_hold_has_its_turn() {
    let mut filter = Filter::new();
    assert!(!filter.holds.begin(&Filter::item(0, &"x".repeat(MAX_RECORD_BYTES + MAX_BESIDES))));
    for number in 1..=300 {
        filter.begin(number);
    }
    let mut millis = 0;
    while filter.holds.is_urgent() {
        let asked = filter.due(millis).unwrap();
        assert!(asked.file.len() <= MAX_FILED && asked.ask.len() <= MAX_ASKED);
        let states: Vec<(u64, HoldState)> = (1..=300).map(|number| (number, HoldState::Pending)).collect();
        filter.answer(&asked.nonce, &states, &key(), millis).unwrap();
        millis += 1;
    }
    let mut seen = std::collections::BTreeSet::new();
    for turn in 1..=2 {
        let asked = filter.told(millis + turn * 1_000, &[]);
        assert_eq!(asked.ask.len(), MAX_ASKED);
        seen.extend(asked.ask);
    }
    assert_eq!(seen.len(), 300);
}
