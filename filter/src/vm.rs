//! The contexts of this VM: which there are, and whose a callback is. Called by `entry` for every callback; `root` and
//! `http` do the work. Calls have no state here: nothing is to be kept, and nothing to be freed when they end. Those that
//! wait are resumed from here.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::host;
use crate::host::Action;
use crate::http;
use crate::plugin::Turn;
use crate::root::Root;
use crate::waiting::Caller;

thread_local! {
    /// The youngest call. The proxy creates a call's context right before it hands over the headers.
    static CREATED: Cell<Caller> = const { Cell::new(Caller { context: 0, root: 0 }) };
    /// Few: one per delivered configuration that still has calls.
    static ROOTS: RefCell<Vec<Rc<Root>>> = const { RefCell::new(Vec::new()) };
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
        CREATED.set(Caller { context, root: parent });
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
        let gone = root.waiting().into_iter().filter(|caller| !http::is_there(*caller)).collect();
        // What follows concerns the root context again.
        host::set_effective_context(id).unwrap_or_default();
        root.gone(gone);
        wake(&root);
    }
}

/// Decides the calls that have waited long enough. Must be the last thing of a callback: each is made the one that the
/// proxy's calls concern.
fn wake(asked: &Root) {
    for woken in asked.woken() {
        if http::is_there(woken.caller) {
            http::resume(root(woken.caller.root).as_deref(), woken);
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

pub(crate) fn on_request_headers(context: u32) -> Action {
    let created = CREATED.take();
    // If it were not the youngest, it would be nobody's and refused.
    let root = root(created.root).filter(|_| created.context == context);
    let action = http::decide(root.as_deref(), Turn::First(created));
    if action == Action::Pause
        && let Some(root) = root
    {
        send_at_once(&root);
    }
    action
}
