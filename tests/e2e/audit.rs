//! Recorded: the log tells the whole story, linked by ids, and tells when somebody has changed it.

use anyhow::{Context as _, Result};
use grantmesh_tests::{ALICE, Database, MALLORY, Mesh, OLAF, PATIENCE, Setup, entries, member, play, text, until};
use reqwest::Method;
use serde_json::Value;
use sqlx::{Connection as _, PgConnection, SqliteConnection};

#[test]
fn the_log_links_the_policy_the_request_the_review_the_grant_and_every_decision() {
    play(Setup::default(), linked);
}

#[test]
fn the_log_links_the_policy_the_request_the_review_the_grant_and_every_decision_on_postgres() {
    play(Setup { database: Database::Postgres, ..Setup::default() }, linked);
}

async fn linked(mesh: &mut Mesh) -> Result<()> {
    let asked = mesh.refund("acc-42").await?.json()?;
    let denied = mesh.call(&MALLORY, Method::POST, "/v1/accounts/acc-42/refunds").await?.json()?;
    let request = mesh.ask("acc-42", "10m").await?;
    let grant = mesh.approve(&request).await?;
    mesh.until_refund_is("acc-42", 200).await?;
    let admitted = mesh.upstream.count();
    mesh.revoke(&grant, Some(PATIENCE)).await?;
    let refused = mesh.refund("acc-42").await?.json()?;

    let api = mesh.control_plane.api(&OLAF).await?;
    let decisions = [&asked, &denied, &refused].map(|problem| text(problem, "/decision_id").map(str::to_owned));
    let [asked, denied, refused] = decisions;
    let log = until("every decision has been recorded", PATIENCE, async || {
        let log = entries(&api).await?;
        let refusals =
            [&asked, &denied, &refused].into_iter().flatten().all(|id| find(&log, "decision", "decision", id).is_ok());
        let admissions = log.iter().filter(|entry| entry["data"]["record"]["event"]["decision"] == "allow").count();
        Ok((refusals && admissions >= admitted).then_some(log))
    })
    .await?;
    for (seq, entry) in log.iter().enumerate() {
        assert_eq!((&entry["v"], &entry["seq"]), (&1.into(), &seq.into()), "one after the other, without holes");
    }

    let (request_id, grant_id) = (text(&request, "/id")?, text(&grant, "/id")?);
    let policy = find(&log, "policy.applied", "policy", text(&request, "/policy")?)?;
    let filed = find(&log, "request.filed", "request", request_id)?;
    let reviewed = find(&log, "review.approved", "request", request_id)?;
    let issued = find(&log, "grant.issued", "grant", grant_id)?;
    let revoked = find(&log, "grant.revoked", "grant", grant_id)?;
    assert_eq!(text(policy, "/actor/subject")?, "olaf");
    assert_eq!(text(filed, "/actor/subject")?, "alice");
    assert_eq!(text(reviewed, "/actor/subject")?, "lea");
    assert_eq!(text(revoked, "/actor/subject")?, "lea");
    assert_eq!(text(issued, "/ids/request")?, request_id);
    assert!(text(reviewed, "/ids/review")?.starts_with("review_"));
    let order: Vec<_> = [policy, filed, reviewed, issued, revoked].iter().map(|entry| entry["seq"].as_u64()).collect();
    assert!(order.is_sorted(), "{order:?}");

    let mut allowed = log
        .iter()
        .filter(|entry| entry["kind"] == "decision" && entry["data"]["record"]["event"]["decision"] == "allow")
        .peekable();
    assert!(allowed.peek().is_some());
    for entry in allowed {
        assert_eq!(text(entry, "/ids/grant")?, grant_id, "{entry}");
        assert_eq!(text(entry, "/data/record/event/subject")?, "alice");
        assert_eq!(text(entry, "/data/record/event/resource")?, "account/acc-42");
        assert!(text(entry, "/ids/vm")?.starts_with("vm_"), "{entry}");
    }
    for (id, word, subject) in [(asked?, "ask", "alice"), (denied?, "deny", "mallory"), (refused?, "ask", "alice")] {
        let entry = find(&log, "decision", "decision", &id)?;
        assert_eq!(
            (text(entry, "/data/record/event/decision")?, text(entry, "/data/record/event/subject")?),
            (word, subject)
        );
    }
    assert!(!log.iter().any(|entry| entry["kind"] == "decisions.lost"), "nothing was dropped");

    mesh.control_plane.cli(&OLAF, &["audit", "verify"]).await?.success()?;
    let database = mesh.control_plane.database();
    mesh.control_plane.bare(&["audit", "verify", "--database", &database]).await?.success()?;
    Ok(())
}

