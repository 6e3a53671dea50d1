//! A filter's stream of records against the rules by which the control plane takes one in, both without IO: whatever the
//! network and the VMs do, what was received and what was declared as missing is what was made.
#![cfg(test)]

use ed25519_dalek::{Signer as _, SigningKey};
use grantmesh_control_plane::domain::Stream;
use grantmesh_filter::clock::Mono;
use grantmesh_filter::question::{Answer, PinnedKey, Question};
use grantmesh_filter::random::Random;
use grantmesh_filter::records::Records;
use grantmesh_shared::id::{DecisionId, VmId};
use grantmesh_shared::time::Timestamp;
use grantmesh_shared::wire::records::{DecisionEvent, DecisionWord, RecordsRequest};
use grantmesh_shared::wire::signature::{KeyId, Signature, signed_bytes};
use grantmesh_shared::wire::sync::VmIdentity;
use proptest::prelude::*;
use serde_json::json;

/// What the network does to a batch, by a number of 0 to 99: lost on the way there or back, doubled, or nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    LostThere,
    LostBack,
    Doubled,
    Fine,
}

impl Fate {
    fn of(number: u8) -> Self {
        match number {
            0..15 => Self::LostThere,
            15..30 => Self::LostBack,
            30..60 => Self::Doubled,
            _ => Self::Fine,
        }
    }
}

/// What happens in one step of half a second.
#[derive(Debug, Clone)]
enum Step {
    /// Calls are decided: how many, for how many callers, and whether they are let through.
    Decide { count: u16, callers: u8, allow: bool },
    /// A call waits for its record.
    Ahead,
    /// A heartbeat arrives, or does not.
    Heartbeat(bool),
    /// The VM goes away, and another begins.
    Reload,
    /// Nothing for a while.
    Quiet,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0_u16..400, 1_u8..200, any::<bool>()).prop_map(|(count, callers, allow)| Step::Decide { count, callers, allow }),
        1 => (8_000_u16..12_000, any::<bool>()).prop_map(|(count, allow)| Step::Decide { count, callers: 200, allow }),
        2 => Just(Step::Ahead),
        3 => any::<bool>().prop_map(Step::Heartbeat),
        1 => Just(Step::Reload),
        2 => Just(Step::Quiet),
    ]
}

/// One VM and what the control plane knows of it.
struct Vm {
    records: Records,
    random: Random,
    identity: VmIdentity,
    key: SigningKey,
    stream: Stream,
    made: u64,
    last_word: u64,
    /// Admitted only because their records were acknowledged.
    admitted: Vec<DecisionId>,
    kept: Vec<DecisionId>,
}

fn at(millis: u64) -> Mono {
    Mono::from_millis(millis)
}

impl Vm {
    fn new(number: u8) -> Self {
        let vm = VmId::new(0, [number; 10]);
        Self {
            records: Records::default(),
            random: Random::new([number; 32]),
            identity: VmIdentity { vm, node: "n".to_owned(), services: vec!["payments".to_owned()] },
            key: SigningKey::from_bytes(&[1; 32]),
            stream: Stream::begin("n"),
            made: 0,
            last_word: 0,
            admitted: Vec::new(),
            kept: Vec::new(),
        }
    }

