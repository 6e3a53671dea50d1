//! The contexts of this VM: which there are, and whose a callback is. Called by `entry` and `bodies` for every callback;
//! `root` and `http` do the work. Of calls only the answered ones are noted here, until they are gone. Those that wait are
//! resumed from here.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;

use crate::callbacks;
use crate::host;
use crate::host::{BodyAction, HeadAction};
use crate::http;
use crate::http::response;
use crate::root::Root;
use crate::waiting::{Caller, Cause, Sent};

thread_local! {
    /// The youngest call. The proxy creates a call's context right before it hands over the headers.
    static CREATED: Cell<Caller> = const { Cell::new(Caller { context: 0, root: 0, sent: Sent::Head }) };
    /// Few: one per delivered configuration that still has calls.
    static ROOTS: RefCell<Vec<Rc<Root>>> = const { RefCell::new(Vec::new()) };
    /// Calls that were answered after their heads had gone on or were held: whatever still comes of them goes no further.
    static ANSWERED: RefCell<BTreeSet<u32>> = const { RefCell::new(BTreeSet::new()) };
}

fn root(id: u32) -> Option<Rc<Root>> {
    ROOTS.with(|roots| roots.try_borrow().ok()?.iter().find(|root| root.id() == id).map(Rc::clone))
}

fn change(roots: impl FnOnce(&mut Vec<Rc<Root>>)) {
    ROOTS.with(|all| all.try_borrow_mut().map(|mut all| roots(&mut all)).unwrap_or_default());
}

/// A root context has no parent. The proxy may start one again that there is.
pub(crate) fn on_context_create(context: u32, parent: u32) {
    if parent != 0 {
        CREATED.set(Caller { context, root: parent, sent: Sent::Head });
    } else if root(context).is_none() {
        change(|roots| roots.push(Rc::new(Root::new(context))));
    }
}

/// `false` refuses the configuration.
pub(crate) fn on_configure(id: u32) -> bool {
    let taken = root(id).is_some_and(|root| root.configure());
    if !taken {
        // Unless it goes on with the configuration that it had, it is never heard of again.
        change(|roots| roots.retain(|root| root.id() != id || root.configured().is_some()));
    }
    taken
}

pub(crate) fn on_tick(id: u32) {
    let forgotten = root(id).map(|root| root.tick()).unwrap_or_default();
    if !forgotten.is_empty() {
        change(|roots| roots.retain(|root| !forgotten.contains(&root.id())));
    }
    if let Some(root) = root(id) {
        let gone = root.to_look_for().into_iter().filter(|caller| !http::is_there(caller.context)).collect();
        ANSWERED.with_borrow_mut(|answered| answered.retain(|context| http::is_there(*context)));
        // What follows concerns the root context again.
        host::set_effective_context(id).unwrap_or_default();
        root.gone(gone);
        reset_ended(&root);
        wake(&root);
    }
}

/// Resets calls whose grants have ended while they ran.
fn reset_ended(asked: &Root) {
    for (open, why) in asked.ended(|caller| http::exists(caller.context)) {
        if http::is_there(open.caller.context) {
            let done = http::reset(open.caller.context, why);
            asked.reset(open, why, done);
        }
    }
    // What follows concerns the root context again.
    host::set_effective_context(asked.id()).unwrap_or_default();
}

/// Decides the calls that have waited long enough. Must be the last thing of a callback: each is made the one that the
/// proxy's calls concern.
fn wake(asked: &Root) {
    for woken in asked.woken() {
        let context = woken.caller.context;
        let is_known_elsewhere = match woken.cause {
            Cause::Claim(_) => callbacks::for_bodies(),
            Cause::Hold(_) => true,
            Cause::Revision(_) | Cause::Record(_) | Cause::Body(_) => false,
        };
        let cause = is_known_elsewhere.then(|| woken.cause.clone());
        if http::is_there(context) && http::resume(root(woken.caller.root).as_deref(), woken) {
            note_answered(context);
        }
        // A call that is gone, or could not even be looked at, has taken nothing.
        if let Some(cause) = cause {
            asked.forget(&cause);
        }
    }
    send_at_once(asked);
}

/// Sends the record that a call waits for now and not with the next tick. Must be the last thing of a callback: the root
/// context that asks is made the one that the proxy's calls concern.
fn send_at_once(of: &Root) {
    if let Some(asker) = of.urgent().and_then(root) {
        asker.send_urgent();
    }
}

pub(crate) fn on_http_call_response(id: u32, token: u32, headers: usize) {
    if let Some(root) = root(id) {
        root.answer(token, headers);
        wake(&root);
    }
}

pub(crate) fn on_request_headers(context: u32, ends: bool) -> HeadAction {
    let created = CREATED.take();
    // If it were not the youngest, it would be nobody's and refused.
    let root = root(created.root).filter(|_| created.context == context);
    let action = http::decide(root.as_deref(), created, ends);
    if action == HeadAction::Stop
        && let Some(root) = root
    {
        send_at_once(&root);
    }
    action
}

fn note_answered(context: u32) {
    if callbacks::for_bodies() {
        ANSWERED.with_borrow_mut(|answered| answered.insert(context));
    }
}

/// What one of the root contexts has of a call.
fn found<T>(find: impl Fn(&Root) -> Option<T>) -> Option<T> {
    ROOTS.with(|roots| roots.try_borrow().ok()?.iter().find_map(|root| find(root)))
}

/// A part of a call's body, or with `ends` what makes it whole; `size` bytes of it are there.
pub(crate) fn on_request_body(context: u32, size: usize, ends: bool) -> BodyAction {
    if ANSWERED.with_borrow(|answered| answered.contains(&context)) {
        return BodyAction::Keep;
    }
    match found(|root| root.waits(context)) {
        None => BodyAction::Continue,
        // It waits for something else: its body with it.
        Some((_, false)) => BodyAction::Keep,
        Some((caller, true)) => {
            let root = root(caller.root);
            let (action, answered) = http::take_body(root.as_deref(), caller, size, ends);
            if answered {
                note_answered(context);
            }
            if let Some(root) = root {
                send_at_once(&root);
            }
            action
        }
    }
}

pub(crate) fn on_response_headers(context: u32, ends: bool) -> HeadAction {
    if let Some(root) = found(|root| root.uses(context)).and_then(|caller| root(caller.root)) {
        response::outcome(&root, context);
    }
    if let Some((caller, root)) = masked(context) {
        return response::head(&root, caller, ends);
    }
    // Whatever it waits for: it is not decided, and nothing of what it is answered may be seen.
    let undecided = found(|root| root.waits(context));
    let Some((caller, _)) = undecided else { return HeadAction::Continue };
    let Some(root) = root(caller.root) else { return HeadAction::Stop };
    let (action, answered) = response::before_the_decision(&root, caller, ends);
    if answered {
        note_answered(context);
    }
    action
}

/// A part of a response's body, or with `ends` its end.
pub(crate) fn on_response_body(context: u32, size: usize, ends: bool) -> BodyAction {
    match masked(context) {
        Some((caller, root)) => response::body(&root, caller, size, ends),
        None => BodyAction::Continue,
    }
}

pub(crate) fn on_response_trailers(context: u32) -> BodyAction {
    match masked(context) {
        Some((caller, root)) => response::trailers(&root, caller),
        None => BodyAction::Continue,
    }
}

fn masked(context: u32) -> Option<(Caller, Rc<Root>)> {
    let caller = found(|root| root.masks(context))?;
    Some((caller, root(caller.root)?))
}