#[test]
fn one_changed_byte_is_found_and_named() {
    play(Setup { envoy: false, ..Setup::default() }, tampered);
}

#[test]
fn one_changed_byte_is_found_and_named_on_postgres() {
    play(Setup { envoy: false, database: Database::Postgres, ..Setup::default() }, tampered);
}

async fn tampered(mesh: &mut Mesh) -> Result<()> {
    for account in ["acc-1", "acc-2", "acc-3"] {
        mesh.grant(account, "10m").await?;
    }
    let api = mesh.control_plane.api(&OLAF).await?;
    let log = entries(&api).await?;
    let victim = log.iter().find(|entry| entry["kind"] == "grant.issued").context("no grant in the log")?;
    let seq = member(victim, "/seq")?.as_i64().context("no seq")?;
    let database = mesh.control_plane.database();
    let verify = ["audit", "verify", "--database", &database];
    mesh.control_plane.bare(&verify).await?.success()?;

    // Somebody with the database in hands changes which account it was for, in place, and nothing else.
    let changed = if let Some(path) = database.strip_prefix("sqlite:") {
        let mut connection = SqliteConnection::connect(&format!("sqlite:{path}")).await?;
        let sql =
            "UPDATE log_entries SET entry = CAST(replace(CAST(entry AS TEXT), 'acc-', 'acc+') AS BLOB) WHERE seq = $1";
        sqlx::query(sql).bind(seq).execute(&mut connection).await?.rows_affected()
    } else {
        let mut connection = PgConnection::connect(&database).await?;
        let sql = "UPDATE log_entries SET entry = convert_to(replace(convert_from(entry, 'UTF8'), 'acc-', 'acc+'), 'UTF8') WHERE seq = $1";
        sqlx::query(sql).bind(seq).execute(&mut connection).await?.rows_affected()
    };
    assert_eq!(changed, 1);
    assert!(
        entries(&api).await?.iter().any(|entry| entry.to_string().contains("acc+")),
        "the entry really reads otherwise now"
    );

    let offline = mesh.control_plane.bare(&verify).await?;
    let online = mesh.control_plane.cli(&OLAF, &["audit", "verify"]).await?;
    for found in [offline, online] {
        assert_eq!(found.code, 1, "{found:?}");
        let told = format!("{}{}", found.out, found.err);
        assert!(
            told.contains(&format!("entry {seq}")) || told.contains(&format!("entry `{seq}`")),
            "it names entry {seq}: {told}"
        );
    }
    Ok(())
}

#[test]
fn the_log_is_for_operators_and_auditors() {
    play(Setup { envoy: false, ..Setup::default() }, async |mesh| {
        for path in ["/v1/audit/entries?from=0&limit=1", "/v1/audit/checkpoint"] {
            mesh.control_plane.api(&ALICE).await?.get(path).await?.problem(403)?;
            assert_eq!(mesh.control_plane.api(&OLAF).await?.get(path).await?.status, 200, "{path}");
        }
        let note = mesh.control_plane.api(&OLAF).await?.get("/v1/audit/checkpoint").await?.text();
        let size: usize = note.lines().nth(1).context("no size")?.parse()?;
        assert_eq!(size, entries(&mesh.control_plane.api(&OLAF).await?).await?.len(), "{note}");
        assert!(note.contains("\n\n\u{2014} "), "a signed note: {note}");
        Ok(())
    });
}

/// The first entry of a kind that names an id.
fn find<'l>(log: &'l [Value], kind: &str, of: &str, id: &str) -> Result<&'l Value> {
    let found = log.iter().find(|entry| entry["kind"] == kind && entry["ids"][of] == id);
    found.with_context(|| format!("no `{kind}` of {id} in {log:#?}"))
}