    fn event(&mut self, caller: u8, allow: bool) -> Box<DecisionEvent<'static>> {
        self.made += 1;
        let word = if allow { DecisionWord::Allow } else { DecisionWord::Deny };
        let event = DecisionEvent::new(DecisionId::new(self.made, [0; 10]), word, "payments", ("GET", "/"));
        Box::new(DecisionEvent { subject: Some(caller.to_string().into()), ..event })
    }

    fn due(&mut self, millis: u64) -> Option<Question> {
        let time = |mono: Mono| i64::try_from(mono.millis()).ok().map(Timestamp::from_millis);
        self.records.due(&self.identity, at(millis), &mut self.random, time)
    }

    /// The control plane's side of one batch; the answer's body and signature.
    fn take_in(&mut self, question: &Question) -> (Vec<u8>, String) {
        let batch: RecordsRequest = serde_json::from_slice(&question.body).unwrap();
        let intake = self.stream.take(&batch).expect("a filter's own stream is always taken");
        assert_eq!(intake.recovered, 0, "none was declared lost yet");
        for (record, _) in intake.new {
            if let grantmesh_shared::wire::records::Event::Decision(event) = record.event {
                self.kept.push(event.id);
            }
        }
        let next_seq = self.stream.next_seq;
        let body =
            json!({"v": 1, "kind": "records", "nonce": batch.nonce, "next_seq": next_seq}).to_string().into_bytes();
        let key = KeyId::of(self.key.verifying_key().as_bytes());
        let signature = Signature { key, bytes: self.key.sign(&signed_bytes(&body)).to_bytes() };
        (body, signature.to_string())
    }

    fn told(&mut self, answer: Option<&(Vec<u8>, String)>, millis: u64) {
        let keys = [PinnedKey::new(self.key.verifying_key().as_bytes()).unwrap()];
        let (body, signature) =
            answer.map_or((b"".as_slice(), None), |(body, signature)| (body, Some(signature.as_bytes())));
        let _outcome =
            self.records.answered(&Answer { status: b"200", signature, body }, &keys, at(millis), &mut self.random);
    }

    fn exchange(&mut self, millis: u64, fate: Fate) {
        let Some(question) = self.due(millis) else { return };
        if fate == Fate::LostThere {
            return self.told(None, millis);
        }
        let mut answer = self.take_in(&question);
        if fate == Fate::Doubled {
            answer = self.take_in(&question);
        }
        self.told((fate != Fate::LostBack).then_some(&answer), millis);
        if fate == Fate::Doubled {
            // The second answer belongs to no question any more.
            self.told(Some(&answer), millis);
        }
    }

    /// What the control plane says once the VM is gone: everything that it ever said there was.
    fn gone(mut self) -> Result<(), TestCaseError> {
        self.stream.reported(self.last_word);
        self.stream.lose();
        let Stream { made, received, dropped, lost, .. } = self.stream;
        prop_assert_eq!(received + dropped + lost, made);
        prop_assert!(made >= self.last_word && made <= self.made, "{made} of {} to {}", self.last_word, self.made);
        for id in &self.admitted {
            prop_assert!(self.kept.contains(id), "admitted without a durable record");
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    /// 30 % of the batches are lost, 30 % doubled, VMs come and go.
    #[test]
    fn received_and_declared_gaps_are_what_was_made(steps in proptest::collection::vec((step(), 0_u8..100), 1..60)) {
        let (mut vm, mut number, mut millis) = (Vm::new(0), 0_u8, 0_u64);
        for (step, fate) in steps {
            millis += 500;
            match step {
                Step::Decide { count, callers, allow } => for at_call in 0..count {
                    let caller = u8::try_from(at_call % u16::from(callers)).unwrap();
                    let event = vm.event(caller, allow);
                    vm.records.push(event, at(millis));
                },
                Step::Ahead => {
                    let event = vm.event(0, true);
                    let id = event.id.clone();
                    if !vm.records.has_room() {
                        vm.made -= 1;
                        continue;
                    }
                    let seq = vm.records.push_ahead(event, at(millis));
                    vm.exchange(millis, Fate::of(fate));
                    if vm.records.is_acknowledged(seq) {
                        vm.admitted.push(id);
                    }
                }
                Step::Heartbeat(arrives) => if arrives {
                    vm.last_word = vm.records.state(at(millis)).made;
                },
                Step::Reload => {
                    number = number.wrapping_add(1);
                    std::mem::replace(&mut vm, Vm::new(number)).gone()?;
                }
                Step::Quiet => millis += 20_000,
            }
            prop_assert_eq!(vm.records.state(at(millis)).made, vm.made);
            vm.exchange(millis, Fate::of(fate));
        }
        // A VM that stays delivers everything: nothing is lost with it, and all of its gaps are its own.
        for _ in 0..200 {
            millis += 20_000;
            vm.exchange(millis, Fate::Fine);
        }
        prop_assert_eq!(vm.records.state(at(millis)).kept, 0);
        prop_assert_eq!(vm.stream.missing(), 0);
        prop_assert_eq!((vm.stream.received + vm.stream.dropped, vm.stream.lost), (vm.made, 0));
        vm.gone()?;
    }
}
