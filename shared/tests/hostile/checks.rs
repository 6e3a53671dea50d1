//! What must hold of any input at all: nothing panics, what is accepted keeps its bounds and reads back as itself.
//! The bodies of the fuzz targets in `shared/fuzz` and of the properties beside this file; both include it.

use grantmesh_shared::body::{self, BodyError, BodyValue};
use grantmesh_shared::engine::condition::{MAX_COST, MAX_DEPTH, MAX_NODES};
use grantmesh_shared::engine::{
    BodyFacts, Call, Condition, Context, Criticality, FactValue, Facts, Form, Fuel, MAX_PATH_BYTES, MAX_SEGMENTS, Now,
    Principal, Table, Verdict, canonical_path, decide,
};
use grantmesh_shared::time::Timestamp;
use grantmesh_shared::wire::condition::FormItem;
use grantmesh_shared::wire::policy::{FactType, MAX_SOURCE_BYTES, PolicyFile, Scope, compile, compile_form, parse};
use grantmesh_shared::wire::table::{Body, Item};

const NOW: Now = Now { earliest: Timestamp::from_millis(1_000), latest: Timestamp::from_millis(1_002) };

/// Policy documents: every fault has a text, what compiles is understood by filters.
pub(crate) fn documents(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let files = [PolicyFile { name: "policy.yaml".to_owned(), text: text.to_owned() }];
    let outcome = parse(&files).and_then(|documents| compile(&documents));
    match outcome {
        Ok(policy) => {
            for service in policy.services {
                let item = Body::Service(service).into_item().unwrap();
                let mut table = Table::default();
                item.parse().unwrap().put_into(&mut table);
                decisions(&table);
            }
        }
        Err(faults) => {
            assert!(!faults.is_empty());
            assert!(faults.iter().all(|fault| !fault.message.is_empty() && fault.to_string().len() < 16_384));
        }
    }
}

/// A condition: what compiles is within its bounds, evaluates, and reads back from the wire as itself.
pub(crate) fn condition(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let scope = Scope {
        params: names(&["account"]),
        query: names(&["dry"]),
        headers: names(&["x-ticket"]),
        claims: vec![("level".to_owned(), FactType::Number), ("teams".to_owned(), FactType::Texts)],
        fields: vec![("amount".to_owned(), FactType::Number)],
        signals: names(&["incident.open"]),
        said_of: names(&["on.call"]),
        no_body: None,
    };
    match compile_form(text, &scope) {
        Ok(compiled) => {
            assert!(text.len() <= MAX_SOURCE_BYTES);
            evaluates(&compiled);
        }
        Err(fault) => {
            assert!(!fault.message.is_empty());
            assert!(fault.offset.saturating_add(fault.length) <= text.len(), "{fault:?}");
            // The place is between characters, so that it can be shown.
            assert!(text.get(fault.offset..fault.offset + fault.length).is_some(), "{fault:?}");
        }
    }
}

/// A compiled form as it comes from the network.
pub(crate) fn form(bytes: &[u8]) {
    let Ok(item) = serde_json::from_slice::<FormItem>(bytes) else { return };
    if let Ok(form) = Form::try_from(item) {
        evaluates(&form);
    }
}

fn evaluates(form: &Form) {
    assert!(form.nodes().len() <= MAX_NODES && form.cost() <= MAX_COST);
    let mut depths: Vec<u16> = Vec::new();
    for node in form.nodes() {
        let operands = node.op.operands().iter().zip(node.operands);
        let nodes =
            operands.filter(|(operand, _)| matches!(operand, grantmesh_shared::engine::condition::Operand::Node));
        let deepest = nodes.map(|(_, at)| depths[usize::from(at)]).max().unwrap_or(0);
        depths.push(deepest + 1);
    }
    assert!(depths.iter().all(|depth| *depth <= MAX_DEPTH));
    let again = Form::try_from(FormItem::from(form)).unwrap();
    assert_eq!((again.nodes(), again.pool(), again.needs()), (form.nodes(), form.pool(), form.needs()));
    let groups = ["a", "support", "b"];
    let principal = Principal::user("https://id.example", "ann", &groups);
    let call = Call::new("svc", b"POST", b"/accounts/a", principal).unwrap();
    let fields = [("amount", FactValue::Number(5.into()))];
    let full = Context {
        host: Some("a.example"),
        headers: &[("x-ticket", "INC-1")],
        query: &[("dry", "yes")],
        claims: &[("teams", FactValue::Texts(&["a"])), ("level", FactValue::Bool(true))],
        body: BodyFacts::Fields(&fields),
        ..Context::EMPTY
    };
    let table = Table::default();
    for context in [&full, &Context::EMPTY] {
        let facts = Facts {
            principal: call.principal(),
            method: Some(call.method()),
            path: Some(call.path()),
            context,
            service: "svc",
            action: "act",
            resource: "account/a",
            criticality: Criticality::Standard,
            template: None,
            now: NOW,
            table: &table,
        };
        let condition = Condition::When(form.clone().into());
        let mut fuel = Fuel::per_call();
        let verdict = condition.verdict(&facts, &mut fuel);
        let spent = Fuel::per_call().left() - fuel.left();
        assert!(spent <= MAX_COST.saturating_mul(2), "{spent}");
        assert_eq!(condition.verdict(&facts, &mut Fuel::per_call()), verdict);
        assert!(matches!(condition.verdict(&facts, &mut Fuel::of(0)), Verdict::Errs(_)));
    }
}

