//! Inputs that nobody would write: the checks of the fuzz targets over arbitrary bytes, and over real inputs that were bent.
#![expect(clippy::unwrap_used, reason = "test code: a fault ends the test")]

mod checks;

use proptest::prelude::*;
use proptest::sample::Index;

const POLICY: &str = include_str!("../../policies/payments/policy.yaml");
const CONDITION: &str = r#"has(request.headers["x-ticket"]) && request.headers["x-ticket"].matches("^INC-[0-9]+$") || principal.claims.teams.exists(t, t in principal.groups) && request.body.amount <= 500.10 && request.time.getHours("Europe/Berlin") >= 8 // c"#;
const FORM: &str = r#"{"nodes":["groups","each_text 0","text 0","eq 1 2","exists 0 3","now","calendar 0 0 5","int 0","ge 6 7","and 4 8"],"ints":[8],"texts":["support"],"zones":[{"first":3600,"changes":[[1774746000,7200]],"until":2871763200}]}"#;
const ITEM: &str = r#"{"key":"service/svc","body":{"service":{"name":"svc","hosts":[],"unmatched":"deny","actions":[{"name":"a","method":"GET","path":"/a/{b}","resource":"a/{b}","criticality":"low","audit":"all"}],"bindings":[{"name":"b","role":"r","subjects":[{"group":{"issuer":"https://id.example","name":"support"}}],"actions":"all","condition":{"v":1,"source":"true","form":{"nodes":["true"]}}}],"rules":[],"denials":[{"name":"d","actions":"all","reason":"r","condition":{"v":2,"source":"","form":null}}]}}}"#;
const BODY: &str = r#"{"method":"tools/call","params":{"name":"refund","arguments":{"amount":50.10,"t":"\u00e9\n"}},"list":[{"x":true},2],"a/b":null,"deep":{"a":{"b":{"c":"d"}}}}"#;
const PATH: &str = "/v1/accounts/caf%C3%A9/refunds?expand=%2f";

/// A piece that is put in somewhere.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let words = [
        "(",
        "[",
        "!",
        "-",
        "{",
        "%2f",
        "\"",
        "\\",
        "..",
        "//",
        "\n---\n",
        ": ",
        "9999999999",
        "é",
        "\0",
        "null",
        " ? a : ",
        "&& ",
    ];
    prop_oneof![
        prop::sample::select(words.to_vec()).prop_map(|word| word.as_bytes().to_vec()),
        (prop::sample::select(words.to_vec()), 1..400_usize).prop_map(|(word, times)| word.repeat(times).into_bytes()),
        prop::collection::vec(any::<u8>(), 0..8),
    ]
}

/// A real input with some of it cut out, doubled, or replaced.
fn bent(real: &'static str) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec((any::<Index>(), any::<Index>(), piece(), 0..4_u8), 1..4).prop_map(|changes| {
        let mut bytes = real.as_bytes().to_vec();
        for (one, other, piece, kind) in changes {
            let (one, other) = (one.index(bytes.len() + 1), other.index(bytes.len() + 1));
            let (from, to) = (one.min(other), one.max(other).min(one.min(other) + 40));
            match kind {
                0 => drop(bytes.splice(from..from, piece)),
                1 => drop(bytes.splice(from..to, piece)),
                2 => drop(bytes.drain(from..to)),
                _ => {
                    let copied = bytes[from..to].to_vec();
                    drop(bytes.splice(from..from, copied));
                }
            }
        }
        bytes
    })
}

fn input(real: &'static str) -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => bent(real),
        1 => prop::collection::vec(any::<u8>(), 0..300),
        1 => ".{0,200}".prop_map(String::into_bytes),
    ]
}

#[test]
fn the_real_inputs_are_accepted() {
    checks::documents(POLICY.as_bytes());
    checks::condition(CONDITION.as_bytes());
    checks::form(FORM.as_bytes());
    checks::item(ITEM.as_bytes());
    checks::path(PATH.as_bytes());
    checks::body(BODY.as_bytes());
    let form: grantmesh_shared::wire::condition::FormItem = serde_json::from_str(FORM).unwrap();
    assert!(grantmesh_shared::engine::Form::try_from(form).is_ok());
    let item: grantmesh_shared::wire::table::Item = serde_json::from_str(ITEM).unwrap();
    assert!(item.parse().is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8_000, ..ProptestConfig::default() })]

    #[test]
    fn conditions(bytes in input(CONDITION)) {
        checks::condition(&bytes);
    }

    #[test]
    fn bodies(bytes in input(BODY)) {
        checks::body(&bytes);
    }

    #[test]
    fn forms(bytes in input(FORM)) {
        checks::form(&bytes);
    }

    #[test]
    fn items(bytes in input(ITEM)) {
        checks::item(&bytes);
    }

    #[test]
    fn paths(bytes in input(PATH)) {
        checks::path(&bytes);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn documents(bytes in input(POLICY)) {
        checks::documents(&bytes);
    }
}
