use std::net::IpAddr;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use crate::engine::condition::Fuel;
use crate::engine::{
    BodyFacts, Condition, Context, Criticality, FactValue, Facts, Now, Principal, Signal, Table, Verdict,
};
use crate::time::Timestamp;
use crate::wire::policy::{FactType, Judging, Scope, Unjudged};

fn scope() -> Scope {
    let claim = |name: &str, kind| (name.to_owned(), kind);
    Scope {
        claims: vec![
            claim("n", FactType::Number),
            claim("t", FactType::Text),
            claim("b", FactType::Bool),
            claim("l", FactType::Texts),
        ],
        headers: vec!["x-t".to_owned()],
        signals: vec!["s".to_owned()],
        ..Scope::default()
    }
}

fn said(source: &str) -> String {
    let actions = ["a.read".to_owned(), "a.write".to_owned()];
    match Judging::default().judge(source, &scope(), Some("shop"), Some(&actions)) {
        Ok(judged) if judged.never_false => "never false".to_owned(),
        Ok(_) => "may hold".to_owned(),
        Err(Unjudged::Fault(fault)) => {
            fault.message.strip_prefix("the condition can never hold: ").unwrap_or("?").to_owned()
        }
        Err(Unjudged::Spent) => "spent".to_owned(),
    }
}

