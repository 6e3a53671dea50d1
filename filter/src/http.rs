//! One call: reads the headers once and the identity once, has the call decided, and continues or replies.
//! Whatever the proxy does not give refuses the call. Called by `vm`.

use crate::headers::Headers;
use crate::host::{self, Action, HostError, Level};
use crate::identity::Identity;
use crate::reply::Reply;
use crate::root::Root;

/// The URI of the peer's certificate, as the listener's TLS saw it.
const TLS_PEER: &str = "connection\0uri_san_peer_certificate";

/// The peer as the waypoint's listener passed it on.
const WAYPOINT_PEER: &str = "filter_state\0io.istio.peer_principal";

/// Dynamic metadata, where `jwt_authn` leaves the verified claims.
const METADATA: &str = "metadata";

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
pub(crate) fn decide(root: Option<&Root>) -> Action {
    match decided(root) {
        Ok(None) => return Action::Continue,
        Ok(Some(reply)) => answer(&reply),
        Err(blind) => answer(&Reply::blind(blind.code(), &blind.to_string())),
    }
    Action::Pause
}

fn decided(root: Option<&Root>) -> Result<Option<Reply>, Blind> {
    let (config, shared) = root.and_then(Root::configured).ok_or(Blind::NotConfigured)?;
    let mut slot = shared.plugin.try_borrow_mut().map_err(|_| Blind::NotReady)?;
    let plugin = slot.as_mut().ok_or(Blind::NotReady)?;
    let mono = host::monotonic()?;
    let map = host::header_map(host::Map::Request)?;
    let headers = Headers::parse(&map).map_err(|_| Blind::Unreadable)?;
    let metadata = host::property(METADATA)?;
    let peer = host::property(if config.waypoint { WAYPOINT_PEER } else { TLS_PEER })?;
    let identity = Identity::read(metadata.as_deref(), &config.identity_key, peer.as_deref());
    Ok(plugin.decide(&config, &headers, &identity, mono))
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
