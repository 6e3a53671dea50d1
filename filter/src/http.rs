//! One call: reads the headers once and the identity once, has the call decided, and continues or replies.
//! Whatever the proxy does not give refuses the call. A call that may wait is paused, and read anew when it is resumed.
//! Called by `vm`.

pub(crate) mod response;

use crate::callbacks;
use crate::config::Peer;
use crate::flow::{Shown, Unread};
use crate::headers::Headers;
use crate::host::{self, BodyAction, HeadAction, HostError, Level};
use crate::identity::Identity;
use crate::masking;
use crate::plugin::{Turn, Verdict};
use crate::reply::Reply;
use crate::root::Root;
use crate::streams::Why;
use crate::uses;
use crate::waiting::{Caller, Cause, Sent, Woken};
use grantmesh_shared::engine::BodyMode;
use grantmesh_shared::id::UseId;
use grantmesh_shared::wire::offline::OFFLINE_HEADER;

/// The URI of the peer's certificate, as the listener's TLS saw it.
const TLS_PEER: &str = "connection\0uri_san_peer_certificate";

/// The peer as the waypoint's listener passed it on.
const WAYPOINT_PEER: &str = "filter_state\0io.istio.peer_principal";

/// Dynamic metadata, where `jwt_authn` leaves the verified claims.
const METADATA: &str = "metadata";

/// Where a decision is left for access logs.
const ACCESS_LOG: &str = "grantmesh_decision";

/// How long a call took: there once it has ended, a little before its context goes.
const DURATION: &str = "request\0duration";

/// Why a call could not even be looked at.
#[derive(Debug, thiserror::Error)]
enum Blind {
    #[error("the filter has no usable configuration")]
    NotConfigured,
    #[error("the filter has not started yet")]
    NotReady,
    #[error("the call cannot be read")]
    Unreadable,
    #[error(transparent)]
    Host(#[from] HostError),
}

impl Blind {
    const fn code(&self) -> &'static str {
        match self {
            Self::NotConfigured => "not_configured",
            Self::NotReady => "not_ready",
            Self::Unreadable => "malformed_header",
            Self::Host(_) => "host_error",
        }
    }
}

/// What a call is decided by: what there is of it, and its header map where the proxy will not give it again.
struct Look<'l> {
    turn: Turn,
    shown: Shown<'l>,
    kept: Option<Box<[u8]>>,
}

/// Decides the call whose headers the proxy has now, under the configuration of its root context.
pub(crate) fn decide(root: Option<&Root>, caller: Caller, ends: bool) -> HeadAction {
    let (sent, shown) = if ends { (Sent::HeadAlone, Shown::Nothing) } else { (Sent::Head, Shown::Head) };
    let caller = Caller { sent, ..caller };
    match act(root, Look { turn: Turn::First(caller), shown, kept: None }) {
        Next::Continue => HeadAction::Continue,
        Next::Hold => HeadAction::Hold,
        Next::Stop | Next::Answered => HeadAction::Stop,
    }
}

/// Decides a call whose body is there: `size` bytes so far, and all of it if it `ends`. Gives also whether it was answered.
pub(crate) fn take_body(root: Option<&Root>, caller: Caller, size: usize, ends: bool) -> (BodyAction, bool) {
    let Some((config, shared)) = root.and_then(Root::configured) else {
        return (BodyAction::Keep, false);
    };
    let is_too_large = size > config.bodies.request_bytes;
    if !ends && !is_too_large {
        return (BodyAction::Keep, false);
    }
    let waiter = shared.plugin.try_borrow_mut().ok().and_then(|mut slot| slot.as_mut()?.take_unread(caller.context));
    let kept = waiter.and_then(|waiter| waiter.head);
    let turn = Turn::First(Caller { sent: Sent::Whole, ..caller });
    let next = if is_too_large {
        act(root, Look { turn, shown: Shown::Never(Unread::TooLarge), kept })
    } else {
        with_body(|shown| act(root, Look { turn, shown, kept }))
    };
    match next {
        Next::Continue => (BodyAction::Continue, false),
        Next::Answered => (BodyAction::Keep, true),
        Next::Stop | Next::Hold => (BodyAction::Keep, false),
    }
}

