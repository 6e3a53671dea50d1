//! schemathesis reads the API's description and asks for everything in it, with values that fit and values that do not:
//! the server never fails, and never answers what the description does not say.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use grantmesh_tests::{ALICE, ControlPlane, LEA, Parts, Person, proof_size, text};
use serde_json::json;
use tempfile::TempDir;

/// May everything, so that as much as possible is done and not refused.
const SAM: Person = Person { name: "sam", groups: &["platform", "payments-leads", "support"] };

const POLICY: &str = include_str!("../../shared/policies/payments/policy.yaml");

/// Lets one act and answer later, so that there is something to answer for.
const GLASS: &str = r#"
---
apiVersion: grantmesh.dev/v1
kind: BreakGlass
metadata: { name: refunds-on-fire }
spec: { service: payments, actions: [refund.create], subjects: ["group:platform"], maxDuration: 15m, reviewers: ["user:lea"] }
"#;

/// What is held. That values which fit are taken, too, cannot be: most of them name things that are not there.
const CHECKS: &str = "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,\
                      response_schema_conformance,negative_data_rejection,missing_required_header,unsupported_method,\
                      allow_header_conformance,ignored_auth";

#[test]
fn proof_every_answer_is_one_that_is_described() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let folder = tempfile::tempdir()?;
        let parts = Parts::from_environment()?;
        let serve = &[];
        let control_plane =
            ControlPlane::start(&parts, &folder.path().join("control-plane"), None, serve, None).await?;
        let known = populated(&control_plane).await?;
        std::fs::write(folder.path().join("schemathesis.toml"), known)?;
        let (users, filters) = (control_plane.token(&SAM).await?, control_plane.filter_credential("fuzzed").await?);
        // A stream of events does not end; what may be asked of it is held by the tests of the API.
        let (told, told_to_filters) = tokio::try_join!(
            explored(&control_plane, &folder, &users, "^/(filter/|v1/events)"),
            explored(&control_plane, &folder, &filters, "^/(v1|dev|healthz|readyz|metrics)"),
        )?;
        for told in [told, told_to_filters] {
            ensure!(!told.contains("  0 generated"), "nothing was asked\n{told}");
        }
        Ok(())
    })
}

/// Gives the server something of each kind; gives the settings that name them.
async fn populated(control_plane: &ControlPlane) -> Result<String> {
    let sam = control_plane.api(&SAM).await?;
    let policy = json!({ "files": [{ "name": "policy.yaml", "text": format!("{POLICY}{GLASS}") }] });
    sam.carrying("if-none-match", "*")?.post("/v1/policy", &policy).await?.expect(201)?;
    let (alice, lea) = (control_plane.api(&ALICE).await?, control_plane.api(&LEA).await?);
    let ask = json!({ "service": "payments", "action": "refund.create", "resource": "account/acc-42",
        "justification": "charged twice" });
    let granted = alice.post("/v1/requests", &ask).await?.expect(201)?;
    let granted = format!("/v1/requests/{}/reviews", text(&granted, "/id")?);
    let reviewed = lea.review(&granted, &json!({ "verdict": "approve" })).await?.expect(201)?;
    let pending = sam.post("/v1/requests", &ask).await?.expect(201)?;
    let lock = json!({ "subject": "user:mallory", "reason": "drill" });
    let lock = sam.post("/v1/locks", &lock).await?.expect(201)?;
    let version = sam.get("/v1/policy").await?.expect(200)?;
    let glass =
        json!({ "service": "payments", "action": "refund.create", "resource": "account/acc-43", "reason": "fire" });
    let glass = sam.post("/v1/break-glass", &glass).await?.expect(201)?;
    let delegation = json!({ "to": "alice", "service": "payments", "reason": "away", "duration": "1h" });
    let delegation = lea.post("/v1/delegations", &delegation).await?.expect(201)?;
    let named = [
        ("requests", text(&pending, "/id")?),
        ("grants", text(&reviewed, "/grant/id")?),
        ("locks", text(&lock, "/lock/id")?),
        ("post-reviews", text(&glass, "/post_review/id")?),
        ("delegations", text(&delegation, "/id")?),
        ("policy/versions", text(&version, "/id")?),
    ];
    let operation = |(of, id): (&str, &str)| {
        format!(
            "[[operations]]\ninclude-path-regex = '^/v1/{of}/\\{{id\\}}'\nparameters = {{ \"path.id\" = '{id}' }}\n\n"
        )
    };
    Ok(named.map(operation).concat())
}

/// Lets schemathesis ask with a token for every path but some; fails with all that it says if it finds anything.
async fn explored(control_plane: &ControlPlane, folder: &TempDir, token: &str, not: &str) -> Result<String> {
    let program = std::env::var_os("GRANTMESH_SCHEMATHESIS")
        .context("`GRANTMESH_SCHEMATHESIS` is not set\nrun `cargo dev e2e`, which finds what this needs")?;
    let mut command = tokio::process::Command::new(Path::new(&program));
    command.current_dir(folder.path()).env("NO_COLOR", "1");
    command.args(["--config-file", "schemathesis.toml", "run", "--continue-on-failure", "--workers", "1"]);
    command.args(["--request-timeout", "40", "--suppress-health-check", "all", "--checks", CHECKS]);
    command.args(["--max-examples", &proof_size(12, 400).to_string(), "--exclude-path-regex", not]);
    // The same calls every time in the tests; others every time in the proofs.
    let phases =
        if proof_size(0, 1) == 0 { ["--phases", "examples,coverage,fuzzing", "--seed", "7"].as_slice() } else { &[] };
    command.args(phases).arg("--header").arg(format!("Authorization: Bearer {token}"));
    command.arg(format!("{}/openapi.json", control_plane.url()));
    command.stdin(Stdio::null()).kill_on_drop(true);
    let most = Duration::from_secs(if proof_size(0, 1) == 0 { 150 } else { 1_500 });
    let output = tokio::time::timeout(most, command.output()).await.context("schemathesis does not end")??;
    let told = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{told}\nthe server's log ends with\n{}", tail(&control_plane.log()));
    Ok(told)
}

fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines.get(lines.len().saturating_sub(20)..).unwrap_or_default().join("\n")
}
