//! Lists over many rows: the same as a naive filter over all of them, whatever they are narrowed to, and, with
//! `cargo dev prove`, a page of a million within 50 ms.

use std::time::{Duration, Instant};

use grantmesh_control_plane::app::{GrantFilter, Only, Page, RequestFilter};
use grantmesh_control_plane::domain::{Actor, GrantStateWord, Request, RequestStateWord};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, SqliteConnection};

use crate::db::Db;
use crate::world::{World, ann, approval, ask, bob, denial, lee, mia, olga, page, someone};

/// Requests of every state and for both rules, by several people; gives them with their grants' ids, oldest first.
async fn some_of_each(world: &World) -> Vec<Request> {
    let people: Vec<Actor> = (0..6).map(|number| someone(&format!("p{number}"), &["support"])).collect();
    let mut filed = Vec::new();
    for round in 0..3 {
        for (number, person) in people.iter().chain([&ann(), &bob()]).enumerate() {
            let action = if (round + number) % 3 == 0 { "account.close" } else { "refund.create" };
            let new = ask(action, &format!("{round}-{number}"));
            let request = world.app.file_request(person, new).await.unwrap().request;
            match (round + number) % 4 {
                0 => drop(world.review(&lee(), &request.id, denial()).await.unwrap()),
                1 => drop(world.app.withdraw(person, &request.id).await.unwrap()),
                2 => drop(world.review(&mia(), &request.id, approval()).await.unwrap()),
                _ => {}
            }
            filed.push(world.app.request(&olga(), &request.id).await.unwrap());
            world.advance("1s");
        }
    }
    filed
}

pub(crate) async fn lists_agree_with_a_naive_filter(db: Db) {
    let world = World::new(db).await;
    let all = some_of_each(&world).await;
    let middle = all[all.len() / 2].ask.created_at;
    let only = Only::default;
    let service = || Some("payments".to_owned());
    let narrowed = [
        only(),
        Only { mine: true, ..only() },
        Only { owner: Some("p1".to_owned()), ..only() },
        Only { owner: Some("ann".to_owned()), mine: true, ..only() },
        Only { service: service(), ..only() },
        Only { service: Some("ledger".to_owned()), ..only() },
        Only { service: service(), action: Some("account.close".to_owned()), ..only() },
        Only { service: service(), rule: Some("refunds".to_owned()), ..only() },
        Only { service: service(), rule: Some("closing".to_owned()), owner: Some("p2".to_owned()), ..only() },
        Only { since: Some(middle), ..only() },
        Only { until: Some(middle), oldest_first: true, ..only() },
        Only { service: service(), oldest_first: true, ..only() },
    ];
    for reader in [ann(), bob(), lee(), olga(), someone("p1", &["support"])] {
        let reviews = reader.groups.iter().any(|group| group == "leads");
        let sees = |request: &Request| request.ask.requester == reader.user || reviews || reader == olga();
        for only in &narrowed {
            for state in [None, Some(RequestStateWord::Pending), Some(RequestStateWord::Denied)] {
                let fits = |request: &&Request| {
                    let ask = &request.ask;
                    let is =
                        |stated: &Option<String>, value: &str| stated.as_deref().is_none_or(|stated| stated == value);
                    sees(request)
                        && (!only.mine || ask.requester == reader.user)
                        && is(&only.owner, &ask.requester.subject)
                        && is(&only.service, &ask.service)
                        && is(&only.action, &ask.action)
                        && is(&only.rule, &ask.rule)
                        && only.since.is_none_or(|since| ask.created_at >= since)
                        && only.until.is_none_or(|until| ask.created_at < until)
                        && state.is_none_or(|state| request.state.word() == state)
                };
                let mut expected: Vec<_> = all.iter().filter(fits).map(|request| request.id.clone()).collect();
                if !only.oldest_first {
                    expected.reverse();
                }
                let filter = RequestFilter { state, only: only.clone() };
                let (mut found, mut cursor) = (Vec::new(), None);
                loop {
                    let listed = world.app.requests(&reader, &filter, &page(5, cursor)).await.unwrap();
                    found.extend(listed.items.into_iter().map(|request| request.id));
                    cursor = listed.next;
                    if cursor.is_none() {
                        break;
                    }
                }
                assert_eq!(found, expected, "{} {filter:?}", reader.user.subject);
            }
        }
    }
    let active = GrantFilter { state: Some(GrantStateWord::Active), used: None, only: Only { mine: true, ..only() } };
    let held = all.iter().filter(|request| request.ask.requester == ann().user && request.state.grant().is_some());
    assert_eq!(world.app.grants(&ann(), &active, &Page::default()).await.unwrap().items.len(), held.count());
}

