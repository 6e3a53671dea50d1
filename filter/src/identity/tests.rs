//! The reader against a small writer of the same protobuf, and against hostile bytes.

use proptest::prelude::*;

use super::*;

fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut length = bytes.len();
    let mut out = vec![(number << 3) | 2];
    while length >= 0x80 {
        out.push(u8::try_from(length & 0x7f).unwrap() | 0x80);
        length >>= 7;
    }
    out.push(u8::try_from(length).unwrap());
    out.extend_from_slice(bytes);
    out
}

fn entry(key: &str, value: &[u8]) -> Vec<u8> {
    field(1, &[field(1, key.as_bytes()), field(2, value)].concat())
}

fn text(value: &str) -> Vec<u8> {
    field(3, value.as_bytes())
}

fn list(values: &[Vec<u8>]) -> Vec<u8> {
    let values: Vec<Vec<u8>> = values.iter().map(|value| field(1, value)).collect();
    field(6, &values.concat())
}

fn number(value: f64) -> Vec<u8> {
    [&[(2 << 3) | 1][..], &value.to_le_bytes()].concat()
}

fn metadata(claims: &[Vec<u8>]) -> Vec<u8> {
    let payload = entry("jwt_payload", &field(5, &claims.concat()));
    let other = entry("other.filter", &entry("x", &text("y")));
    [other, entry("envoy.filters.http.jwt_authn", &payload)].concat()
}

fn read(metadata: &[u8]) -> Result<Identity<'_>, IdentityError> {
    Identity::read(Some(metadata), "jwt_payload", None)
}

#[test]
fn claims_are_found_beside_other_metadata() {
    let bytes = metadata(&[
        entry("exp", &number(1.0)),
        entry("groups", &list(&[text("a"), text("b")])),
        entry("iss", &text("https://id")),
        entry("sub", &text("ann")),
    ]);
    let identity = read(&bytes).unwrap();
    assert_eq!(identity.user, Some(("https://id", "ann")));
    assert_eq!(identity.groups, ["a", "b"]);
    assert_eq!(Identity::read(Some(&bytes), "other", None), Ok(Identity::default()));
    assert_eq!(read(b""), Ok(Identity::default()));
    assert_eq!(Identity::read(None, "jwt_payload", None), Ok(Identity::default()));
}

#[test]
fn half_an_identity_is_none() {
    let (iss, sub) = (entry("iss", &text("i")), entry("sub", &text("s")));
    let cases: Vec<(Vec<Vec<u8>>, IdentityError)> = vec![
        (vec![iss.clone()], IdentityError::Claim("sub")),
        (vec![sub.clone()], IdentityError::Claim("iss")),
        (vec![iss.clone(), entry("sub", &text(""))], IdentityError::Claim("sub")),
        (vec![iss.clone(), entry("sub", &number(7.0))], IdentityError::Claim("sub")),
        (vec![iss.clone(), entry("sub", &text("a\nb"))], IdentityError::Claim("sub")),
        (vec![iss.clone(), entry("sub", &text(&"a".repeat(513)))], IdentityError::Claim("sub")),
        (vec![iss.clone(), entry("sub", &field(3, b"\xff"))], IdentityError::Claim("sub")),
        (vec![iss.clone(), sub.clone(), sub.clone()], IdentityError::Claim("sub")),
        (vec![iss.clone(), sub.clone(), entry("groups", &text("admins"))], IdentityError::Claim("groups")),
        (vec![iss.clone(), sub.clone(), entry("groups", &list(&[number(1.0)]))], IdentityError::Claim("groups")),
        (vec![iss.clone(), entry("sub", &[text("a"), text("b")].concat())], IdentityError::Metadata),
        (vec![iss.clone(), sub.clone(), entry("groups", &list(&vec![text("g"); 257]))], IdentityError::TooManyGroups),
    ];
    for (claims, expected) in cases {
        assert_eq!(read(&metadata(&claims)), Err(expected));
    }
    let twice = [metadata(&[iss.clone(), sub.clone()]), metadata(&[iss, sub])].concat();
    assert_eq!(read(&twice), Err(IdentityError::Metadata));
    let not_a_struct = entry("envoy.filters.http.jwt_authn", &entry("jwt_payload", &text("x")));
    assert_eq!(read(&not_a_struct), Err(IdentityError::Metadata));
}

#[test]
fn the_peer_is_a_spiffe_id_or_nobody() {
    let read = |uri: &'static [u8]| Identity::read(None, "k", Some(uri)).map(|identity| identity.workload);
    assert_eq!(read(b"spiffe://mesh/ns/a/sa/b"), Ok(Some("spiffe://mesh/ns/a/sa/b")));
    assert_eq!(read(b"https://example.com"), Ok(None));
    assert_eq!(read(b""), Ok(None));
    for uri in [&b"spiffe://mesh/\xff"[..], b"spiffe://mesh/a b", b"spiffe://mesh/a\0"] {
        assert_eq!(read(uri), Err(IdentityError::Workload));
    }
}