/// Lends the body that the proxy has of the current call.
fn with_body<T>(with: impl FnOnce(Shown<'_>) -> T) -> T {
    if !callbacks::for_bodies() {
        return with(Shown::Nothing);
    }
    match host::buffer(host::Buffer::RequestBody) {
        Ok(Some(body)) => with(Shown::Whole(&body)),
        Ok(None) => with(Shown::Nothing),
        // It was there and is not to be had: nothing that depends on it is allowed.
        Err(_) => with(Shown::Never(Unread::NotHeld)),
    }
}

/// Makes a call that waits the one that the proxy's calls concern, unless it has ended. No callback tells that, since it
/// would be an entry into the VM for every call; and one that has ended must not be resumed: its context still stands
/// for a moment, and the proxy would send the call on.
pub(crate) fn is_there(context: u32) -> bool {
    host::set_effective_context(context).is_ok() && matches!(host::property(DURATION), Ok(None))
}

/// Whether the proxy still has the context of a call; the call itself may have ended. Quicker than [`is_there`], which
/// must be asked before anything is done to the call.
pub(crate) fn exists(context: u32) -> bool {
    host::set_effective_context(context).is_ok()
}

/// Resets the current call. It must be there. `false` if the proxy did not do it.
pub(crate) fn reset(context: u32, why: Why) -> bool {
    let why = why.code();
    match host::close_request() {
        Ok(()) => host::log(Level::Info, &format!("a running call was reset: {why}")),
        Err(error) => {
            host::log(Level::Error, &format!("the call {context} cannot be reset ({why}): {error}"));
            return false;
        }
    }
    true
}

/// Decides a call that has waited, and lets it go on or answers it. It must be there.
pub(crate) fn resume(root: Option<&Root>, mut woken: Woken) -> bool {
    let (caller, kept) = (woken.caller, woken.head.take());
    let shown = match (&woken.cause, caller.sent) {
        (Cause::Body(_), _) => Some(Shown::Never(Unread::Late)),
        (_, Sent::Head) => Some(Shown::Head),
        (_, Sent::HeadAlone) => Some(Shown::Nothing),
        (_, Sent::Whole) => None,
    };
    let turn = Turn::Again(woken);
    let next = match shown {
        Some(shown) => act(root, Look { turn, shown, kept }),
        None => with_body(|shown| act(root, Look { turn, shown, kept })),
    };
    if next == Next::Continue
        && let Err(error) = host::continue_request()
    {
        host::log(Level::Error, &format!("the call {} cannot go on: {error}", caller.context));
    }
    next == Next::Answered
}

/// What is to be done with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Continue,
    /// Its head is held until its body is there.
    Hold,
    Stop,
    Answered,
}

fn act(root: Option<&Root>, look: Look<'_>) -> Next {
    let head_is_here = look.kept.is_none();
    let (verdict, has_token) = match decided(root, look) {
        Ok((verdict, has_token)) => (Ok(verdict), has_token && head_is_here),
        Err(blind) => (Err(blind), false),
    };
    let next = match verdict {
        Ok(Verdict::Pass) => Next::Continue,
        Ok(Verdict::Wait) => Next::Stop,
        Ok(Verdict::Mask) if head_is_here => asking_for_plain_json(Next::Continue),
        Ok(Verdict::Mask) => Next::Continue,
        Ok(Verdict::Once { id, masks }) if head_is_here => once(&id, masks),
        // It could not be told that it must go on once.
        Ok(Verdict::Once { .. }) => answer(&Reply::blind("cannot_claim", "the call's head has gone on already")),
        Ok(Verdict::AwaitBody { mode: BodyMode::Strict, .. }) => Next::Hold,
        Ok(Verdict::AwaitBody { mode: BodyMode::HeadFirst, may_mask: true }) => asking_for_plain_json(Next::Continue),
        Ok(Verdict::AwaitBody { mode: BodyMode::HeadFirst, may_mask: false }) => Next::Continue,
        Ok(Verdict::Answer(reply)) => answer(&reply),
        Err(blind) => answer(&Reply::blind(blind.code(), &blind.to_string())),
    };
    if next == Next::Continue && has_token { without(&[OFFLINE_HEADER], next) } else { next }
}

/// Takes from the call's head what would make its response one that cannot be masked.
fn asking_for_plain_json(next: Next) -> Next {
    without(&masking::REQUEST_HEADERS, next)
}

