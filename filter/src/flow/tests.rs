//! Calls as the proxy shows them, and what becomes of them: one table over a filter that follows a small control plane.

use grantmesh_shared::id::{GrantId, VmId};
use grantmesh_shared::time::Span;
use grantmesh_shared::wire::holds::HoldItem;
use grantmesh_shared::wire::sync::VmIdentity;
use grantmesh_shared::wire::table::{Body, LockItem};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::headers::serialise;
use crate::reply::REQUEST_URL_HEADER;

mod hold;
mod offline;
mod world;

use world::ISSUER;
pub(crate) use world::{World, refunds_grant, world};

fn person(subject: &'static str, groups: &[&'static str]) -> Result<Identity<'static>, IdentityError> {
    Ok(Identity { user: Some((ISSUER, subject)), groups: groups.to_vec(), ..Identity::default() })
}

pub(super) struct Case {
    services: Vec<&'static str>,
    millis: u64,
    may_wait: bool,
    may_run: bool,
    /// What is known of a claim: `held`, `refused` or `over`, or there is no room for a use (`full`).
    claim: &'static str,
    room: bool,
    /// Whether the record that was written ahead was not acknowledged.
    late: bool,
    /// Whether it may be held, or how its request stands.
    holding: Holding<'static>,
    offline: Option<Result<&'static Offline, OfflineError>>,
    /// Whether the service was locked before.
    locked: bool,
    method_override: &'static str,
    /// Whether the module reads bodies, and has room for one more response.
    bodies: bool,
    room_to_mask: bool,
    hold_heads: bool,
    body: Option<Vec<u8>>,
    unread: Option<Unread>,
    identity: Result<Identity<'static>, IdentityError>,
    pub(super) headers: Vec<(Vec<u8>, Vec<u8>)>,
}

pub(super) fn case(method: &str, path: &str) -> Case {
    let header = |name: &str, value: &str| (name.as_bytes().to_vec(), value.as_bytes().to_vec());
    Case {
        services: vec!["payments"],
        millis: 100,
        may_wait: true,
        may_run: true,
        claim: "",
        room: true,
        late: false,
        holding: Holding::Never,
        offline: None,
        locked: false,
        method_override: "refuse",
        bodies: false,
        room_to_mask: true,
        hold_heads: true,
        body: None,
        unread: None,
        identity: person("ann", &["support"]),
        headers: vec![header(":method", method), header(":path", path), header(":authority", "pay.example:8080")],
    }
}

/// Every record is the call's own.
#[derive(Default)]
struct Alone {
    mask: bool,
    run: bool,
    claim: bool,
    /// What was asked to be added to a record.
    alike: Option<String>,
}

impl Vm for Alone {
    fn has_room(&self, of: Room) -> bool {
        match of {
            Room::Mask => self.mask,
            Room::Run => self.run,
            Room::Use => self.claim,
        }
    }

    fn join(&mut self, call: &Alike<'_>, _: Option<&str>) -> Result<Joined, Option<Key>> {
        self.alike = Some(format!("{call:?}"));
        Err(None)
    }
}