#[test]
fn broken_bytes_are_refused_at_every_cut() {
    let bytes = metadata(&[entry("iss", &text("i")), entry("sub", &text("s"))]);
    // Cut between the two top-level entries, the rest is whole metadata without claims.
    let whole = entry("other.filter", &entry("x", &text("y"))).len();
    for end in (1..bytes.len()).filter(|end| *end != whole) {
        assert_eq!(read(&bytes[..end]), Err(IdentityError::Metadata), "{end}");
    }
    for hostile in [&[0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f][..], &[0xff; 32], &[0x0b], &[0x00, 0x00], &[0x08]] {
        assert_eq!(read(hostile), Err(IdentityError::Metadata), "{hostile:?}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_refused(bytes: Vec<u8>, flips: Vec<(usize, u8)>) {
        let _ = read(&bytes);
        let mut changed = metadata(&[
            entry("iss", &text("i")),
            entry("sub", &text("s")),
            entry("groups", &list(&[text("g")])),
        ]);
        for (at, byte) in flips {
            let len = changed.len();
            changed[at % len] = byte;
        }
        if let Ok(identity) = read(&changed) {
            prop_assert!(identity.user.is_none_or(|(iss, sub)| !iss.is_empty() && !sub.is_empty()));
        }
    }
}

fn truth(value: bool) -> Vec<u8> {
    vec![4 << 3, u8::from(value)]
}

fn structure(members: &[Vec<u8>]) -> Vec<u8> {
    field(5, &members.concat())
}

const NULL: [u8; 2] = [1 << 3, 0];

/// A token with these claims beside who it is for.
fn token(claims: &[Vec<u8>]) -> Vec<u8> {
    metadata(&[&[entry("iss", &text("i")), entry("sub", &text("s"))], claims].concat())
}

fn find<'a, 'n>(metadata: &'a [u8], wanted: &'n [Box<str>]) -> Result<Found<'a, 'n>, IdentityError> {
    read(metadata).unwrap().claims.unwrap().find(wanted)
}

#[test]
fn named_claims_are_read_with_their_types() {
    let bytes = token(&[
        entry("department", &text("sales")),
        entry("level", &number(3.0)),
        entry("rate", &number(0.1)),
        entry("staff", &truth(true)),
        entry("tags", &list(&[text("a"), text("b")])),
        entry("none", &NULL),
        entry("secret", &text("not asked for")),
        entry("auth_time", &number(1_800_000_000.0)),
        entry("act", &structure(&[entry("sub", &text("bot")), entry("act", &structure(&[entry("sub", &text("x"))]))])),
    ]);
    let wanted: Vec<Box<str>> =
        ["department", "level", "missing", "none", "rate", "staff", "tags"].map(Into::into).into();
    let found = find(&bytes, &wanted).unwrap();
    let mut values = found.values;
    values.sort_by_key(|(name, _)| *name);
    let expected = [
        ("department", ClaimValue::Text("sales")),
        ("level", ClaimValue::Number(3.into())),
        ("rate", ClaimValue::Number("0.1".parse().unwrap())),
        ("staff", ClaimValue::Bool(true)),
        ("tags", ClaimValue::Texts(vec!["a", "b"])),
    ];
    assert_eq!(values, expected);
    assert_eq!((found.actor, found.auth_time.unwrap().millis()), (Some("bot"), 1_800_000_000_000));
}

#[test]
fn a_claim_of_no_known_type_is_there_and_matches_nothing() {
    let wanted: Vec<Box<str>> = vec!["x".into()];
    for value in [
        structure(&[]),
        list(&[text("a"), number(1.0)]),
        list(&[list(&[])]),
        list(&vec![text("a"); 257]),
        text(&"a".repeat(8_193)),
        number(f64::NAN),
        number(f64::INFINITY),
        number(9_007_199_254_740_994.0),
    ] {
        let bytes = token(&[entry("x", &value)]);
        assert_eq!(find(&bytes, &wanted).unwrap().values, [("x", ClaimValue::Other)]);
    }
    for (claim, value) in [
        ("act", text("bot")),
        ("act", structure(&[])),
        ("act", structure(&[entry("sub", &number(1.0))])),
        ("act", structure(&[entry("sub", &text(""))])),
        ("auth_time", text("1800000000")),
        ("auth_time", number(-1.0)),
        ("auth_time", number(f64::NAN)),
        ("auth_time", number(1e13)),
    ] {
        let bytes = token(&[entry(claim, &value)]);
        let found = find(&bytes, &[]).unwrap();
        assert_eq!((found.actor, found.auth_time), (None, None), "{claim}");
    }
}

#[test]
fn a_claim_that_is_there_twice_is_refused() {
    let wanted: Vec<Box<str>> = vec!["x".into()];
    for name in ["x", "act", "auth_time"] {
        let bytes = token(&[entry(name, &text("a")), entry(name, &text("a"))]);
        assert_eq!(find(&bytes, &wanted), Err(IdentityError::Metadata), "{name}");
    }
    // What nobody asks for is not looked at.
    assert!(find(&token(&[entry("y", &text("a")), entry("y", &text("b"))]), &wanted).is_ok());
    let broken = token(&[entry("x", &[0xff])]);
    assert_eq!(find(&broken, &wanted), Err(IdentityError::Metadata));
}

proptest! {
    #[test]
    fn any_claims_are_read_or_refused(bytes: Vec<u8>) {
        let wanted: Vec<Box<str>> = vec!["x".into()];
        let _ = Claims(&bytes).find(&wanted);
        let bytes = token(&[entry("x", &bytes)]);
        let _ = find(&bytes, &wanted);
    }
}