/// Multiplies the rows that are there, under ids of their own.
async fn multiply(db: &Db, times: usize) {
    let number = |id: &str| {
        if db.is_postgres() {
            format!("'{id}' || lpad((s.value * 1000 + t.n)::text, 26, '0')")
        } else {
            format!("'{id}' || printf('%026d', s.value * 1000 + t.n)")
        }
    };
    let series = format!("s(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM s WHERE value < {times})");
    let columns = |table: &str| {
        if db.is_postgres() {
            format!("SELECT column_name::text FROM information_schema.columns WHERE table_name = '{table}'")
        } else {
            format!("SELECT name FROM pragma_table_info('{table}')")
        }
    };
    let copy = |table: &str, own: &[(&str, String)], columns: Vec<String>| {
        let others: Vec<String> =
            columns.into_iter().filter(|name| own.iter().all(|(known, _)| known != name)).collect();
        let names: Vec<&str> = own.iter().map(|(name, _)| *name).chain(others.iter().map(String::as_str)).collect();
        let values: Vec<String> =
            own.iter().map(|(_, value)| value.clone()).chain(others.iter().map(|name| format!("t.{name}"))).collect();
        format!(
            "INSERT INTO {table} ({}) WITH RECURSIVE {series} SELECT {} FROM s, t_{table} t",
            names.join(", "),
            values.join(", ")
        )
    };
    let grant = format!("CASE WHEN t.grant_id IS NULL THEN NULL ELSE {} END", number("grant_"));
    let numbered = "CREATE TEMP TABLE t_requests AS SELECT *, row_number() OVER (ORDER BY id) AS n FROM requests";
    let held = "CREATE TEMP TABLE t_grants AS SELECT g.*, t.n FROM grants g JOIN t_requests t ON t.id = g.request";
    let requests = [("id", number("req_")), ("grant_id", grant)];
    let grants = [("id", number("grant_")), ("request", number("req_"))];
    macro_rules! fill {
        ($connection:expr) => {{
            let mut connection = $connection;
            sqlx::query(numbered).execute(&mut connection).await.unwrap();
            sqlx::query(held).execute(&mut connection).await.unwrap();
            for (table, own) in [("requests", &requests), ("grants", &grants)] {
                let columns = sqlx::query_scalar(AssertSqlSafe(columns(table)));
                let columns: Vec<String> = columns.fetch_all(&mut connection).await.unwrap();
                sqlx::query(AssertSqlSafe(copy(table, own, columns))).execute(&mut connection).await.unwrap();
            }
            // One of all that there are, the oldest, was used.
            let used = "UPDATE grants SET used = 1 WHERE id = (SELECT MIN(id) FROM grants)";
            sqlx::query(used).execute(&mut connection).await.unwrap();
            sqlx::query("ANALYZE").execute(&mut connection).await.unwrap();
        }};
    }
    if db.is_postgres() {
        fill!(PgConnection::connect(&db.url).await.unwrap());
    } else {
        fill!(SqliteConnection::connect(&db.url).await.unwrap());
    }
}

/// Indexes that only some of the lists below have use for.
const SERVING: [&str; 5] = [
    "requests_by_rule_action",
    "requests_by_rule_action_state",
    "grants_used",
    "grants_by_holder_used",
    "grants_by_rule_used",
];

/// Waits until PostgreSQL says of each of these indexes that statements came by it. That is counted when their connections
/// are closed; SQLite says it of each statement beforehand, where statements are made.
async fn serve(db: &Db, indexes: &[&str]) {
    let mut connection = PgConnection::connect(&db.url).await.unwrap();
    let mut look = tokio::time::interval(Duration::from_millis(50));
    let sql = "SELECT indexrelname::text FROM pg_stat_user_indexes WHERE idx_scan > 0";
    let mut missing: Vec<&str> = Vec::new();
    let served = async {
        loop {
            look.tick().await;
            let scanned: Vec<String> = sqlx::query_scalar(sql).fetch_all(&mut connection).await.unwrap();
            missing = indexes.iter().copied().filter(|name| !scanned.iter().any(|known| known == name)).collect();
            if missing.is_empty() {
                break;
            }
        }
    };
    let served = tokio::time::timeout(Duration::from_secs(20), served).await;
    assert!(served.is_ok(), "no statement came by {missing:?}");
}

