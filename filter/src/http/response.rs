//! The response of a call with fields that its caller may not see: does with the proxy what `masking` says. A response
//! that cannot be masked is answered in place of the service; where its head is gone already, the document takes the
//! place of its body.

use super::{Blind, Look, Next, act, answer};
use crate::flow::{Shown, Unread};
use crate::headers::Headers;
use crate::host::{self, BodyAction, Buffer, HeadAction, Level, Map};
use crate::masking::{self, Head, MASKED_HEADER, MaskedCall, Withheld};
use crate::plugin::Turn;
use crate::reply::Reply;
use crate::root::Root;
use crate::waiting::{Caller, Cause, Sent, Woken};
use grantmesh_shared::wire::records::UseOutcome;

/// Where a response comes from.
const DETAILS: &str = "response\0code_details";

/// What stands there if it comes from the service.
const FROM_THE_SERVICE: &[u8] = b"via_upstream";

/// Whether the response that the proxy has now is the service's, and not one of the proxy's own.
fn is_the_services() -> bool {
    // If it cannot be told, it is treated as the service's.
    host::property(DETAILS).ok().flatten().is_none_or(|details| details == FROM_THE_SERVICE)
}

/// The head of a response to a call that still waits, for its body or for anything else: it must not be seen before the
/// call is decided, which is now. Gives also whether the call was answered.
pub(crate) fn before_the_decision(root: &Root, caller: Caller, ends: bool) -> (HeadAction, bool) {
    let Some((_, shared)) = root.configured() else { return (HeadAction::Stop, false) };
    if !is_the_services() {
        root.gone(vec![caller]);
        return (HeadAction::Continue, false);
    }
    let waiter = shared.plugin.try_borrow_mut().ok().and_then(|mut slot| slot.as_mut()?.take_waiter(caller.context));
    let Some(waiter) = waiter else { return (HeadAction::Stop, false) };
    let caller = Caller { sent: Sent::Whole, ..caller };
    let turn = match waiter.cause {
        // The record that was written ahead is replaced by the one of what comes of it now.
        cause @ Cause::Record(_) => Turn::Again(Woken { caller, cause, late: true, head: None }),
        // What was claimed for it is lost, and nobody waits for what is asked for it.
        cause @ (Cause::Claim(_) | Cause::Hold(_)) => Turn::Again(Woken { caller, cause, late: true, head: None }),
        Cause::Body(_) | Cause::Revision(_) => Turn::Only(caller),
    };
    match act(Some(root), Look { turn, shown: Shown::Never(Unread::Answered), kept: waiter.head }) {
        Next::Continue if root.masks(caller.context).is_some() => (head(root, caller, ends), false),
        Next::Continue => (HeadAction::Continue, false),
        Next::Hold | Next::Stop => (HeadAction::Stop, false),
        Next::Answered => (HeadAction::Stop, true),
    }
}

/// The head of the response to a call that is a use: its outcome.
pub(crate) fn outcome(root: &Root, context: u32) {
    let Some((_, shared)) = root.configured() else { return };
    let status = host::header_map(Map::Response).ok().and_then(|map| masking::status(&Headers::parse(&map).ok()?));
    let outcome = if is_the_services() { UseOutcome::Answered } else { UseOutcome::Failed };
    if let (Ok(mut slot), Ok(mono)) = (shared.plugin.try_borrow_mut(), host::monotonic())
        && let Some(plugin) = slot.as_mut()
    {
        plugin.use_ended(context, outcome, status, mono);
    }
}

/// The head of a response that is to be masked.
pub(crate) fn head(root: &Root, caller: Caller, ends: bool) -> HeadAction {
    judged_head(root, caller, ends).unwrap_or_else(|blind| {
        answer(&Reply::blind(blind.code(), &blind.to_string()));
        HeadAction::Stop
    })
}

