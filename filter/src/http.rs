//! One call: reads the headers once and the identity once, has the call decided, and continues or replies.
//! Whatever the proxy does not give refuses the call. A call that may wait is paused, and read anew when it is resumed.
//! Called by `vm`.

use crate::headers::Headers;
use crate::host::{self, Action, HostError, Level};
use crate::identity::Identity;
use crate::plugin::{Turn, Verdict};
use crate::reply::Reply;
use crate::root::Root;
use crate::waiting::{Caller, Woken};

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

/// Decides the call whose headers the proxy has now, under the configuration of its root context.
pub(crate) fn decide(root: Option<&Root>, turn: Turn) -> Action {
    match decided(root, turn) {
        Ok(Verdict::Pass) => return Action::Continue,
        Ok(Verdict::Wait) => {}
        Ok(Verdict::Answer(reply)) => answer(&reply),
        Err(blind) => answer(&Reply::blind(blind.code(), &blind.to_string())),
    }
    Action::Pause
}

/// Makes a call that waits the one that the proxy's calls concern, unless it has ended. No callback tells that, since it
/// would be an entry into the VM for every call; and one that has ended must not be resumed: its context still stands
/// for a moment, and the proxy would send the call on.
pub(crate) fn is_there(caller: Caller) -> bool {
    host::set_effective_context(caller.context).is_ok() && matches!(host::property(DURATION), Ok(None))
}

/// Decides a call that has waited, and lets it go on or answers it. It must be there.
pub(crate) fn resume(root: Option<&Root>, woken: Woken) {
    let caller = woken.caller;
    if decide(root, Turn::Again(woken)) == Action::Continue
        && let Err(error) = host::continue_request()
    {
        host::log(Level::Error, &format!("the call {} cannot go on: {error}", caller.context));
    }
}

fn decided(root: Option<&Root>, turn: Turn) -> Result<Verdict, Blind> {
    let (config, shared) = root.and_then(Root::configured).ok_or(Blind::NotConfigured)?;
    let mut slot = shared.plugin.try_borrow_mut().map_err(|_| Blind::NotReady)?;
    let plugin = slot.as_mut().ok_or(Blind::NotReady)?;
    let wall = host::wall()?;
    let mono = host::monotonic()?;
    plugin.look(wall, mono);
    let map = host::header_map(host::Map::Request)?;
    let headers = Headers::parse(&map).map_err(|_| Blind::Unreadable)?;
    let metadata = host::property(METADATA)?;
    let peer = host::property(if config.waypoint { WAYPOINT_PEER } else { TLS_PEER })?;
    let identity = Identity::read(metadata.as_deref(), &config.identity_key, peer.as_deref());
    let verdict = plugin.decide(turn, &config, &headers, &identity, mono);
    if config.access_log && verdict != Verdict::Wait {
        host::set_filter_state(ACCESS_LOG, verdict.word())?;
    }
    if host::logs(Level::Debug) {
        host::log(Level::Debug, &told(&headers, &verdict));
    }
    if plugin.is_sampled() {
        shared.note_duration(mono);
    }
    Ok(verdict)
}

/// A line about a decision, for people who look for a fault.
fn told(headers: &Headers<'_>, verdict: &Verdict) -> String {
    let text =
        |name: &[u8]| headers.single(name).unwrap_or_default().escape_ascii().take(256).map(char::from).collect();
    let (method, path): (String, String) = (text(b":method"), text(b":path"));
    // Queries may carry what does not belong in a log.
    format!("{method} {}: {}", path.split('?').next().unwrap_or_default(), verdict.word())
}

fn answer(reply: &Reply) {
    let headers: Vec<(&[u8], &[u8])> =
        reply.headers.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
    let sent = host::send_local_response(reply.status, "grantmesh", &headers, &reply.body, reply.grpc_status);
    if let Err(error) = sent {
        // The call stays paused: it is not admitted, and ends with the proxy's own timeout.
        host::log(Level::Error, &error.to_string());
    }
}