/// Fills a database with so many requests and tells how long pages take; under `cargo dev prove` they must be quick.
pub(crate) async fn pages_of_many(db: Db, most: usize, bound: Option<Duration>) {
    let world = World::new(db).await;
    let made = some_of_each(&world).await.len();
    multiply(&world.db, most / made).await;
    let only = Only::default;
    let service = || Some("payments".to_owned());
    let close = || Some("account.close".to_owned());
    let all = RequestFilter::default;
    let pending = || RequestFilter { state: Some(RequestStateWord::Pending), ..all() };
    let of = |only| RequestFilter { only, ..all() };
    let lists = [
        ("all, an operator", olga(), all()),
        ("pending, an operator", olga(), pending()),
        ("oldest first, an operator", olga(), of(Only { oldest_first: true, ..only() })),
        ("one's own", ann(), all()),
        ("to review", lee(), all()),
        ("pending, to review", lee(), pending()),
        ("somebody's, to review", lee(), of(Only { owner: Some("p3".to_owned()), ..only() })),
        ("of a service", olga(), of(Only { service: service(), ..only() })),
        ("of an action", olga(), of(Only { service: service(), action: Some("account.close".to_owned()), ..only() })),
        ("under a rule", lee(), of(Only { service: service(), rule: Some("closing".to_owned()), ..only() })),
        ("of an action, to review", lee(), of(Only { action: close(), service: service(), ..only() })),
        (
            "pending of an action, to review",
            lee(),
            RequestFilter { only: Only { action: close(), service: service(), ..only() }, ..pending() },
        ),
        (
            "of an action that nobody asks for under a rule, to review",
            lee(),
            of(Only { action: close(), rule: Some("refunds".to_owned()), service: service(), ..only() }),
        ),
        ("of nobody", olga(), of(Only { owner: Some("nobody".to_owned()), ..only() })),
        ("of one who sees nothing", someone("eve", &["guests"]), all()),
    ];
    let mut told = Vec::new();
    let mut slowest = Duration::ZERO;
    for (name, reader, filter) in lists {
        let mut cursor = None;
        let mut taken = Vec::new();
        // Page after page, and from the beginning again.
        for _ in 0..15 {
            #[expect(clippy::disallowed_methods, reason = "it is time that is measured")]
            let begun = Instant::now();
            let listed = world.app.requests(&reader, &filter, &page(200, cursor)).await.unwrap();
            taken.push(begun.elapsed());
            cursor = listed.next;
        }
        taken.sort_unstable();
        told.push(format!("{name}: {:.1} ms", taken[taken.len() / 2].as_secs_f64() * 1_000.0));
        slowest = slowest.max(taken[taken.len() / 2]);
    }
    let used = |used, state| GrantFilter { used: Some(used), state, ..GrantFilter::default() };
    let grants = [
        ("grants, an operator", olga(), GrantFilter::default()),
        (
            "active grants, to review",
            lee(),
            GrantFilter { state: Some(GrantStateWord::Active), ..GrantFilter::default() },
        ),
        ("one's own grants", ann(), GrantFilter::default()),
        ("grants that nobody used, an operator", olga(), used(false, None)),
        ("grants that nobody used, to review", lee(), used(false, None)),
        ("grants that somebody used, an operator", olga(), used(true, None)),
        ("grants that somebody used, to review", lee(), used(true, None)),
        ("expired grants that somebody used, to review", lee(), used(true, Some(GrantStateWord::Expired))),
        (
            "grants of an action that nobody used, to review",
            lee(),
            GrantFilter { only: Only { action: close(), service: service(), ..only() }, ..used(false, None) },
        ),
    ];
    for (name, reader, filter) in grants {
        let mut taken = Vec::new();
        for _ in 0..15 {
            #[expect(clippy::disallowed_methods, reason = "it is time that is measured")]
            let begun = Instant::now();
            world.app.grants(&reader, &filter, &page(200, None)).await.unwrap();
            taken.push(begun.elapsed());
        }
        taken.sort_unstable();
        told.push(format!("{name}: {:.1} ms", taken[taken.len() / 2].as_secs_f64() * 1_000.0));
        slowest = slowest.max(taken[taken.len() / 2]);
    }
    if world.db.is_postgres() {
        world.app.close().await;
        serve(&world.db, &SERVING).await;
    }
    println!("pages of 200 of {most} requests, medians:\n  {}", told.join("\n  "));
    if let Some(bound) = bound {
        assert!(slowest < bound, "a page takes {slowest:?}:\n{}", told.join("\n"));
    }
}