impl Case {
    fn with(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.as_bytes().to_vec(), value.as_ref().to_vec()));
        self
    }

    pub(super) fn run(self) -> Ran {
        let mut world = world(&self.services);
        if self.locked {
            let lock = LockItem {
                id: "lock_00000000000000000000000000".parse().unwrap(),
                subject: None,
                service: Some("payments".to_owned()),
                action: None,
                reason: "lost".to_owned(),
                expires_at: None,
            };
            world.tell(50, &[Body::Lock(lock)], &[]);
        }
        let World { mut config, sync, .. } = world;
        config.method_override = serde_json::from_value(json!(self.method_override)).unwrap();
        config.bodies.hold_heads = self.hold_heads;
        let pairs: Vec<(&[u8], &[u8])> =
            self.headers.iter().map(|(name, value)| (name.as_slice(), value.as_slice())).collect();
        let map = serialise(&pairs);
        let counted = GrantId::new(3, [3; 10]);
        let knowledge = Knowledge {
            config: &config,
            sync: &sync,
            records: match (self.late, self.room) {
                (true, _) => RecordsState::Unacknowledged,
                (false, true) => RecordsState::Room,
                (false, false) => RecordsState::Full,
            },
            may_wait: self.may_wait,
            claim: ClaimState {
                claims: match self.claim {
                    "held" => Claims::Held(&counted),
                    "refused" => Claims::Refused(std::slice::from_ref(&counted)),
                    _ => Claims::None,
                },
                is_over: self.claim == "over",
            },
            holding: self.holding,
            offline: self.offline,
            mono: Mono::from_millis(self.millis),
        };
        if self.bodies {
            callbacks::there_are_for_bodies();
        }
        let id = || DecisionId::new(5, [5; 10]);
        let own = |event: Box<DecisionEvent<'_>>| Some(Box::new(event.into_owned()));
        let shown = match (&self.body, self.unread) {
            (_, Some(unread)) => Shown::Never(unread),
            (Some(body), None) => Shown::Whole(body),
            (None, None) => Shown::Head,
        };
        let mut vm = Alone { mask: self.room_to_mask, run: self.may_run, claim: self.claim != "full", alike: None };
        let headers = Headers::parse(&map).unwrap();
        match run(knowledge, &mut vm, &headers, &self.identity, shown, id) {
            Outcome::Preflight => Ran { word: "preflight", ..Ran::default() },
            Outcome::Allow { service, record, masked, ends_at, claim, .. } => {
                let event = if let Recorded::Own(event, _) = record { own(event) } else { None };
                let word = match (masked.is_some(), claim) {
                    (true, false) => "mask",
                    (false, true) => "use",
                    _ => "allow",
                };
                let watched = ends_at.is_some();
                let (service, alike) = (Some(service.to_owned()), vm.alike);
                Ran { word, service, event, watched, alike, ..Ran::default() }
            }
            Outcome::AwaitBody { mode, may_mask } => {
                let word = if mode == BodyMode::Strict { "hold" } else { "head-first" };
                Ran { word, reason: if may_mask { "may mask" } else { "" }, ..Ran::default() }
            }
            Outcome::Wait(_) => Ran { word: "wait", ..Ran::default() },
            Outcome::Hold(Held { item, most }) => {
                let HoldItem { event, rule, call, justification, until } = *item;
                let item = HoldItem { event: event.into_owned(), rule, call, justification, until };
                Ran { word: "held", held: Some((item, most)), ..Ran::default() }
            }
            Outcome::Shadow { service, reason, event, .. } => {
                Ran { word: "shadow", service: Some(service.to_owned()), reason, event: own(event), ..Ran::default() }
            }
            Outcome::Refuse { service, word, reason, event, reply, .. } => {
                let service = service.map(str::to_owned);
                Ran { word: word.as_str(), service, reason, event: own(event), reply: Some(reply), ..Ran::default() }
            }
        }
    }

    #[track_caller]
    fn is(self, word: &str, reason: &str) -> Ran {
        let ran = self.run();
        assert_eq!((ran.word, ran.reason), (word, reason));
        if let (Some(reply), Some(event)) = (&ran.reply, &ran.event) {
            let problem: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
            assert_eq!(event.reasons[0], reason);
            if problem != Value::Null {
                assert_eq!(problem["reasons"][0]["code"], reason);
                assert_eq!((&problem["decision"], &problem["decision_id"]), (&json!(word), &json!(event.id)));
            }
            let status = match problem["code"].as_str().unwrap_or_default() {
                "ambiguous_call" | "two_keys" | "malformed_body" => 400,
                "body_late" => 408,
                "body_too_large" => 413,
                "body_type" | "body_encoding" => 415,
                "too_many_bodies" => 503,
                _ => 403,
            };
            assert_eq!(reply.status, status);
        }
        ran
    }
}

