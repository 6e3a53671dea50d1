//! The policy tools of the program: what they print and how they end.

use std::path::Path;

use super::cli::grantmesh;
use super::server::POLICY;

const CASES: &str = "\
GET /v1/accounts/acc-42 as alice[support] => allow: role support-reads
GET /v1/accounts/acc-42/refunds as <&\"mallory\"> => ask
POST /v1/accounts/acc-42/refunds as alice[support] => ask: no_role may_ask
";

fn folder(cases: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("policy.yaml"), POLICY).unwrap();
    std::fs::write(folder.path().join("cases.txt"), cases).unwrap();
    folder
}

fn without(path: &Path, text: &str) -> String {
    text.replace(&format!("{}/", path.display()), "")
}

#[tokio::test(flavor = "multi_thread")]
async fn cases_are_played_and_what_is_wrong_or_missed_is_told() {
    let folder = folder(CASES);
    let path = folder.path();
    let report = path.join("report.xml");
    let arguments = ["policy", "test", path.to_str().unwrap(), "--junit", report.to_str().unwrap()];
    let said = grantmesh(&arguments, &[]).await;
    assert_eq!(said.code, 1);
    insta::assert_snapshot!(without(path, &format!("{}{}", said.out, said.err)), @r#"
    failed: cases.txt:2: GET /v1/accounts/acc-42/refunds as <&"mallory">
      expected: ask
      found:    deny: no_role not_eligible
        - no role gives you `refund.list`
        - no rule lets you ask for `refund.list`
    2 of 3 case(s) passed; they touch 100 % of the policy
      actions: 3 of 3
      bindings: 1 of 1
      rules: 1 of 1
    error: 1 of 3 case(s) came out otherwise than they state
    "#);
    let report = std::fs::read_to_string(report).unwrap();
    assert!(report.contains(r#"failures="1""#) && report.contains(r#"tests="3""#), "{report}");
    assert!(report.contains("&lt;&amp;") && !report.contains("<&"), "{report}");

    let json = grantmesh(&["policy", "test", path.to_str().unwrap(), "--json"], &[]).await;
    let json: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!((&json["passed"], &json["failed"], &json["coverage"]["percent"]), (&2.into(), &1.into(), &100.into()));
    assert_eq!(json["cases"][1]["outcome"]["reasons"][0]["code"], "no_role");
}

#[tokio::test(flavor = "multi_thread")]
async fn too_little_coverage_and_broken_cases_fail() {
    let folder = folder(CASES.lines().next().unwrap());
    let path = folder.path().to_str().unwrap();
    assert!(grantmesh(&["policy", "test", path], &[]).await.fine().contains("1 of 1 case(s) passed"));
    assert_eq!(grantmesh(&["policy", "test", path, "--min-coverage", "40"], &[]).await.code, 0);
    let little = grantmesh(&["policy", "test", path, "--min-coverage", "41"], &[]).await;
    assert!(little.code == 1 && little.err.contains("touch 40 % of the policy, less than 41 %"), "{little:?}");
    std::fs::write(folder.path().join("cases.txt"), "GET / as alice\n").unwrap();
    let broken = grantmesh(&["policy", "test", path], &[]).await;
    assert_eq!(broken.code, 1);
    insta::assert_snapshot!(without(folder.path(), &broken.err), @r"
    cases.txt:1:1: it is not said what must become of this call
      1 | GET / as alice
        | ^
      help: end it with `=> DECISION: REASON...`, on the same line or indented below its facts
    error: the cases have 1 fault(s)
    ");
    std::fs::remove_file(folder.path().join("cases.txt")).unwrap();
    assert!(grantmesh(&["policy", "test", path], &[]).await.err.contains("put a `cases.txt` beside the policy"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_examples_pass_and_are_covered() {
    for name in ["payments", "agents"] {
        let path = format!("{}/../shared/policies/{name}", env!("CARGO_MANIFEST_DIR"));
        let said = grantmesh(&["policy", "test", &path, "--min-coverage", "100"], &[]).await.fine();
        assert!(said.contains("they touch 100 % of the policy"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_call_is_explained_with_all_that_nearly_allowed_it() {
    let agents = format!("{}/../shared/policies/agents", env!("CARGO_MANIFEST_DIR"));
    let said = grantmesh(
        &[
            "policy",
            "explain",
            &agents,
            "--service",
            "tools",
            "--method",
            "POST",
            "--path",
            "/mcp",
            "--as",
            "ann[support]+workload:spiffe://mesh/ns/agents/sa/assistant",
            "--at",
            "2026-03-03T09:30:00Z",
            "--fact",
            "body /method tools/call",
            "--fact",
            "body /params/name refund",
            "--fact",
            "body amount 90",
            "--fact",
            "country DE",
            "--signal",
            "incident.open",
        ],
        &[],
    )
    .await
    .fine();
    insta::assert_snapshot!(said);
    let payments = format!("{}/../shared/policies/payments", env!("CARGO_MANIFEST_DIR"));
    let call = ["policy", "explain", &payments, "--method", "GET", "--path", "/v1/accounts/a", "--as"];
    let json = grantmesh(&[&call[..], &["alice[support]", "--json"]].concat(), &[]).await.fine();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["explanation"]["outcome"]["basis"], "role support-reads");
    let wrong = grantmesh(&[&call[..], &["alice[support"]].concat(), &[]).await;
    assert!(wrong.code == 1 && wrong.err.contains("is not a caller\n  write `NAME[GROUP,...]`"), "{wrong:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_policies_are_compared_in_words_and_in_decisions() {
    let folder = folder(CASES);
    let path = |name: &str| folder.path().join(name).display().to_string();
    let after = POLICY
        .replace("maxDuration: 1h", "maxDuration: 30m\n  condition: 'resource != \"account/acc-42\"'")
        .replace("reviewers: [\"group:payments-leads\"]", "reviewers: [\"group:leads\", \"user:olivia\"]")
        .replace("actions: [account.read, refund.list]", "actions: [account.read]")
        .replace("name: support-reads", "name: support-looks");
    let denial = "---\napiVersion: grantmesh.dev/v1\nkind: DenyRule\nmetadata: { name: nobody }\n\
                  spec: { service: payments, actions: [refund.list], reason: closed }\n";
    std::fs::write(path("after.yaml"), format!("{after}{denial}")).unwrap();
    let arguments = ["policy", "diff", &path("policy.yaml"), &path("after.yaml"), "--cases", &path("cases.txt")];
    let said = grantmesh(&arguments, &[]).await.fine();
    insta::assert_snapshot!(without(folder.path(), &said));
    let same = grantmesh(&["policy", "diff", &path("policy.yaml"), &path("policy.yaml"), "--json"], &[]).await.fine();
    let same: serde_json::Value = serde_json::from_str(&same).unwrap();
    assert_eq!(same["differences"].as_array().map(Vec::len), Some(0));

    // As documents say it, not as filters get it.
    let other = POLICY
        .replace("audit: counted", "audit: { sampled: 10 }\n      mode: shadow\n      description: seen by support")
        .replace("  maxDuration: 1h", "  maxDuration: 1h\n  bind: { exact: true }");
    let denial = denial.replace("[refund.list]", "[\"*\"]");
    std::fs::write(path("other.yaml"), format!("{other}{denial}")).unwrap();
    let said = grantmesh(&["policy", "diff", &path("policy.yaml"), &path("other.yaml")], &[]).await.fine();
    insta::assert_snapshot!("in_words", said);
    assert!(!said.contains('"'), "{said}");
    let described = POLICY.replace("audit: counted", "audit: counted\n      description: seen by support");
    std::fs::write(path("described.yaml"), described).unwrap();
    let said = grantmesh(&["policy", "diff", &path("policy.yaml"), &path("described.yaml")], &[]).await.fine();
    assert!(said.starts_with("the policies differ in descriptions alone\nchanged: action payments "), "{said}");
    assert!(said.contains("description: + seen by support"), "{said}");

    // For scripts.
    let code = async |one: &str, other: &str| {
        grantmesh(&["policy", "diff", &path(one), &path(other), "--exit-code"], &[]).await.code
    };
    assert_eq!(code("policy.yaml", "policy.yaml").await, 0);
    assert_eq!(code("policy.yaml", "after.yaml").await, 3);
    assert_eq!(code("policy.yaml", "missing.yaml").await, 1);
    assert_eq!(grantmesh(&["policy", "diff", "--exit-code"], &[]).await.code, 2);
}
