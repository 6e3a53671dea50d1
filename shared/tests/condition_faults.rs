//! Error messages of conditions: each with its place, what is wrong and what to do.

use grantmesh_shared::wire::policy::{FactType, Scope, compile_form};

fn scope() -> Scope {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let typed = |names: &[(&str, FactType)]| names.iter().map(|(name, kind)| ((*name).to_owned(), *kind)).collect();
    Scope {
        params: names(&["account"]),
        query: names(&["dryRun"]),
        headers: names(&["x-ticket", "x-region"]),
        claims: typed(&[
            ("department", FactType::Text),
            ("level", FactType::Number),
            ("contractor", FactType::Bool),
            ("teams", FactType::Texts),
        ]),
        fields: typed(&[("amount", FactType::Number), ("iban", FactType::Text), ("urgent", FactType::Bool)]),
        signals: names(&["incident.open", "freeze"]),
        said_of: names(&["on.call"]),
        no_body: None,
    }
}

/// What is said about a condition, with the place underlined.
fn said(source: &str) -> String {
    match compile_form(source, &scope()) {
        Ok(form) => format!("{source}\n  fine, costs {}", form.cost()),
        Err(fault) => {
            let before = source.get(..fault.offset).unwrap_or_default().chars().count();
            let marked = source.get(fault.offset..fault.offset + fault.length).unwrap_or_default().chars().count();
            let help = fault.help.map(|help| format!("\n  help: {help}")).unwrap_or_default();
            format!("{source}\n{}{}\n  {}{help}", " ".repeat(before), "^".repeat(marked.max(1)), fault.message)
        }
    }
}

fn all(sources: &[&str]) -> String {
    sources.iter().map(|source| said(source)).collect::<Vec<_>>().join("\n\n")
}

#[test]
fn what_is_fine() {
    insta::assert_snapshot!(all(&[
        "true",
        r#"request.method == "GET" && request.path.startsWith("/v1/")"#,
        r#"request.params.account != principal.user || "on-call" in principal.groups"#,
        r#"request.time - principal.auth_time < duration("15m")"#,
        r#"request.time.getHours("Europe/Berlin") >= 8 && request.time.getDayOfWeek("Europe/Berlin") in [1, 2, 3, 4, 5]"#,
        r#"cidr("10.0.0.0/8").containsIP(source.address) || source.address == ip("192.0.2.7")"#,
        r#"has(request.headers["x-ticket"]) && request.headers["x-ticket"].matches("^INC-[0-9]{4,8}$")"#,
        r#""x-ticket" in request.headers ? true : has(principal.claims.department)"#,
        r#"principal.claims.teams.exists(t, ["a", "b"].exists(x, t == x)) && !principal.claims.contractor"#,
        "request.body.amount <= 500.10 && request.body.amount >= 0 && request.body.amount in [1, 2.5]",
        "size(principal.groups) + 1 > 2 * 3 - 4 && principal.groups[0].size() % 2 == 0",
        r#"signals["incident.open"] && !signals.freeze && request.query.dryRun == "true""#,
        r#"request.host.glob("*.example.com") && service == "payments" && criticality != "critical""#,
        r#"timestamp("2026-03-01T12:00:00Z") < request.time // until the audit"#,
        "(-principal.groups.size()) < -1 && principal.claims.level > -0.5",
    ]));
}

#[test]
fn syntax() {
    insta::assert_snapshot!(all(&[
        "",
        "  // nothing",
        "request.method ==",
        "request.method == \"GET",
        "(request.method == \"GET\"",
        "request.method == \"GET\")",
        "request.method = \"GET\"",
        "request.method == \"GET\" and true",
        "request.method & true",
        "request.method == “GET”",
        "request.`method` == \"GET\"",
        "a ? b",
        "99999999999999999999 > 1",
        "request..method",
        "\"\\q\" == \"\"",
        "# comment",
    ]));
}

