//! Claims against a small control plane that answers some, refuses some, and is not heard with others.

use ed25519_dalek::{Signer, SigningKey};
use grantmesh_shared::id::VmId;
use grantmesh_shared::wire::claims::{ClaimResult, ClaimsKind, ClaimsRequest};
use grantmesh_shared::wire::records::DecisionWord;
use grantmesh_shared::wire::signature::{KeyId, Signature, signed_bytes};
use proptest::prelude::*;

use super::*;

fn at(millis: u64) -> Mono {
    Mono::from_millis(millis)
}

fn key() -> SigningKey {
    SigningKey::from_bytes(&[1; 32])
}

fn decision(number: u64) -> DecisionId {
    DecisionId::new(number, [5; 10])
}

fn use_of(number: u64) -> UseId {
    UseId::new(number, [6; 10])
}

fn grant() -> GrantId {
    GrantId::new(1, [1; 10])
}

fn event(number: u64) -> DecisionEvent<'static> {
    let call = ("POST", "/v1/accounts/acc-1/refunds");
    let event = DecisionEvent::new(decision(number), DecisionWord::Allow, "payments", call);
    DecisionEvent { grant: Some(grant()), ..event }
}

struct Filter {
    claims: Claims,
    random: Random,
    identity: VmIdentity,
}

impl Filter {
    fn new() -> Self {
        let identity = VmIdentity { vm: VmId::new(0, [0; 10]), node: "n".to_owned(), services: Vec::new() };
        Self { claims: Claims::default(), random: Random::new([3; 32]), identity }
    }

    fn claim(&mut self, number: u64) {
        assert!(self.claims.claim(&event(number), &grant()));
    }

    fn due(&mut self, millis: u64) -> Vec<(u32, ClaimsRequest<'static>)> {
        let due = self.claims.due(&self.identity, at(millis), &mut self.random);
        let read = |question: Question| {
            let Topic::Claims(key) = question.topic else { panic!("{question:?}") };
            (key, serde_json::from_slice(&question.body).unwrap())
        };
        due.into_iter().map(read).collect()
    }

    fn answer(&mut self, key: u32, answer: &ClaimsAnswer) -> Result<Vec<Orphan>, AnswerError> {
        self.answer_signed(key, answer, &self::key())
    }

    fn answer_signed(&mut self, key: u32, answer: &ClaimsAnswer, by: &SigningKey) -> Result<Vec<Orphan>, AnswerError> {
        let body = serde_json::to_vec(answer).unwrap();
        let id = KeyId::of(self::key().verifying_key().as_bytes());
        let signature = Signature { key: id, bytes: by.sign(&signed_bytes(&body)).to_bytes() }.to_string();
        let answer = Answer { status: b"200", signature: Some(signature.as_bytes()), body: &body };
        self.claims.answered(key, &answer, &[PinnedKey::new(self::key().verifying_key().as_bytes()).unwrap()])
    }
}

fn answer(nonce: &str, results: Vec<ClaimResult>) -> ClaimsAnswer {
    ClaimsAnswer { v: PROTOCOL_VERSION, kind: ClaimsKind::Claims, nonce: nonce.to_owned(), results }
}

fn claimed(number: u64) -> ClaimResult {
    ClaimResult { decision: decision(number), outcome: ClaimOutcome::Claimed(use_of(number)) }
}

fn refused(number: u64) -> ClaimResult {
    ClaimResult { decision: decision(number), outcome: ClaimOutcome::Refused(ClaimRefusal::Exhausted) }
}

#[test]
fn each_call_learns_what_became_of_its_own_claim_once() {
    let mut filter = Filter::new();
    (1..=3).for_each(|number| filter.claim(number));
    let due = filter.due(0);
    let [(key, asked)] = &due[..] else { panic!("one question: {due:?}") };
    assert_eq!(asked.claims, [1, 2, 3].map(event));
    assert!(!filter.claims.is_settled(&decision(1)));
    // The third is not answered, and somebody else's is.
    let told = answer(&asked.nonce, vec![claimed(1), refused(2), claimed(9), claimed(2)]);
    assert_eq!(filter.answer(*key, &told), Ok(vec![]));
    assert_eq!(filter.claims.take(&decision(1)), Claimed::Use(use_of(1)));
    assert_eq!(filter.claims.take(&decision(1)), Claimed::Unknown, "a use is one call's, once");
    assert_eq!(filter.claims.take(&decision(2)), Claimed::Refused(ClaimRefusal::Exhausted), "the first word counts");
    assert_eq!((filter.claims.is_settled(&decision(3)), filter.claims.take(&decision(3))), (true, Claimed::Unknown));
    assert_eq!(filter.claims.take(&decision(9)), Claimed::Unknown);
    assert_eq!(filter.answer(*key, &told), Err(AnswerError::Nonce), "the same answer again is none");
    assert!(filter.claims.pending.is_empty() && filter.claims.flights.is_empty());
}

