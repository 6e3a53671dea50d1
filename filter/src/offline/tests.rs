//! Tokens, good and not.

use ed25519_dalek::{Signer, SigningKey};
use grantmesh_shared::id::GrantId;
use grantmesh_shared::time::Timestamp;
use grantmesh_shared::wire::PROTOCOL_VERSION;
use grantmesh_shared::wire::signature::{KeyId, Signature, signed_bytes};
use grantmesh_shared::wire::table::UserItem;

use super::*;

const ANN: Option<(&str, &str)> = Some(("https://id.example", "ann"));

fn key(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn payload(number: u8) -> Vec<u8> {
    let token = OfflineToken {
        v: PROTOCOL_VERSION,
        grant: GrantId::new(1, [number; 10]),
        user: UserItem { issuer: "https://id.example".to_owned(), subject: "ann".to_owned() },
        service: "payments".to_owned(),
        right: "on-call".to_owned(),
        actions: vec!["refund.create".to_owned()],
        starts_at: Timestamp::from_millis(1),
        expires_at: Timestamp::from_millis(2),
    };
    token.payload().unwrap()
}

fn text(by: &SigningKey, payload: &[u8], signed: &[u8]) -> Vec<u8> {
    let key = KeyId::of(by.verifying_key().as_bytes());
    OfflineToken::text(payload, &Signature { key, bytes: by.sign(signed).to_bytes() }).into_bytes()
}

fn token(number: u8) -> Vec<u8> {
    let payload = payload(number);
    text(&key(1), &payload, &OfflineToken::signed_bytes(&payload))
}

fn pinned() -> [PinnedKey; 1] {
    [PinnedKey::new(key(1).verifying_key().as_bytes()).unwrap()]
}

/// What is found, by the id of its grant.
fn id(found: Result<Rc<Offline>, OfflineError>) -> Result<GrantId, OfflineError> {
    found.map(|offline| offline.grant().held().id())
}

fn at(millis: u64) -> Mono {
    Mono::from_millis(millis)
}

#[test]
fn only_its_owner_shows_a_token_that_a_pinned_key_signed_as_one() {
    let find = |text: &[u8], user| id(Offlines::default().find(text, &pinned(), user, at(0)));
    assert_eq!(find(&token(1), ANN), Ok(GrantId::new(1, [1; 10])));
    let good = Offlines::default().find(&token(1), &pinned(), ANN, at(0)).unwrap();
    assert_eq!((good.grant().held().rule(), good.grant().held().service()), ("on-call", "payments"));
    assert_eq!((good.grant().held().starts_at().millis(), good.grant().held().expires_at().millis()), (1, 2));
    assert!(
        good.grant().held().break_glass() && good.grant().held().uses().is_none() && good.grant().held().is_plain()
    );
    for user in [None, Some(("https://id.example", "bob")), Some(("https://other.example", "ann"))] {
        assert_eq!(find(&token(1), user), Err(OfflineError::OtherUser));
    }
    let body = payload(1);
    let other = text(&key(2), &body, &OfflineToken::signed_bytes(&body));
    assert_eq!(find(&other, ANN), Err(OfflineError::Signature), "by another key");
    let answer = text(&key(1), &body, &signed_bytes(&body));
    assert_eq!(find(&answer, ANN), Err(OfflineError::Signature), "signed as an answer");
    let changed = text(&key(1), &payload(2), &OfflineToken::signed_bytes(&body));
    assert_eq!(find(&changed, ANN), Err(OfflineError::Signature), "over something else");
    for text in [&b""[..], b"nonsense", &vec![b'A'; MAX_TOKEN + 1]] {
        assert_eq!(find(text, ANN), Err(OfflineError::Form(NoToken)));
    }
}

#[test]
fn a_token_is_verified_once_and_belongs_to_its_owner_afterwards_too() {
    let mut offlines = Offlines::default();
    for millis in 0..1_000 {
        offlines.find(&token(1), &pinned(), ANN, at(millis)).unwrap();
    }
    assert_eq!(offlines.checks, 1);
    let others = [PinnedKey::new(key(2).verifying_key().as_bytes()).unwrap()];
    for keys in [&others[..], &[]] {
        assert_eq!(
            id(offlines.find(&token(1), keys, ANN, at(1))),
            Err(OfflineError::Signature),
            "its key is pinned no more"
        );
    }
    let bob = Some(("https://id.example", "bob"));
    assert_eq!(id(offlines.find(&token(1), &pinned(), bob, at(1))), Err(OfflineError::OtherUser));
}

#[test]
fn few_are_verified_in_a_moment_and_few_are_remembered() {
    let mut offlines = Offlines::default();
    // As many as there is time for: forged ones, each another one.
    let forged = |number: u8| text(&key(1), &payload(number), b"");
    for number in 0..16 {
        assert_eq!(id(offlines.find(&forged(number), &pinned(), ANN, at(0))), Err(OfflineError::Signature));
    }
    assert_eq!(id(offlines.find(&forged(16), &pinned(), ANN, at(999))), Err(OfflineError::TooMany));
    assert_eq!(id(offlines.find(&token(16), &pinned(), ANN, at(999))), Err(OfflineError::TooMany));
    assert!(offlines.find(&token(16), &pinned(), ANN, at(1_000)).is_ok());
    for number in 17..117 {
        let millis = u64::from(number) * 1_000;
        assert!(offlines.find(&token(number), &pinned(), ANN, at(millis)).is_ok());
    }
    assert_eq!(offlines.known.len(), MAX_KNOWN);
}
