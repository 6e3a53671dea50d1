//! By which index each list comes, and that none is read through or sorted: however many rows there are.

use sqlx::AssertSqlSafe;

use super::*;
use crate::clock::SystemClock;
use crate::store::{Store, StoreError};

fn all() -> Select {
    Select::all(None, None, 201)
}

fn ann() -> User {
    User { issuer: "https://id.example".into(), subject: "ann".into() }
}

fn reviewer(rules: usize) -> Visible {
    let rules = (0..rules).map(|rule| ("payments".to_owned(), format!("rule-{rule}"))).collect();
    Visible::Of { user: ann(), rules, backups: Vec::new() }
}

/// Reviews one rule, and two others when they are escalated.
fn backup() -> Visible {
    let rule = |name: &str| ("payments".to_owned(), name.to_owned());
    Visible::Of { user: ann(), rules: vec![rule("rule-0")], backups: vec![rule("rule-1"), rule("rule-2")] }
}

async fn plan(store: &Store, select: &Select, table: &str, person: &str) -> Vec<String> {
    let (sql, values) = select.statement("*", (table, person), true);
    let mut tx = store.read().await.unwrap();
    let rows = tx.rows(("plan", "detail"), AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}")), values).await.unwrap();
    rows.iter().map(|row| row.text("detail")).collect::<Result<_, StoreError>>().unwrap()
}

async fn store() -> (Store, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", folder.path().join("db").display());
    (Store::open(&url, 100, &SystemClock).await.unwrap(), folder)
}

#[tokio::test]
async fn every_list_comes_by_an_index_in_its_order() {
    let (store, _folder) = store().await;
    let service = || Some("payments".to_owned());
    let (action, rule) = (|| Some("refund.create".to_owned()), || Some("rule-1".to_owned()));
    let cases: Vec<(Select, &[&str])> = vec![
        (all(), &["autoindex"]),
        (Select { visible: reviewer(0), ..all() }, &["by_OWNER"]),
        (Select { visible: reviewer(3), ..all() }, &["by_OWNER", "by_rule", "by_rule", "by_rule"]),
        (Select { owner: Some(ann()), visible: reviewer(3), ..all() }, &["by_OWNER"]),
        (Select { owner: Some(ann()), service: service(), ..all() }, &["by_OWNER"]),
        (Select { service: service(), ..all() }, &["by_service"]),
        (Select { service: service(), action: action(), ..all() }, &["by_action"]),
        (Select { service: service(), rule: rule(), action: action(), ..all() }, &["by_rule_action"]),
        // Of what one reviews, one action.
        (
            Select { visible: reviewer(2), service: service(), action: action(), ..all() },
            &["by_OWNER", "by_rule_action", "by_rule_action"],
        ),
        (Select { visible: backup(), ..all() }, &["by_OWNER", "by_rule", "ESCALATED", "ESCALATED"]),
        (Select { visible: backup(), owner: Some(ann()), ..all() }, &["by_OWNER"]),
        (
            Select { visible: backup(), service: service(), action: action(), ..all() },
            &["by_OWNER", "by_rule_action", "ESCALATED_action", "ESCALATED_action"],
        ),
        // What one has filed oneself is among them.
        (Select { service: service(), rule: rule(), visible: reviewer(3), ..all() }, &["by_rule"]),
    ];
    let tables =
        [("requests", "requester", "pending"), ("grants", "holder", "active"), ("post_reviews", "holder", "open")];
    for (table, person, states) in tables {
        for (select, indexes) in &cases {
            // Only requests are ever escalated.
            let indexes: Vec<&str> =
                indexes.iter().copied().filter(|name| table == "requests" || !name.starts_with("ESCALATED")).collect();
            for state in [None, Some(states)] {
                for (cursor, ascending) in [(None, false), (Some("req_5".to_owned()), false), (None, true)] {
                    let select = Select { state, cursor, ascending, ..select.clone() };
                    let told = plan(&store, &select, table, person).await;
                    let index = |name: &str| {
                        let name = name.replace("OWNER", person).replace("ESCALATED", "escalated");
                        match (state, name.as_str()) {
                            (None, "autoindex") => format!("sqlite_autoindex_{table}_1"),
                            (Some(_), "autoindex") => format!("{table}_by_state"),
                            (None, _) => format!("{table}_{name}"),
                            (Some(_), _) => format!("{table}_{name}_state"),
                        }
                    };
                    let inner: Vec<&String> =
                        told.iter().filter(|line| line.contains(" INDEX ") && !line.ends_with("(id=?)")).collect();
                    let expected: Vec<String> = indexes.iter().map(|name| index(name)).collect();
                    assert_eq!(inner.len(), expected.len(), "{select:?}\n{told:#?}");
                    for name in &expected {
                        assert!(inner.iter().any(|line| line.contains(&format!("INDEX {name}"))), "{name}\n{told:#?}");
                    }
                    let sorts = told.iter().filter(|line| line.contains("FOR ORDER BY")).count();
                    assert!(sorts <= 2, "only the page itself is sorted: {told:#?}");
                }
            }
        }
    }
}