fn judged_head(root: &Root, caller: Caller, ends: bool) -> Result<HeadAction, Blind> {
    let (config, shared) = root.configured().ok_or(Blind::NotConfigured)?;
    let map = host::header_map(Map::Response)?;
    let headers = Headers::parse(&map).map_err(|_| Blind::Unreadable)?;
    let status = masking::status(&headers);
    let mono = host::monotonic()?;
    let mut slot = shared.plugin.try_borrow_mut().map_err(|_| Blind::NotReady)?;
    let plugin = slot.as_mut().ok_or(Blind::NotReady)?;
    if status.is_some_and(|status| status >= 400) && !is_the_services() {
        // The proxy's own word about a failure, or ours.
        plugin.gone(caller.context, mono);
        return Ok(HeadAction::Continue);
    }
    match masking::head(&headers, ends, &config.bodies) {
        Err(why) => {
            if let Some(reply) = plugin.withhold(caller.context, status, &why, false, mono) {
                answer(&reply);
            }
            Ok(HeadAction::Stop)
        }
        Ok(head) => {
            for name in masking::RESPONSE_HEADERS {
                host::remove_header(Map::Response, name)?;
            }
            let names = plugin.masking().get(caller.context).map(MaskedCall::names).unwrap_or_default();
            host::set_header(Map::Response, MASKED_HEADER, &names)?;
            host::set_header(Map::Response, "cache-control", "no-store")?;
            match head {
                Head::NoBody => {
                    plugin.masked(caller.context);
                    Ok(HeadAction::Continue)
                }
                Head::Body if config.bodies.hold_heads => Ok(HeadAction::Hold),
                Head::Body => Ok(HeadAction::Continue),
            }
        }
    }
}

/// A part of the body of a response that is to be masked: `size` bytes so far, and all of it if it `ends`.
pub(crate) fn body(root: &Root, caller: Caller, size: usize, ends: bool) -> BodyAction {
    judged_body(root, caller, size, ends).unwrap_or_else(|blind| {
        // Nothing of it goes on, and the proxy ends the call by its own means.
        host::log(Level::Error, &format!("the response of {} cannot be masked: {blind}", caller.context));
        BodyAction::Keep
    })
}

/// The end of such a response that has trailers: these may tell of the plain values, too.
pub(crate) fn trailers(root: &Root, caller: Caller) -> BodyAction {
    for name in masking::RESPONSE_HEADERS {
        if let Err(error) = host::remove_header(Map::ResponseTrailers, name) {
            host::log(Level::Error, &error.to_string());
            return BodyAction::Keep;
        }
    }
    body(root, caller, 0, true)
}

fn judged_body(root: &Root, caller: Caller, size: usize, ends: bool) -> Result<BodyAction, Blind> {
    let (config, shared) = root.configured().ok_or(Blind::NotConfigured)?;
    let mono = host::monotonic()?;
    let mut slot = shared.plugin.try_borrow_mut().map_err(|_| Blind::NotReady)?;
    let plugin = slot.as_mut().ok_or(Blind::NotReady)?;
    if let Some(document) = plugin.masking().document(caller.context) {
        // What is left of a response that is withheld.
        host::set_buffer(Buffer::ResponseBody, if ends { document } else { b"" })?;
        if ends {
            plugin.masked(caller.context);
        }
        return Ok(if ends { BodyAction::Continue } else { BodyAction::Keep });
    }
    if !ends && size <= config.bodies.response_bytes {
        return Ok(BodyAction::Keep);
    }
    let masked = if size > config.bodies.response_bytes {
        Err(Withheld::TooLarge(config.bodies.response_bytes))
    } else {
        let plain = host::buffer(Buffer::ResponseBody)?.unwrap_or_default();
        let Some(call) = plugin.masking().get(caller.context) else { return Ok(BodyAction::Keep) };
        call.masked(&plain, &config.bodies)
    };
    match masked {
        Ok(masked) => {
            if !masked.is_empty() {
                host::set_buffer(Buffer::ResponseBody, &masked)?;
            }
            plugin.masked(caller.context);
            Ok(BodyAction::Continue)
        }
        // Its head is held: the whole answer is another one.
        Err(why) if config.bodies.hold_heads => {
            if let Some(reply) = plugin.withhold(caller.context, None, &why, false, mono) {
                answer(&reply);
            }
            Ok(BodyAction::Keep)
        }
        Err(why) => {
            let document = plugin.withhold(caller.context, None, &why, !ends, mono).map(|reply| reply.body);
            let shown = document.filter(|_| ends).unwrap_or_default();
            host::set_buffer(Buffer::ResponseBody, &shown)?;
            Ok(if ends { BodyAction::Continue } else { BodyAction::Keep })
        }
    }
}
