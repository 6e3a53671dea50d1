//! Events in their final bytes, and the heads of the records around them: JSON written by hand, since it is done for every
//! call under a grant and a general writer takes several times as long. Byte for byte what serde makes of
//! [`grantmesh_shared::wire::records::Record`], which tests compare. Called by `records`, and through it by `plugin`; it never
//! refuses an event.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use grantmesh_shared::id::{DecisionId, GrantId, UseId};
use grantmesh_shared::time::Timestamp;
use grantmesh_shared::wire::records::{DecisionEvent, DecisionWord, MAX_RECORD_BYTES};
use grantmesh_shared::wire::signature::Sha256Hash;
use grantmesh_shared::wire::sync::Position;

/// As long as the JSON of most events.
const USUAL_BYTES: usize = 512;

/// The most bytes of a record around its event and its calls: three numbers of 20 digits, a hash, and the names.
pub(super) const MAX_HEAD_BYTES: usize = 208;

/// What a record tells: its [`grantmesh_shared::wire::records::Event`], shared by all who keep it, and the calls that were
/// let through by the same decision after the first. Those may grow until the record is sealed.
#[derive(Debug, Default)]
pub struct Told {
    /// The JSON of the event, with its first call alone.
    event: Vec<u8>,
    /// Where in it the count goes.
    count_at: usize,
    grant: Option<GrantId>,
    /// How many decisions it accounts for.
    decisions: Cell<u64>,
    /// The JSON of the calls after the first, with a comma after each.
    more: RefCell<Vec<u8>>,
}

/// Shared by the queue and the calls that run.
pub type Written = Rc<Told>;

impl Told {
    /// An event in JSON, which accounts for one decision, by this grant.
    #[must_use]
    pub fn new(event: Vec<u8>, grant: Option<GrantId>) -> Self {
        Self { event, grant, decisions: Cell::new(1), ..Self::default() }
    }

    /// The JSON of the event, with its first call alone.
    #[must_use]
    pub fn event(&self) -> &[u8] {
        &self.event
    }

    /// The grant that it names.
    #[must_use]
    pub const fn grant(&self) -> Option<&GrantId> {
        self.grant.as_ref()
    }

    /// How many decisions it accounts for.
    #[must_use]
    pub fn decisions(&self) -> u64 {
        self.decisions.get()
    }

    /// The JSON of the calls after the first: a list of [`grantmesh_shared::wire::records::MoreCall`].
    #[must_use]
    pub fn more(&self) -> Vec<u8> {
        let more = self.more.try_borrow();
        let more = more.as_ref().ok().and_then(|more| more.strip_suffix(b","));
        [b"[", more.unwrap_or_default(), b"]"].concat()
    }

    /// How many bytes it has so far.
    pub(super) fn bytes(&self) -> usize {
        self.event.len().saturating_add(self.more.try_borrow().map_or(0, |more| more.len()))
    }

    /// How many bytes its record has at most.
    pub(super) fn most_bytes(&self) -> usize {
        self.bytes().saturating_add(MAX_HEAD_BYTES)
    }