/// Without a state, what was used or not comes by as many branches as there are states.
#[tokio::test]
async fn what_was_used_comes_by_an_index_in_its_order() {
    let (store, _folder) = store().await;
    let service = || Some("payments".to_owned());
    let (action, rule) = (|| Some("refund.create".to_owned()), || Some("rule-1".to_owned()));
    let cases: Vec<(Select, &[&str])> = vec![
        (all(), &["used"]),
        (Select { visible: reviewer(2), ..all() }, &["by_holder_used", "by_rule_used", "by_rule_used"]),
        (Select { owner: Some(ann()), service: service(), ..all() }, &["by_holder_used"]),
        (Select { service: service(), ..all() }, &["by_service_used"]),
        (Select { service: service(), action: action(), ..all() }, &["by_action_used"]),
        (Select { service: service(), rule: rule(), action: action(), ..all() }, &["by_rule_action_used"]),
        (
            Select { visible: reviewer(1), service: service(), action: action(), ..all() },
            &["by_holder_used", "by_rule_action_used"],
        ),
    ];
    for (select, indexes) in &cases {
        for (used, state) in [(false, None), (true, None), (false, Some("expired"))] {
            for (cursor, ascending) in [(None, false), (Some("grant_5".to_owned()), true)] {
                let select = Select { used: Some(used), state, cursor, ascending, ..select.clone() };
                let told = plan(&store, &select, "grants", "holder").await;
                let inner: Vec<&String> =
                    told.iter().filter(|line| line.contains(" INDEX ") && !line.ends_with("(id=?)")).collect();
                let times = if state.is_none() { GrantStateWord::ALL.len() } else { 1 };
                assert_eq!(inner.len(), indexes.len() * times, "{select:?}\n{told:#?}");
                for line in inner {
                    let fits = |name: &&&str| line.contains(&format!("INDEX grants_{name} "));
                    assert!(indexes.iter().any(|name| fits(&name)), "{line}\n{told:#?}");
                    assert!(line.contains("used=?") && line.contains("state=?"), "{line}");
                }
                let sorts = told.iter().filter(|line| line.contains("FOR ORDER BY")).count();
                assert!(sorts <= 2, "only the page itself is sorted: {told:#?}");
            }
        }
    }
}

#[tokio::test]
async fn thousands_of_rules_make_one_statement() {
    let (store, _folder) = store().await;
    let told = plan(&store, &Select { visible: reviewer(3_000), ..all() }, "requests", "requester").await;
    assert!(told.len() > 3_000);
}

#[test]
fn branches_are_those_that_can_have_rows() {
    let of = |select: &Select| select.branches(true).len();
    let visible = reviewer(3);
    assert_eq!(of(&Select { visible: visible.clone(), ..all() }), 4);
    let other = User { subject: "bob".into(), ..ann() };
    assert_eq!(of(&Select { visible: backup(), ..all() }), 4);
    assert_eq!(Select { visible: backup(), ..all() }.branches(false).len(), 2, "only requests are ever escalated");
    assert_eq!(of(&Select { visible: visible.clone(), owner: Some(other.clone()), ..all() }), 3);
    let elsewhere = Select { visible: visible.clone(), service: Some("ledger".into()), ..all() };
    assert_eq!(of(&elsewhere), 1);
    let nothing = Select { owner: Some(other), ..elsewhere };
    assert_eq!(of(&nothing), 0);
    assert!(nothing.statement("*", ("requests", "requester"), true).0.contains("1 = 0"));
}