#[test]
fn what_is_not_signed_for_this_question_settles_it_as_unknown() {
    for wrong in ["nonce", "key", "version", "status"] {
        let mut filter = Filter::new();
        filter.claim(1);
        let (key, asked) = filter.due(0).pop().unwrap();
        let told = answer(&asked.nonce, vec![claimed(1)]);
        let error = match wrong {
            "nonce" => filter.answer(key, &answer("00", vec![claimed(1)])),
            "key" => filter.answer_signed(key, &told, &SigningKey::from_bytes(&[2; 32])),
            "version" => filter.answer(key, &ClaimsAnswer { v: 9, ..told }),
            _ => {
                let unreachable = Answer { status: b"503", signature: None, body: b"" };
                filter.claims.answered(key, &unreachable, &[])
            }
        };
        let expected = match wrong {
            "nonce" => "nonce",
            "key" => "signature",
            "version" => "malformed",
            _ => "unreachable",
        };
        assert_eq!(error.map_err(|error| error.code()), Err(expected));
        assert_eq!(filter.claims.take(&decision(1)), Claimed::Unknown, "{wrong}");
    }
}

#[test]
fn a_use_that_nobody_waits_for_any_more_is_told() {
    let mut filter = Filter::new();
    (1..=4).for_each(|number| filter.claim(number));
    // Before it was asked, nothing is lost.
    assert_eq!(filter.claims.forget(&decision(4)), None);
    let (key, asked) = filter.due(0).pop().unwrap();
    assert_eq!(asked.claims.len(), 3);
    assert_eq!(filter.claims.forget(&decision(1)), None, "it may or may not have been taken");
    assert_eq!(filter.claims.take(&decision(2)), Claimed::Unknown, "too late");
    let told = answer(&asked.nonce, vec![claimed(1), claimed(2), claimed(3)]);
    let orphan = |number| Orphan { id: use_of(number), grant: grant() };
    assert_eq!(filter.answer(key, &told), Ok(vec![orphan(1), orphan(2)]));
    assert_eq!(filter.claims.forget(&decision(3)), Some(orphan(3)));
    assert!(filter.claims.pending.is_empty());
}

#[test]
fn few_questions_are_under_way_and_a_lost_one_settles_its_claims() {
    let mut filter = Filter::new();
    let most = u64::try_from(MOST_UNDER_WAY).unwrap();
    for number in 0..most {
        filter.claim(number);
        assert_eq!(filter.due(0).len(), 1);
    }
    let more = u64::try_from(MAX_CLAIMS).unwrap() + 1;
    (100..100 + more).for_each(|number| filter.claim(number));
    assert!(!filter.claims.is_urgent() && filter.due(2_499).is_empty());
    assert!(!filter.claims.is_settled(&decision(0)));
    let sizes: Vec<usize> = filter.due(2_500).iter().map(|(_, asked)| asked.claims.len()).collect();
    assert_eq!(sizes, [MAX_CLAIMS, 1]);
    assert_eq!(filter.claims.take(&decision(0)), Claimed::Unknown);
    filter.claims.forget_flights();
    assert_eq!(filter.claims.take(&decision(100)), Claimed::Unknown, "its sender is gone");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    /// Whatever is lost, repeated or late, no use is given to two calls or twice, and none that was answered is untold.
    #[test]
    fn a_use_is_one_calls(steps in proptest::collection::vec((0_u8..6, 0_u64..24), 1..120)) {
        let mut filter = Filter::new();
        let mut asked: Vec<(u32, ClaimsRequest<'static>)> = Vec::new();
        let (mut given, mut told, mut made) = (Vec::new(), Vec::new(), 0);
        for (step, (what, number)) in steps.into_iter().enumerate() {
            let now = u64::try_from(step).unwrap() * 300;
            match what {
                0 | 1 => { filter.claim(made); made += 1; }
                2 => asked.extend(filter.due(now)),
                3 => if let Some((key, request)) = asked.get(usize::try_from(number).unwrap()) {
                    let results: Vec<ClaimResult> = request.claims.iter()
                        .map(|claim| ClaimResult { decision: claim.id.clone(), outcome: ClaimOutcome::Claimed(UseId::new(0, [0; 10])) })
                        .zip(&request.claims)
                        .map(|(result, claim)| {
                            let number = (0..made).find(|number| decision(*number) == claim.id).unwrap();
                            ClaimResult { outcome: ClaimOutcome::Claimed(use_of(number)), ..result }
                        })
                        .collect();
                    if let Ok(orphans) = filter.answer(*key, &answer(&request.nonce, results)) {
                        told.extend(request.claims.iter().map(|claim| claim.id.clone()));
                        given.extend(orphans.into_iter().map(|orphan| orphan.id));
                    }
                },
                4 => if let Claimed::Use(id) = filter.claims.take(&decision(number)) {
                    prop_assert_eq!(&id, &use_of(number));
                    given.push(id);
                },
                _ => given.extend(filter.claims.forget(&decision(number)).map(|orphan| orphan.id)),
            }
        }
        for number in 0..made {
            if let Claimed::Use(id) = filter.claims.take(&decision(number)) {
                given.push(id);
            }
        }
        let all = given.len();
        given.sort();
        given.dedup();
        prop_assert_eq!(given.len(), all, "no use twice");
        for number in 0..made {
            prop_assert!(given.contains(&use_of(number)) == told.contains(&decision(number)), "{}", number);
        }
    }
}