    /// Takes in a call that is alike and came so many milliseconds after the first. Gives how many bytes that took; nothing
    /// if there is no room for it.
    pub(crate) fn take(&self, after_ms: u64, request_id: Option<&str>) -> Option<usize> {
        let most = MAX_MORE_BYTES.saturating_add(request_id.map_or(0, |id| id.len().saturating_mul(MAX_ESCAPED_BYTES)));
        if self.most_bytes().saturating_add(most) > MAX_RECORD_BYTES {
            return None;
        }
        let mut more = self.more.try_borrow_mut().ok()?;
        let before = more.len();
        let mut json = Json(std::mem::take(&mut *more));
        json.number(r#"{"after_ms":"#, after_ms);
        json.optional(r#","request_id":"#, request_id);
        json.raw("},");
        *more = json.0;
        self.decisions.set(self.decisions.get().saturating_add(1));
        Some(more.len().saturating_sub(before))
    }
}

/// The most bytes of a call after the first, its request id apart.
const MAX_MORE_BYTES: usize = 52;

/// The most bytes that JSON has for one of a text.
const MAX_ESCAPED_BYTES: usize = 6;

/// What a decision's record tells.
#[must_use]
pub fn decision(event: &DecisionEvent<'_>) -> Written {
    // Every field by its name, so that a new one is not forgotten here.
    let DecisionEvent {
        id,
        decision,
        count,
        instead_of,
        ended,
        service,
        action,
        resource,
        method,
        path,
        issuer,
        subject,
        groups,
        workload,
        grant,
        break_glass,
        offline,
        use_id,
        binding,
        shadow,
        condition_errors,
        reasons,
        request_id,
        position,
        // Of one call: those after it come later, to what is kept.
        more: _,
    } = event;
    let mut json = Json(Vec::with_capacity(USUAL_BYTES));
    json.raw(r#"{"kind":"decision","id":""#);
    json.raw(id.as_str());
    json.raw(match decision {
        DecisionWord::Allow => r#"","decision":"allow""#,
        DecisionWord::Ask => r#"","decision":"ask""#,
        DecisionWord::Deny => r#"","decision":"deny""#,
    });
    let count_at = json.0.len();
    if *count != 1 {
        json.number(r#","count":"#, *count);
    }
    json.id(r#","instead_of":""#, instead_of.as_ref().map(DecisionId::as_str));
    json.id(r#","ended":""#, ended.as_ref().map(DecisionId::as_str));
    json.text(r#","service":"#, service);
    json.optional(r#","action":"#, action.as_deref());
    json.optional(r#","resource":"#, resource.as_deref());
    json.text(r#","method":"#, method);
    json.text(r#","path":"#, path);
    json.optional(r#","issuer":"#, issuer.as_deref());
    json.optional(r#","subject":"#, subject.as_deref());
    if let Some(groups) = groups {
        json.list(r#","groups":["#, groups.iter().map(AsRef::as_ref));
    }
    json.optional(r#","workload":"#, workload.as_deref());
    json.id(r#","grant":""#, grant.as_ref().map(GrantId::as_str));
    json.flag(r#","break_glass":true"#, *break_glass);
    json.flag(r#","offline":true"#, *offline);
    json.id(r#","use":""#, use_id.as_ref().map(UseId::as_str));
    json.optional(r#","binding":"#, binding.as_deref());
    json.flag(r#","shadow":true"#, *shadow);
    if !condition_errors.is_empty() {
        json.list(r#","condition_errors":["#, condition_errors.iter().map(AsRef::as_ref));
    }
    if !reasons.is_empty() {
        json.list(r#","reasons":["#, reasons.iter().map(AsRef::as_ref));
    }
    json.optional(r#","request_id":"#, request_id.as_deref());
    if let Some(Position { epoch, revision }) = position {
        json.number(r#","position":{"epoch":"#, *epoch);
        json.number(r#","revision":"#, *revision);
        json.raw("}");
    }
    json.raw("}");
    let (decisions, more) = (Cell::new(*count), RefCell::default());
    Rc::new(Told { event: json.0, count_at, grant: grant.clone(), decisions, more })
}

/// What the record tells that counts what was dropped.
pub(super) fn gap(dropped: u64) -> Written {
    let mut json = Json(Vec::new());
    json.number(r#"{"kind":"gap","dropped":"#, dropped);
    json.raw("}");
    Rc::new(Told { event: json.0, decisions: Cell::new(dropped), ..Told::default() })
}

/// Adds a [`grantmesh_shared::wire::records::Record`] that tells this.
pub(super) fn record(into: Vec<u8>, seq: u64, prev: &Sha256Hash, at: Timestamp, told: &Told) -> Vec<u8> {
    let mut json = Json(into);
    json.number(r#"{"seq":"#, seq);
    json.raw(r#","prev":""#);
    json.0.extend_from_slice(&hexadecimal(prev));
    json.raw(r#"","at":"#);
    json.raw(itoa::Buffer::new().format(at.millis()));
    json.raw(r#","event":"#);
    // Nothing else holds it: it is lent for a moment at a time.
    let more = told.more.try_borrow();
    match more.as_ref().ok().and_then(|more| more.strip_suffix(b",")) {
        None => json.0.extend_from_slice(&told.event),
        Some(more) => {
            let (head, rest) = told.event.split_at_checked(told.count_at).unwrap_or_default();
            json.0.extend_from_slice(head);
            json.number(r#","count":"#, told.decisions());
            json.0.extend_from_slice(rest.strip_suffix(b"}").unwrap_or_default());
            json.raw(r#","more":["#);
            json.0.extend_from_slice(more);
            json.raw("]}");
        }
    }
    json.raw("}");
    json.0
}

/// Digit by digit: to format a hash would take longer than all the rest.
fn hexadecimal(hash: &Sha256Hash) -> [u8; 64] {
    let digit = |nibble: u8| b"0123456789abcdef".get(usize::from(nibble)).copied().unwrap_or_default();
    let mut digits = [0; 64];
    let (pairs, _) = digits.as_chunks_mut::<2>();
    for (pair, byte) in pairs.iter_mut().zip(hash.0) {
        *pair = [digit(byte >> 4), digit(byte & 15)];
    }
    digits
}

struct Json(Vec<u8>);

impl Json {
    /// Inlined, as all that takes names: where the length is known the compiler copies by a few stores, and otherwise by a
    /// call out of the module.
    #[inline(always)]
    fn raw(&mut self, text: &str) {
        self.0.extend_from_slice(text.as_bytes());
    }

    #[inline(always)]
    fn flag(&mut self, field: &str, is_set: bool) {
        if is_set {
            self.raw(field);
        }
    }

    #[inline(always)]
    fn number(&mut self, name: &str, number: u64) {
        self.raw(name);
        self.digits(number);
    }

    /// An id, which has nothing to be escaped; the quote before it is the name's.
    #[inline(always)]
    fn id(&mut self, name: &str, id: Option<&str>) {
        if let Some(id) = id {
            self.raw(name);
            self.raw(id);
            self.0.push(b'"');
        }
    }

    #[inline(always)]
    fn optional(&mut self, name: &str, text: Option<&str>) {
        if let Some(text) = text {
            self.text(name, text);
        }
    }

    #[inline(always)]
    fn text(&mut self, name: &str, text: &str) {
        self.raw(name);
        self.quoted(text);
    }

    fn list<'t>(&mut self, name: &str, texts: impl Iterator<Item = &'t str>) {
        self.raw(name);
        for (place, text) in texts.enumerate() {
            if place > 0 {
                self.0.push(b',');
            }
            self.quoted(text);
        }
        self.0.push(b']');
    }

    #[inline(never)]
    fn digits(&mut self, number: u64) {
        self.0.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
    }

    #[inline(never)]
    fn quoted(&mut self, text: &str) {
        let is_plain = text.bytes().fold(true, |plain, byte| plain & (byte >= b' ') & (byte != b'"') & (byte != b'\\'));
        if is_plain {
            self.0.reserve(text.len().saturating_add(2));
            self.0.push(b'"');
            self.0.extend_from_slice(text.as_bytes());
            self.0.push(b'"');
        } else {
            self.escaped(text);
        }
    }

    #[cold]
    fn escaped(&mut self, text: &str) {
        // It fails only where the writer does, and a vector never does.
        let _written = serde_json::to_writer(&mut self.0, text);
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use grantmesh_shared::wire::records::{Event, MoreCall, Record};
    use proptest::prelude::*;

    use super::*;

    fn text() -> impl Strategy<Value = Cow<'static, str>> {
        prop_oneof![any::<String>(), "[ -~]{0,40}", "[\\x00-\\x1f\"\\\\\\x7fé…]{0,8}"].prop_map(Cow::from)
    }

    fn texts() -> impl Strategy<Value = Vec<Cow<'static, str>>> {
        prop::collection::vec(text(), 0..4)
    }

    fn word() -> impl Strategy<Value = DecisionWord> {
        prop_oneof![Just(DecisionWord::Allow), Just(DecisionWord::Ask), Just(DecisionWord::Deny)]
    }

    fn id() -> impl Strategy<Value = DecisionId> {
        any::<u128>().prop_map(DecisionId::from_bits)
    }

    fn event() -> impl Strategy<Value = DecisionEvent<'static>> {
        let some = || prop::option::of(text());
        let ids = (id(), prop::option::of(id()), prop::option::of(id()), any::<Option<u128>>(), any::<Option<u128>>());
        let flags = any::<(bool, bool, bool)>();
        let call = (word(), prop_oneof![Just(1), any::<u64>()], text(), text(), text(), some(), some());
        let who = (some(), some(), prop::option::of(texts()), some(), some());
        let rest = (texts(), texts(), some(), any::<Option<(u64, u64)>>());
        (ids, flags, call, who, rest).prop_map(|(ids, flags, call, who, rest)| {
            let (id, instead_of, ended, grant, use_id) = ids;
            let (break_glass, offline, shadow) = flags;
            let (decision, count, service, method, path, action, resource) = call;
            let (issuer, subject, groups, workload, binding) = who;
            let (condition_errors, reasons, request_id, position) = rest;
            DecisionEvent {
                id,
                decision,
                count,
                instead_of,
                ended,
                service,
                action,
                resource,
                method,
                path,
                issuer,
                subject,
                groups,
                workload,
                grant: grant.map(GrantId::from_bits),
                break_glass,
                offline,
                use_id: use_id.map(UseId::from_bits),
                binding,
                shadow,
                condition_errors,
                reasons,
                request_id,
                position: position.map(|(epoch, revision)| Position { epoch, revision }),
                more: vec![],
            }
        })
    }

    proptest! {
        #[test]
        fn an_event_is_written_as_serde_would(event in event()) {
            let written = decision(&event);
            prop_assert_eq!(written.decisions(), event.count);
            let expected = serde_json::to_string(&Event::Decision(Box::new(event))).unwrap();
            prop_assert_eq!(std::str::from_utf8(written.event()).unwrap(), expected);
        }

        #[test]
        fn calls_alike_are_written_as_serde_would(
            event in event(),
            more in prop::collection::vec((any::<u64>(), prop::option::of(text())), 1..5),
        ) {
            let mut event = DecisionEvent { count: 1, decision: DecisionWord::Allow, ..event };
            let first = decision(&event);
            for (after_ms, request_id) in &more {
                let before = first.bytes();
                prop_assert_eq!(first.take(*after_ms, request_id.as_deref()), Some(first.bytes() - before));
            }
            let calls = more.into_iter().map(|(after_ms, id)| MoreCall { after_ms, request_id: id });
            (event.count, event.more) = (1, calls.collect());
            event.count += u64::try_from(event.more.len()).unwrap();
            prop_assert_eq!(&serde_json::from_slice::<Vec<MoreCall<'_>>>(&first.more()).unwrap(), &event.more);
            let (prev, at) = (Sha256Hash::default(), Timestamp::from_millis(7));
            let written = record(vec![], 1, &prev, at, &first);
            prop_assert!(written.len() <= first.most_bytes());
            let expected = Record { seq: 1, prev, at, event: Event::Decision(Box::new(event)) };
            prop_assert_eq!(std::str::from_utf8(&written).unwrap(), serde_json::to_string(&expected).unwrap());
        }

        #[test]
        fn a_record_is_written_as_serde_would(seq: u64, prev: [u8; 32], millis: i64, dropped: u64) {
            let (prev, at) = (Sha256Hash(prev), Timestamp::from_millis(millis));
            let written = record(vec![], seq, &prev, at, &gap(dropped));
            let expected = serde_json::to_string(&Record { seq, prev, at, event: Event::Gap { dropped } }).unwrap();
            prop_assert_eq!(std::str::from_utf8(&written).unwrap(), expected);
        }
    }
}
