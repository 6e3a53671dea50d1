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