#[test]
fn names_that_lead_nowhere() {
    insta::assert_snapshot!(all(&[
        "reqest.method == \"GET\"",
        "request.metod == \"GET\"",
        "request.method.length == 3",
        "request == 1",
        "request.headers == 1",
        "request.headers[\"X-Ticket\"] == \"\"",
        "request.headers[request.method] == \"\"",
        "request.headers.a.b == \"\"",
        "request.params.acount == \"\"",
        "principal.claims.departement == \"x\"",
        "request.body.amout > 1",
        "signals.incident.open",
        "signals[\"incident.opn\"]",
        "has(signals.freeze)",
        "request.query.page == \"1\"",
        "principal.groups.exists(g, h == g)",
        "principal.groups.exists(principal, true)",
        "principal.groups.exists(g, principal.groups.exists(g, true))",
        "true && \"x-other\" in request.headers",
    ]));
}

#[test]
fn types() {
    insta::assert_snapshot!(all(&[
        "request.method",
        "1 + 1",
        "request.method == 1",
        "request.method && true",
        "!request.method",
        "request.method + \"x\" == \"GETx\"",
        "principal.claims.level * 2 > 3",
        "principal.claims.level == \"3\"",
        "principal.groups == [\"a\"]",
        "1 in principal.groups",
        "request.time > duration(\"1h\")",
        "request.time + request.time > request.time",
        "true ? 1 : \"x\"",
        "\"a\" in \"abc\"",
        "[\"a\", 1] == 1",
        "[request.method] == 1",
        "[].exists(x, true)",
        "request.method.exists(x, true)",
        "principal.groups.exists(g, g)",
        "cidr(\"10.0.0.0/8\").containsIP(request.host)",
        "request.method.getHours() == 1",
        "size(1) == 1",
        "request.method.startsWith(1)",
        "principal.groups[\"a\"] == \"a\"",
    ]));
}

#[test]
fn what_of_cel_is_left_out() {
    insta::assert_snapshot!(all(&[
        "null == null",
        "5u == 5u",
        "b\"x\" == b\"x\"",
        "{\"a\": 1}.a == 1",
        "google.protobuf.Duration{seconds: 1} == duration(\"1s\")",
        "principal.groups.map(g, g) == [\"a\"]",
        "principal.groups.filter(g, g == \"a\").size() == 1",
        "principal.groups.exists_one(g, g == \"a\")",
        "int(\"1\") == 1",
        "type(1) == int",
        "dyn(1) == 1",
        "request.method.lowerAscii() == \"get\"",
        "request.path.strtsWith(\"/v1\")",
        "Has(principal.user)",
        "has(request.method == \"GET\")",
        "has(1, 2)",
        "principal.groups.exists(g)",
        "principal.groups.exists(1, true)",
        "request.?method == \"GET\"",
        "frobnicate()",
        ".request.method == \"GET\"",
    ]));
}

#[test]
fn literals_that_are_compiled_at_load() {
    insta::assert_snapshot!(all(&[
        "request.method.matches(request.path)",
        "request.method.matches(\"(\")",
        "request.method.matches(\"(?=x)\")",
        r#"request.method.matches("\\p{Greek}")"#,
        "request.method.matches(\"((a{90}){90}){90}\")",
        "request.method.glob(\"[a-z]*\")",
        "cidr(\"10.0.0.1/8\").containsIP(source.address)",
        "cidr(\"10.0.0/8\").containsIP(source.address)",
        "cidr(request.host).containsIP(source.address)",
        "cidr(\"10.0.0.0/8\") == 1",
        "source.address == ip(\"10.0.0\")",
        "duration(\"15 minutes\") > duration(\"1us\")",
        "timestamp(\"yesterday\") < request.time",
        "request.time.getHours(\"Berlin\") == 1",
        "request.time.getHours(request.host) == 1",
        "request.time.getHours(\"UTC\", 1) == 1",
        "principal.claims.level > 0.12345678901234567891",
        "principal.claims.level > 1e500",
    ]));
}

#[test]
fn a_body_that_is_not_read_yet_cannot_be_named() {
    let scope = Scope { no_body: Some("a binding covers actions without a body".to_owned()), ..scope() };
    let fault = compile_form("true || request.body.amount > 1", &scope).unwrap_err();
    assert_eq!(fault.message, "`request.body` cannot be used here: a binding covers actions without a body");
    assert_eq!((fault.offset, fault.length), (8, 19));
}