#[derive(Default)]
pub(super) struct Ran {
    word: &'static str,
    service: Option<String>,
    /// Whether it is to be reset once its grant ends.
    watched: bool,
    pub(super) reason: &'static str,
    pub(super) event: Option<Box<DecisionEvent<'static>>>,
    pub(super) reply: Option<Reply>,
    /// What is filed for a call that is held, and for how long that is.
    held: Option<(HoldItem<'static>, Span)>,
    /// What it may share a record by.
    alike: Option<String>,
}

mod bodies;
mod uses;

const REFUND: &str = "/v1/accounts/acc-1/refunds";

#[test]
fn a_condition_reads_the_header_that_it_names() {
    let note = "/v1/accounts/acc-1/notes";
    case("POST", note).with("x-ticket", "INC-1").is("allow", "");
    case("POST", note).with("x-ticket", "INC-2").is("deny", "no_role");
    // Missing: the condition cannot be judged, and that is recorded with its binding.
    let refused = case("POST", note).is("deny", "no_role").event.unwrap();
    assert_eq!(refused.condition_errors, ["with-ticket: missing"]);
    assert!(refused.reasons.contains(&"condition_errs".into()), "{:?}", refused.reasons);
    case("POST", note).with("x-ticket", "INC-1").with("x-ticket", "INC-1").is("deny", "two_values");
    case("POST", note).with("x-ticket", "\u{1}").is("deny", "malformed_header");
}

#[test]
fn opening_a_websocket_is_a_call_of_its_own_and_no_other_protocol_passes() {
    let account = "/v1/accounts/acc-1";
    case("GET", account).is("allow", "");
    let (key, version) = (("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="), ("sec-websocket-version", "13"));
    let with = |method: &str, protocol: &str| {
        case(method, account).with("upgrade", protocol).with(key.0, key.1).with(version.0, version.1)
    };
    let event = with("GET", "WebSocket").is("deny", "unmatched").event.unwrap();
    assert_eq!(event.method, "WEBSOCKET");
    for protocol in ["h2c", "TLS/1.0", "websocket, h2c", ""] {
        with("GET", protocol).is("deny", "upgrade");
    }
    with("POST", "websocket").is("deny", "upgrade");
    // A service answers these as the plain `GET` that they are.
    let opening = || case("GET", account).with("upgrade", "websocket");
    opening().with(key.0, key.1).is("deny", "upgrade");
    opening().with(version.0, version.1).is("deny", "upgrade");
    opening().with(key.0, key.1).with(version.0, "8").is("deny", "upgrade");
    case("WEBSOCKET", account).is("deny", "upgrade");
    case("GET", account).with("upgrade", "websocket").with("upgrade", "h2c").is("deny", "two_values");
}

#[test]
fn no_more_calls_under_grants_run_than_are_watched() {
    let refund = || case("POST", REFUND);
    assert!(refund().is("allow", "").watched);
    Case { may_run: false, ..refund() }.is("deny", "too_many_run");
    Case { may_run: false, ..case("GET", "/v1/accounts/acc-1") }.is("allow", "");
}

#[test]
fn shadow_lets_through_and_records_what_would_have_been() {
    let event = case("DELETE", "/v1/notes/acc-1").is("shadow", "no_role").event.unwrap();
    assert!(event.shadow && event.decision == DecisionWord::Deny);
    assert_eq!(event.action.as_deref(), Some("note.drop"));
    // Only that action is in shadow: what leads to none is the service's matter.
    case("DELETE", "/v1/notes/acc-1/").is("deny", "trailing_slash");
    // Nothing would reset a call there, so nothing watches it.
    assert!(!case("DELETE", "/v1/notes/acc-2").is("allow", "").watched);
}

#[test]
fn a_record_written_ahead_counts_whatever_a_second_draw_of_the_sample_says() {
    let open = || case("POST", "/v1/vaults/acc-1");
    assert_eq!(open().is("allow", "").event, None, "not in the sample");
    Case { late: true, ..open() }.is("deny", "record_unacknowledged");
}

#[test]
fn what_should_be_masked_is_refused_as_long_as_nothing_masks() {
    let event = case("GET", "/v1/cards/acc-1").is("deny", "cannot_mask").event.unwrap();
    assert_eq!(event.action.as_deref(), Some("card.read"));
}

#[test]
fn a_deny_rule_is_above_roles_and_grants() {
    let contractor = || person("ann", &["support", "contractors"]);
    let mut reading = case("GET", "/v1/accounts/acc-1");
    reading.identity = contractor();
    reading.is("deny", "deny_rule");
    let mut granted = case("POST", REFUND);
    granted.identity = contractor();
    let ran = granted.is("deny", "deny_rule");
    let body = String::from_utf8(ran.reply.unwrap().body).unwrap();
    assert!(body.contains("ask an employee"), "{body}");
    let mut unmatched = case("GET", "/nowhere");
    unmatched.identity = contractor();
    unmatched.is("deny", "deny_rule");
}

#[test]
fn roles_and_grants_let_through_and_are_recorded_as_told() {
    let granted = case("POST", REFUND).with("x-request-id", "req-7").is("allow", "").event.unwrap();
    assert_eq!(granted.grant, Some(GrantId::new(1, [1; 10])));
    assert_eq!(
        (granted.action.as_deref(), granted.resource.as_deref()),
        (Some("refund.create"), Some("account/acc-1"))
    );
    assert_eq!((&*granted.path, granted.request_id.as_deref()), (REFUND, Some("req-7")));
    assert_eq!((granted.subject.as_deref(), granted.position.unwrap().revision), (Some("ann"), 7));
    assert!(case("GET", "/v1/accounts/acc-1").is("allow", "").event.is_none(), "only counted");
    let by_role = case("DELETE", "/v1/accounts/acc-1?force=1").is("allow", "").event.unwrap();
    assert_eq!((by_role.binding.as_deref(), &*by_role.path), (Some("support"), "/v1/accounts/acc-1"));
}

#[test]
fn refusals_say_why_and_how_to_ask() {
    let asked = case("POST", "/v1/accounts/acc-2/refunds").is("ask", "no_role");
    let url = "http://cp/v1/requests/new?service=payments&action=refund.create&resource=account%2Facc-2";
    assert!(asked.reply.unwrap().headers.contains(&(REQUEST_URL_HEADER, url.to_owned())));
    Case { identity: person("eve", &[]), ..case("POST", REFUND) }.is("deny", "no_role");
    Case { identity: Ok(Identity::default()), ..case("POST", REFUND) }.is("deny", "no_principal");
    case("GET", "/nowhere").is("deny", "unmatched");
    let grpc = case("POST", "/pay.Refunds/Create").with("content-type", "application/grpc").run().reply.unwrap();
    assert!(grpc.body.starts_with(b"approval required: ") && grpc.grpc_status == 7);
    let grpc = case("POST", "/v1/accounts/acc-2/refunds").with("content-type", "application/grpc").run().reply.unwrap();
    assert!(grpc.body.starts_with(b"ambiguous call: ") && grpc.grpc_status == 3);
}

#[test]
fn a_bad_identity_is_worse_than_none() {
    for error in
        [IdentityError::Metadata, IdentityError::TooManyGroups, IdentityError::Claim("sub"), IdentityError::Workload]
    {
        let ran = Case { identity: Err(error), ..case("GET", "/v1/accounts/acc-1") }.is("deny", "bad_identity");
        assert_eq!(ran.event.unwrap().subject, None);
    }
}

#[test]
fn what_can_be_read_in_two_ways_is_refused() {
    let refund = || case("POST", REFUND);
    refund().with("x-http-method-override", "GET").is("deny", "method_override");
    refund().with("x-http-method", "GET").is("deny", "method_override");
    refund().with("x-method-override", "GET").is("deny", "method_override");
    refund().with("host", "other.example").is("deny", "two_values");
    refund().with("host", "pay.example").is("deny", "two_values");
    refund().with("host", "pay.example:8080,other.example").is("deny", "two_values");
    refund().with("host", "PAY.example:8080").is("allow", "");
    refund().with("authorization", "Bearer a").with("authorization", "Bearer a").is("deny", "two_values");
    refund().with("authorization", "Bearer a,Bearer b").is("deny", "two_values");
    refund().with("authorization", "Digest a=b, c=d").is("allow", "");
    refund().with(":path", "/x").is("deny", "two_values");
    refund().with("x-bytes", b"\xff\xfe\0").is("allow", "");
    refund().with("x-long", vec![b'a'; 200_000]).is("allow", "");
    refund().with("x-long", vec![b'a'; 300_000]).is("deny", "malformed_header");
    let many = |count: usize| (3..count).fold(refund(), |case, _| case.with("x-many", "1"));
    many(512).is("allow", "");
    many(513).is("deny", "malformed_header");
    for host in ["a b", "user@a", "a/b", "\u{e9}", "a\0"] {
        let mut case = refund();
        case.headers[2].1 = host.as_bytes().to_vec();
        case.is("deny", "malformed_header");
    }
    for (method, path, reason) in [
        ("POST", "/v1/accounts/acc-1%2frefunds", "ambiguous_escape"),
        ("POST", "/v1//accounts/acc-1/refunds", "empty_segment"),
        ("POST", "/v1/accounts/../accounts/acc-1/refunds", "dot_segment"),
        ("POST", "/v1/accounts/acc-1/refunds/", "trailing_slash"),
        ("post", REFUND, "ambiguous_method"),
        ("CONNECT", "", "no_leading_slash"),
        ("POST", "/v1/accounts/caf\u{e9}/refunds", "ambiguous_byte"),
    ] {
        case(method, path).is("deny", reason);
    }
    let event = case("P\u{d6}ST", "/a\u{0}b?c=d").run().event.unwrap();
    assert_eq!((&*event.method, &*event.path), ("P\\xc3\\x96ST", "/a\\x00b"));
}

#[test]
fn method_overrides_pass_where_the_configuration_says_that_nobody_honours_them() {
    let form = || case("POST", REFUND).with("content-type", "application/x-www-form-urlencoded");
    let parameter = || case("POST", "/v1/accounts/acc-1/refunds?_method=PUT");
    let with = |case: Case, method_override| Case { method_override, ..case };
    with(form(), "allow_forms").is("allow", "");
    with(parameter(), "allow_forms").is("deny", "method_override");
    with(form(), "ignored").is("allow", "");
    with(parameter(), "ignored").is("allow", "");
    with(form().with("x-http-method-override", "PUT"), "ignored").is("allow", "");
    with(form().with("x-original-url", "/"), "ignored").is("deny", "path_override");
}

#[test]
fn what_is_not_known_well_enough_refuses() {
    let read = || case("GET", "/v1/accounts/acc-1");
    Case { millis: 2_990, ..case("POST", REFUND) }.is("allow", "");
    Case { millis: 3_000, ..case("POST", REFUND) }.is("ask", "no_role");
    Case { millis: 5_000, ..case("POST", REFUND) }.is("deny", "stale");
    Case { millis: 29_999, ..case("DELETE", "/v1/accounts/a") }.is("allow", "");
    Case { millis: 30_000, ..case("DELETE", "/v1/accounts/a") }.is("deny", "stale");
    Case { millis: 30_000, ..case("GET", "/nowhere") }.is("deny", "stale");
    Case { millis: 299_999, ..read() }.is("allow", "");
    Case { millis: 300_000, ..read() }.is("deny", "stale");
    let World { config, .. } = world(&["payments"]);
    let filter = VmIdentity { vm: VmId::new(0, [0; 10]), node: String::new(), services: vec![] };
    let cold = Sync::new(filter, config.keys.clone());
    let knowledge = Knowledge {
        config: &config,
        sync: &cold,
        records: RecordsState::Room,
        may_wait: false,
        claim: ClaimState::default(),
        holding: Holding::Never,
        offline: None,
        mono: Mono::from_millis(9),
    };
    let map = serialise(&[(b":method", b"GET"), (b":path", b"/v1/accounts/a")]);
    let identity = person("ann", &["support"]);
    let outcome = run(
        knowledge,
        &mut Alone { mask: true, run: true, claim: true, alike: None },
        &Headers::parse(&map).unwrap(),
        &identity,
        Shown::Head,
        || DecisionId::new(1, [0; 10]),
    );
    assert!(matches!(outcome, Outcome::Refuse { reason: "not_ready", .. }), "{outcome:?}");
}

#[test]
fn a_caller_who_has_heard_of_more_waits_instead_of_being_refused_and_is_never_allowed_for_it() {
    let other = || case("POST", "/v1/accounts/acc-2/refunds");
    let heard = |case: Case, token: &str| case.with("x-grantmesh-revision", token);
    // The filter is at 1.7.
    for token in ["1.8", "2.0", "18446744073709551615.0"] {
        heard(other(), token).is("wait", "");
        heard(case("POST", REFUND), token).is("allow", "");
        Case { may_wait: false, ..heard(other(), token) }.is("ask", "no_role");
        // What no state could change is not waited for.
        heard(case("POST", "/v1/accounts/a%2fb/refunds"), token).is("deny", "ambiguous_escape");
        Case { identity: Err(IdentityError::Metadata), ..heard(other(), token) }.is("deny", "bad_identity");
        Case { room: false, ..heard(case("POST", REFUND), token) }.is("deny", "records_backlog");
        Case { millis: 5_000, ..heard(case("POST", REFUND), token) }.is("wait", "");
    }
    for token in ["1.7", "1.6", "0.9", "", "x", "1.8.1", "-1.8", "99999999999999999999.1"] {
        heard(other(), token).is("ask", "no_role");
    }
    heard(heard(other(), "1.9"), "1.8").is("wait", "");
}

#[test]
fn without_room_for_its_record_only_a_harmless_call_goes_on() {
    let full = |case: Case| Case { room: false, ..case };
    full(case("POST", REFUND)).is("deny", "records_backlog");
    full(case("DELETE", "/v1/accounts/a")).is("deny", "records_backlog");
    assert!(full(case("GET", "/v1/accounts/a/history")).is("allow", "").event.is_some(), "kept or counted as dropped");
    full(case("GET", "/v1/accounts/a")).is("allow", "");
}

#[test]
fn the_service_is_the_only_one_or_the_hosts() {
    let both = |case: Case| Case { services: vec!["payments", "ledger"], ..case };
    let mut elsewhere = case("GET", "/v1/accounts/a");
    elsewhere.headers[2].1 = b"anything".to_vec();
    assert_eq!(elsewhere.is("allow", "").service.as_deref(), Some("payments"));
    for (host, expected) in [("pay.example", "payments"), ("ledger.EXAMPLE:443", "ledger")] {
        let mut case = both(case("GET", "/v1/accounts/a"));
        case.headers[2].1 = host.as_bytes().to_vec();
        assert_eq!(case.is("allow", "").service.as_deref(), Some(expected));
    }
    let mut unknown = both(case("GET", "/v1/accounts/a"));
    unknown.headers[2].1 = b"other.example".to_vec();
    assert_eq!(unknown.is("deny", "unknown_host").service, None);
    Case { services: vec!["absent"], ..case("GET", "/v1/accounts/a") }.is("deny", "unknown_service");
}

#[test]
fn preflights_pass_only_as_preflights() {
    let preflight =
        || case("OPTIONS", REFUND).with("origin", "https://a").with("access-control-request-method", "POST");
    preflight().is("preflight", "");
    preflight().with("x-http-method-override", "POST").is("deny", "method_override");
    let mut twice = preflight();
    twice.headers[1].1 = b"/v1//accounts".to_vec();
    twice.is("deny", "empty_segment");
    case("OPTIONS", REFUND).with("origin", "https://a").is("deny", "unmatched");
}

#[test]
fn the_longest_event_fits_a_record() {
    let long = "a".repeat(8_000);
    let ran = case("POST", &format!("/v1/accounts/{long}/refunds")).with("x-request-id", "i".repeat(128)).run();
    let event = ran.event.unwrap();
    assert!(serde_json::to_vec(&event).unwrap().len() < 8_000);
    let quotes = "\"".repeat(8_000);
    let event = case("\"\\\"", &format!("/{quotes}")).run().event.unwrap();
    assert!(serde_json::to_vec(&event).unwrap().len() < 8_000);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    /// Whatever the headers are, a call goes on only as the one that the grant or role names.
    #[test]
    fn only_what_is_allowed_goes_on(
        method in prop_oneof![Just(b"POST".to_vec()), Just(b"GET".to_vec()), any::<Vec<u8>>()],
        path in prop_oneof![
            Just(REFUND.as_bytes().to_vec()),
            "/v1/accounts/[a-z0-9./%;-]{0,12}(/refunds)?".prop_map(String::into_bytes),
            any::<Vec<u8>>()
        ],
        more: Vec<(Vec<u8>, Vec<u8>)>,
    ) {
        let mut case = Case { identity: person("ann", &[]), ..case("", "") };
        case.headers[0].1 = method.clone();
        case.headers[1].1 = path.clone();
        case.headers.extend(more);
        if case.run().word == "allow" {
            prop_assert_eq!(method, b"POST");
            prop_assert_eq!(path.split(|byte| *byte == b'?').next(), Some(REFUND.as_bytes()));
        }
    }
}

/// What [`Alike`] leaves out would be told of every call that shares a record as it is of the first.
#[test]
fn what_calls_alike_have_in_common_is_all_that_their_records_tell() {
    let history = "/v1/accounts/acc-1/history";
    let (by_role, closed) = (["/v1/accounts/acc-2/history", history], "/v1/accounts/acc-1");
    let mut cases = Vec::new();
    let by_grant = ("DELETE", "/v1/notes/acc-2");
    for (method, path) in by_role.map(|path| ("GET", path)).into_iter().chain([("DELETE", closed), by_grant]) {
        for (subject, groups) in [("ann", &["support"][..]), ("ann", &["support", "leads"]), ("bob", &["support"])] {
            for workload in [None, Some("spiffe://mesh.example/ns/a/sa/b")] {
                let identity = person(subject, groups).map(|user| Identity { workload, ..user });
                cases.push(Case { identity, ..case(method, path).with("x-request-id", "r-1") });
            }
        }
    }
    cases.push(case("GET", &format!("{history}?a=b")).with("x-request-id", "r-1"));
    let ran: Vec<Ran> = cases.into_iter().map(Case::run).filter(|ran| ran.alike.is_some()).collect();
    for one in &ran {
        for other in &ran {
            assert_eq!(one.alike == other.alike, one.event == other.event, "{:?} and {:?}", one.event, other.event);
        }
    }
    let different: std::collections::BTreeSet<&String> = ran.iter().filter_map(|ran| ran.alike.as_ref()).collect();
    assert!(different.len() >= 6 && different.len() < ran.len(), "{different:?}");
    // What is written ahead, or was held and so is known by its decision's id, is for itself.
    assert_eq!(case("POST", REFUND).is("allow", "").alike, None);
    let standing = Box::leak(Box::default());
    let held = Case { holding: Holding::Over(standing), ..case("GET", history) };
    assert_eq!(held.is("allow", "").alike, None);
    assert!(case("GET", history).is("allow", "").alike.is_some());
}