/// A path: what is canonical has one spelling, and is its own canonical path.
pub(crate) fn path(bytes: &[u8]) {
    let Ok(path) = canonical_path(bytes) else { return };
    let text = path.as_str();
    assert!(text.starts_with('/') && text.is_ascii() && bytes.starts_with(text.as_bytes()));
    assert!(text.len() <= MAX_PATH_BYTES && text.split('/').count() <= MAX_SEGMENTS + 1);
    assert!(!text.contains("//") && !text.contains(['\\', ';', '?', '#', ' ']));
    assert!(text.split('/').all(|segment| segment != "." && segment != ".."));
    assert_eq!(canonical_path(text.as_bytes()).map(|path| path.as_str().to_owned()), Ok(text.to_owned()));
}

/// A body of a call or response: what is read lies in it, what is masked is gone and changes nothing else.
pub(crate) fn body(bytes: &[u8]) {
    const DEPTH: usize = 8;
    let pointers = ["/method", "/params/name", "/params/arguments/amount", "/list/0/x", "/a~1b", "/deep/a/b/c"];
    let wanted: Vec<(Box<str>, Box<str>)> = pointers.map(|pointer| (pointer.into(), pointer.into())).to_vec();
    let read = body::read(bytes, &wanted, DEPTH);
    let masked = body::mask(bytes, pointers, DEPTH);
    let Ok(values) = read else {
        // Only a number that is too exact to be compared can be masked and not read.
        assert!(masked.is_err() || matches!(read, Err(BodyError::Number(_) | BodyError::Malformed(_))));
        return;
    };
    let masked = masked.unwrap();
    let plain: serde_json::Value = serde_json::from_slice(bytes).unwrap_or_default();
    if plain.is_object() {
        for (name, value) in &values {
            let there = plain.pointer(name);
            match value {
                BodyValue::Text(text) => assert_eq!(there.and_then(|value| value.as_str()), Some(&**text), "{name}"),
                BodyValue::Bool(truth) => assert_eq!(there.and_then(|value| value.as_bool()), Some(*truth), "{name}"),
                BodyValue::Number(_) => assert!(there.is_some_and(|value| value.is_number()), "{name}"),
                BodyValue::Other => {}
            }
        }
        let hidden: serde_json::Value = serde_json::from_slice(&masked).unwrap();
        assert!(pointers.iter().all(|pointer| hidden.pointer(pointer).is_none_or(|value| value.is_null())));
    }
    // What is masked is masked: doing it again changes nothing.
    assert_eq!(body::mask(&masked, pointers, DEPTH).as_ref(), Ok(&masked));
}

/// An item of the table, as it comes from the network.
pub(crate) fn item(bytes: &[u8]) {
    let Ok(item) = serde_json::from_slice::<Item>(bytes) else { return };
    if let Ok(parsed) = item.parse() {
        let mut table = Table::default();
        parsed.put_into(&mut table);
        decisions(&table);
    }
}

/// Decides a few calls of every service.
fn decisions(table: &Table) {
    let principal =
        Principal { workload: Some("spiffe://mesh/a"), ..Principal::user("https://id.example", "ann", &["support"]) };
    for service in table.services() {
        for action in service.actions().iter().take(8) {
            let path = action.templates.path.as_str().replace("=**", "").replace(['{', '}'], "");
            if let Ok(call) = Call::new(service.name(), action.method.as_bytes(), path.as_bytes(), principal) {
                let _decision = decide(table, &call, &Context::EMPTY, NOW);
            }
        }
    }
}