/// Takes headers from the call's head, which must not have gone on.
fn without(names: &[&str], next: Next) -> Next {
    for name in names {
        if let Err(error) = host::remove_header(host::Map::Request, name) {
            let blind = Blind::Host(error);
            return answer(&Reply::blind(blind.code(), &blind.to_string()));
        }
    }
    next
}

/// Has the proxy send a call once, whatever its route and its caller say, and tells the service which use it is.
fn once(id: &UseId, masks: bool) -> Next {
    let removed = uses::RETRY_HEADERS.iter().try_for_each(|name| host::remove_header(host::Map::Request, name));
    let key = (uses::KEY_HEADER, id.as_str());
    let mut told = uses::ONCE.into_iter().chain([key]);
    let set = |(name, value): (&str, &str)| host::set_header(host::Map::Request, name, value);
    match removed.and_then(|()| told.try_for_each(set)) {
        Ok(()) if masks => asking_for_plain_json(Next::Continue),
        Ok(()) => Next::Continue,
        Err(error) => {
            let blind = Blind::Host(error);
            answer(&Reply::blind(blind.code(), &blind.to_string()))
        }
    }
}

/// Also gives whether the call carries what is no business of the service.
fn decided(root: Option<&Root>, look: Look<'_>) -> Result<(Verdict, bool), Blind> {
    let Look { turn, shown, kept } = look;
    let (config, shared) = root.and_then(Root::configured).ok_or(Blind::NotConfigured)?;
    let mut slot = shared.plugin.try_borrow_mut().map_err(|_| Blind::NotReady)?;
    let plugin = slot.as_mut().ok_or(Blind::NotReady)?;
    let wall = host::wall()?;
    let mono = host::monotonic()?;
    plugin.look(wall, mono);
    let head_went_on = kept.is_some();
    let map = match kept {
        Some(map) => map.into_vec(),
        None => host::header_map(host::Map::Request)?,
    };
    let headers = Headers::parse(&map).map_err(|_| Blind::Unreadable)?;
    let metadata = host::property(METADATA)?;
    let peer = match config.peer {
        Peer::Tls => host::property(TLS_PEER)?,
        Peer::Waypoint => host::property(WAYPOINT_PEER)?,
        Peer::None => None,
    };
    let identity = Identity::read(metadata.as_deref(), &config.identity_key, peer.as_deref());
    let context = turn.caller().context;
    let verdict = plugin.decide(turn, shown, &config, &headers, &identity, mono);
    if config.access_log
        && let Some(word) = verdict.word()
        && let Err(error) = host::set_filter_state(ACCESS_LOG, word)
    {
        // It is decided and recorded; a line of a log that lacks a word changes nothing of that.
        host::log(Level::Error, &error.to_string());
    }
    if host::logs(Level::Debug) {
        host::log(Level::Debug, &told(&headers, &verdict));
    }
    if plugin.is_sampled() {
        shared.note_decision(mono);
    }
    let has_token = headers.iter().any(|(name, _)| name == OFFLINE_HEADER.as_bytes());
    let goes_on_undecided = matches!(verdict, Verdict::AwaitBody { mode: BodyMode::HeadFirst, .. });
    if goes_on_undecided || head_went_on && verdict == Verdict::Wait {
        plugin.keep_head(context, map.into_boxed_slice());
    }
    Ok((verdict, has_token))
}

/// A line about a decision, for people who look for a fault.
fn told(headers: &Headers<'_>, verdict: &Verdict) -> String {
    let text =
        |name: &[u8]| headers.single(name).unwrap_or_default().escape_ascii().take(256).map(char::from).collect();
    let (method, path): (String, String) = (text(b":method"), text(b":path"));
    // Queries may carry what does not belong in a log.
    format!("{method} {}: {}", path.split('?').next().unwrap_or_default(), verdict.word().unwrap_or("wait"))
}

fn answer(reply: &Reply) -> Next {
    let headers: Vec<(&[u8], &[u8])> =
        reply.headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
    let sent = host::send_local_response(reply.status, "grantmesh", &headers, &reply.body, reply.grpc_status);
    if let Err(error) = sent {
        // The call stays paused: it is not admitted, and ends with the proxy's own timeout.
        host::log(Level::Error, &error.to_string());
    }
    Next::Answered
}