#[test]
fn what_can_never_hold_is_told_with_its_proof() {
    let cases = [
        ("false", "`false` is never true"),
        (
            r#"principal.claims.t == "a" && principal.claims.t == "b""#,
            r#"`principal.claims.t == "a"` and `principal.claims.t == "b"` exclude each other"#,
        ),
        ("size(principal.groups) < 0", "`size(principal.groups) < 0` is never true"),
        ("request.time.getHours() >= 25", "`request.time.getHours() >= 25` is never true"),
        (
            "principal.claims.n > 5 && principal.claims.n < 3",
            "`principal.claims.n > 5` and `principal.claims.n < 3` exclude each other",
        ),
        (
            "principal.claims.n > 5 && principal.claims.n <= 5.0",
            "`principal.claims.n > 5` and `principal.claims.n <= 5.0` exclude each other",
        ),
        (r#"principal.claims.t.matches("a^b")"#, r#"`principal.claims.t.matches("a^b")` is never true"#),
        (
            r#"principal.claims.t.startsWith("ab") && principal.claims.t.startsWith("b")"#,
            r#"`principal.claims.t.startsWith("ab")` and `principal.claims.t.startsWith("b")` exclude each other"#,
        ),
        (
            r#"principal.claims.t == "x" && principal.claims.t.glob("*.example.com")"#,
            r#"`principal.claims.t == "x"` and `principal.claims.t.glob("*.example.com")` exclude each other"#,
        ),
        (
            r#"principal.claims.t in ["a", "b"] && !(principal.claims.t in ["b", "a", "c"])"#,
            r#"`principal.claims.t in ["a", "b"]` and `!(principal.claims.t in ["b", "a", "c"])` exclude each other"#,
        ),
        (
            r#"cidr("10.0.0.0/8").containsIP(source.address) && cidr("11.0.0.0/8").containsIP(source.address)"#,
            r#"`cidr("10.0.0.0/8").containsIP(source.address)` and `cidr("11.0.0.0/8").containsIP(source.address)` exclude each other"#,
        ),
        (
            r#"!has(principal.claims.t) && principal.claims.t == "a""#,
            r#"`!(has(principal.claims.t))` and `principal.claims.t == "a"` exclude each other"#,
        ),
        (r#"signals["s"] && !signals["s"]"#, r#"`signals["s"]` and `!(signals["s"])` exclude each other"#),
        (r#"action == "a.delete""#, r#"`action == "a.delete"` is never true"#),
        (r#"criticality == "high""#, r#"`criticality == "high"` is never true"#),
        (r#"principal.groups.exists(g, g == "a" && g == "b")"#, r#"`g == "a"` and `g == "b"` exclude each other"#),
        (r#"["a", "b"].exists(x, x == "c")"#, r#"`x == "c"` is never true"#),
        (
            "size(principal.groups) + 1 > 5 && size(principal.groups) < 3",
            "`size(principal.groups) < 3` and `size(principal.groups) + 1 > 5` exclude each other",
        ),
        (
            r#"(principal.claims.n > 5 || principal.claims.b) && principal.claims.n < 3 && !principal.claims.b"#,
            "`principal.claims.n < 3` and `principal.claims.n > 5` exclude each other; `!(principal.claims.b)` and `principal.claims.b` exclude each other",
        ),
        (
            r#"principal.claims.t < "a" && principal.claims.t > "b""#,
            r#"`principal.claims.t < "a"` and `principal.claims.t > "b"` exclude each other"#,
        ),
        (
            "request.time < timestamp(\"2026-01-01T00:00:00Z\") && request.time > timestamp(\"2026-02-01T00:00:00Z\")",
            "`request.time < timestamp(\"2026-01-01T00:00:00Z\")` and `request.time > timestamp(\"2026-02-01T00:00:00Z\")` exclude each other",
        ),
        ("request.time < request.time", "`request.time < request.time` is never true"),
    ];
    for (source, expected) in cases {
        assert_eq!(said(source), expected, "{source}");
    }
}

#[test]
fn what_may_hold_is_not_refused() {
    for source in [
        r#"principal.claims.t == "a" || principal.claims.t == "b""#,
        r#"principal.claims.t.startsWith("a") && principal.claims.t.startsWith("ab")"#,
        r#"principal.groups.exists(g, g == "a") && principal.groups.exists(g, g == "b")"#,
        r#"principal.claims.l.all(x, x == "a") && principal.claims.l.all(x, x == "b")"#,
        "principal.claims.n > 5 && principal.claims.n < 5.1",
        "request.time.getHours() >= 23 && request.time.getMinutes() > 58",
        r#"!("admins" in principal.groups)"#,
        r#"cidr("10.0.0.0/8").containsIP(source.address) && !cidr("10.1.0.0/16").containsIP(source.address)"#,
        r#"(principal.claims.b ? "a" : "b") == "a" && (principal.claims.b ? "a" : "b") != "b""#,
        r#"action == "a.read""#,
    ] {
        assert_eq!(said(source), "may hold", "{source}");
    }
    for source in [
        "true",
        "size(principal.groups) >= 0",
        "principal.claims.n < 5 || principal.claims.n > 3",
        r#"action in ["a.read", "a.write"]"#,
    ] {
        assert_eq!(said(source), "never false", "{source}");
    }
}

#[test]
fn hostile_conditions_end_the_search() {
    let many = |count: usize, part: fn(usize) -> String, by: &str| (0..count).map(part).collect::<Vec<_>>().join(by);
    // 2^30 ways, none of them contradictory before its end; and a chain of every kind of part.
    let forks = many(30, |at| format!("(principal.claims.n>{at}||principal.claims.t!=\"{at}\")"), "&&");
    assert_eq!(said(&format!("{forks}&&principal.claims.b")), "may hold");
    let chain = many(90, |at| format!("!principal.claims.t.contains(\"{at}\")"), "&&");
    assert_eq!(said(chain.split_at(chain.len().min(4_000)).0.rsplit_once("&&").unwrap().0), "may hold");
}

fn text() -> impl Strategy<Value = String> {
    select(&["a", "ab", "b", "ba", ""][..]).prop_map(|text| format!("\"{text}\""))
}

fn atom() -> impl Strategy<Value = String> {
    let texts = select(&["principal.claims.t", "request.headers[\"x-t\"]", "principal.user", "criticality"][..]);
    let order = || select(&["==", "!=", "<", "<=", ">", ">="][..]);
    let number =
        || (-2_i32..4).prop_map(|number| if number % 2 == 0 { format!("{number}") } else { format!("{number}.5") });
    let whole = select(
        &[
            "size(principal.groups)",
            "size(principal.groups) + 1",
            "3 - size(principal.groups)",
            "size(principal.claims.t) * 2",
            "size(principal.claims.t) % 2",
            "-size(principal.claims.l)",
            "request.time.getSeconds()",
            "request.time.getSeconds() / 2",
            "request.time.getDayOfWeek()",
        ][..],
    );
    prop_oneof![
        select(&["true", "false", "principal.claims.b", "signals[\"s\"]", "principal.claims.b == false"][..])
            .prop_map(str::to_owned),
        select(
            &["has(principal.claims.t)", "has(principal.claims.n)", "has(source.address)", "has(principal.user)"][..]
        )
        .prop_map(str::to_owned),
        (texts.clone(), order(), text()).prop_map(|(fact, order, text)| format!("{fact} {order} {text}")),
        (texts.clone(), select(&["startsWith", "endsWith", "contains", "glob"][..]), text())
            .prop_filter_map("a pattern", |(fact, function, text)| {
                (text.len() > 2).then(|| format!("{fact}.{function}({text})"))
            }),
        (texts, select(&["a^b", "a", "^b*$", "^$"][..]))
            .prop_map(|(fact, pattern)| format!("{fact}.matches(\"{pattern}\")")),
        (text(), text()).prop_map(|(one, two)| format!("principal.claims.t in [{one}, {two}]")),
        text().prop_map(|text| format!("{text} in principal.groups")),
        text().prop_map(|text| format!("principal.groups.exists(g, g != {text} && g.startsWith(\"a\"))")),
        (text(), text()).prop_map(|(one, two)| format!("[{one}, {two}].all(x, x == principal.claims.t || x < \"b\")")),
        (order(), number()).prop_map(|(order, number)| format!("principal.claims.n {order} {number}")),
        (whole.clone(), order(), -2_i32..5).prop_map(|(fact, order, number)| format!("{fact} {order} {number}")),
        (whole.clone(), order(), whole).prop_map(|(one, order, two)| format!("{one} {order} {two}")),
        (order(), 0_u8..3)
            .prop_map(|(order, at)| format!("request.time {order} timestamp(\"2026-01-01T00:00:0{at}Z\")")),
        select(&["10.0.0.0/8", "10.1.0.0/16", "11.0.0.0/8", "10.1.0.1/32"][..])
            .prop_map(|network| format!("cidr(\"{network}\").containsIP(source.address)")),
        Just("source.address == ip(\"10.1.0.1\")".to_owned()),
    ]
}

fn condition() -> impl Strategy<Value = String> {
    atom().prop_recursive(4, 16, 3, |inner| {
        prop_oneof![
            4 => prop::collection::vec(inner.clone(), 2..4).prop_map(|parts| format!("({})", parts.join(" && "))),
            2 => prop::collection::vec(inner.clone(), 2..4).prop_map(|parts| format!("({})", parts.join(" || "))),
            1 => inner.clone().prop_map(|part| format!("!({part})")),
            1 => (inner.clone(), inner.clone(), inner).prop_map(|(one, two, three)| format!("({one} ? {two} : {three})")),
        ]
    })
}

#[derive(Debug, Clone)]
struct World {
    number: Option<i64>,
    text: Option<&'static str>,
    header: Option<&'static str>,
    truth: Option<bool>,
    list: Option<Vec<&'static str>>,
    groups: Vec<&'static str>,
    user: Option<&'static str>,
    signal: bool,
    seconds: i64,
    address: Option<IpAddr>,
}

fn world() -> impl Strategy<Value = World> {
    let word = || prop::option::weighted(0.9, select(&["a", "ab", "b", "ba", "", "low"][..]));
    let words = || subsequence(vec!["a", "ab", "b", "ba"], 0..4);
    let address = select(&["10.0.0.1", "10.1.0.1", "11.0.0.1", "::ffff:10.1.0.1", "fd00::1"][..]);
    let address = prop::option::weighted(0.9, address.prop_map(|text| text.parse().unwrap()));
    let first = (prop::option::weighted(0.9, -3_i64..6), word(), word(), prop::option::weighted(0.9, any::<bool>()));
    (first, prop::option::weighted(0.9, words()), words(), word(), any::<bool>(), 0_i64..4, address).prop_map(
        |((number, text, header, truth), list, groups, user, signal, seconds, address)| World {
            number,
            text,
            header,
            truth,
            list,
            groups,
            user,
            signal,
            seconds,
            address,
        },
    )
}

impl World {
    fn verdict(&self, form: &crate::engine::condition::Form) -> Verdict {
        let mut claims = Vec::new();
        claims.extend(self.number.map(|number| ("n", FactValue::Number(number.into()))));
        claims.extend(self.text.map(|text| ("t", FactValue::Text(text))));
        claims.extend(self.truth.map(|truth| ("b", FactValue::Bool(truth))));
        claims.extend(self.list.as_deref().map(|list| ("l", FactValue::Texts(list))));
        let headers: Vec<_> = self.header.map(|header| ("x-t", header)).into_iter().collect();
        let context = Context {
            headers: &headers,
            claims: &claims,
            body: BodyFacts::Absent,
            address: self.address,
            ..Context::EMPTY
        };
        let at: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let at = at.plus(crate::time::Span::from_millis(self.seconds.unsigned_abs().saturating_mul(500)));
        let mut table = Table::default();
        if self.signal {
            table.put_signal(Signal { name: "s".into(), expires_at: Timestamp::from_millis(i64::MAX) });
        }
        let principal = Principal { user: self.user.map(|user| ("iss", user)), groups: &self.groups, workload: None };
        let facts = Facts {
            principal: &principal,
            method: None,
            path: None,
            context: &context,
            service: "shop",
            action: "a.read",
            resource: "r",
            criticality: Criticality::Low,
            template: None,
            now: Now::exactly(at),
            table: &table,
        };
        Condition::When(Arc::new(form.clone())).verdict(&facts, &mut Fuel::of(1_000_000))
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6_000, ..ProptestConfig::default() })]

    #[test]
    fn it_never_claims_wrongly(source in condition(), worlds in prop::collection::vec(world(), 24)) {
        let form = crate::wire::policy::compile_form(&source, &scope()).unwrap();
        let never = |form: &_, known, wanted| super::never(form, known, wanted, &mut super::WORK.clone());
        let known = super::Known { service: Some("shop"), actions: None };
        let (never_true, never_false) = (never(&form, known, true), never(&form, known, false));
        for world in worlds {
            match world.verdict(&form) {
                Verdict::Holds => prop_assert!(never_true.is_none(), "{source} holds in {world:?}"),
                Verdict::Fails => prop_assert!(never_false.is_none(), "{source} fails in {world:?}"),
                Verdict::Unsure | Verdict::Errs(_) => {}
            }
        }
    }
}
