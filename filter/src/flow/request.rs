//! What one pass over the headers finds: the few that a decision needs, and whatever makes the call ambiguous.

use grantmesh_shared::engine::Ambiguity;
use grantmesh_shared::wire::sync::{Position, REVISION_HEADER};

use crate::headers::Headers;

/// The most bytes of headers that are looked at.
const MAX_HEADER_BYTES: usize = 256 * 1024;

/// The request as `flow` needs it, borrowed from the header map.
#[derive(Debug, Default)]
pub(super) struct Request<'h> {
    pub(super) method: &'h [u8],
    /// `:path`, with its query.
    pub(super) target: &'h [u8],
    /// The canonical path, once it is known to be one.
    pub(super) path: Option<&'h str>,
    pub(super) grpc: bool,
    pub(super) ambiguity: Option<Ambiguity>,
    authority: Option<&'h [u8]>,
    request_id: Option<&'h [u8]>,
    revision: Option<&'h [u8]>,
    origin: bool,
    preflight_method: bool,
}

impl<'h> Request<'h> {
    pub(super) fn read(headers: &Headers<'h>) -> Self {
        let mut request = Self::default();
        if headers.size() > MAX_HEADER_BYTES {
            request.refuse(Ambiguity::Malformed("headers"));
            return request;
        }
        let mut seen = Seen::default();
        for (name, value) in headers.iter() {
            match name {
                b":method" => request.once(&mut seen.method, ":method", |request| request.method = value),
                b":path" => request.once(&mut seen.path, ":path", |request| request.target = value),
                b":authority" | b"host" => request.take_authority(value),
                b"authorization" => {
                    request.once(&mut seen.authorization, "authorization", |_| ());
                    if has_two_tokens(value) {
                        request.refuse(Ambiguity::TwoValues("authorization"));
                    }
                }
                b"x-http-method-override" | b"x-http-method" | b"x-method-override" => {
                    request.refuse(Ambiguity::MethodOverride);
                }
                b"content-type" => request.grpc = is_grpc(value),
                b"x-request-id" => request.request_id = Some(value),
                _ if name == REVISION_HEADER.as_bytes() => request.revision = Some(value),
                b"origin" => request.origin = true,
                b"access-control-request-method" => request.preflight_method = true,
                _ => {}
            }
        }
        request
    }

    fn refuse(&mut self, ambiguity: Ambiguity) {
        self.ambiguity.get_or_insert(ambiguity);
    }

    fn once(&mut self, seen: &mut bool, name: &'static str, take: impl FnOnce(&mut Self)) {
        if std::mem::replace(seen, true) {
            self.refuse(Ambiguity::TwoValues(name));
        } else {
            take(self);
        }
    }

    fn take_authority(&mut self, value: &'h [u8]) {
        if self.authority.is_some_and(|known| !known.eq_ignore_ascii_case(value)) {
            self.refuse(Ambiguity::TwoValues("host"));
        }
        let strange = |byte: &u8| !byte.is_ascii_graphic() || matches!(byte, b',' | b'/' | b'@' | b'\\' | b'?' | b'#');
        if value.iter().any(strange) {
            self.refuse(Ambiguity::Malformed("host"));
        }
        self.authority = Some(value);
    }

    /// The authority without its port.
    pub(super) fn host(&self) -> Option<&'h [u8]> {
        let authority = self.authority?;
        let digits = authority.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
        let (head, _) = authority.split_at_checked(authority.len().saturating_sub(digits))?;
        // Without a colon the digits belong to the name; a bracketed address ends with its bracket.
        Some(head.strip_suffix(b":").unwrap_or(authority))
    }

    pub(super) fn is_preflight(&self) -> bool {
        self.method == b"OPTIONS" && self.origin && self.preflight_method
    }

    /// The point of the state that the caller has heard of. Anybody may say anything here: it is only waited for.
    pub(super) fn heard_of(&self) -> Option<Position> {
        std::str::from_utf8(self.revision?).ok()?.parse().ok()
    }

    pub(super) fn target_without_query(&self) -> &'h [u8] {
        self.target.split(|byte| *byte == b'?').next().unwrap_or_default()
    }

    pub(super) fn request_id(&self) -> Option<String> {
        let id = self.request_id?;
        let plain = (1..=128).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic);
        std::str::from_utf8(id).ok().filter(|_| plain).map(str::to_owned)
    }
}

#[derive(Default)]
struct Seen {
    method: bool,
    path: bool,
    authorization: bool,
}

/// Whether a value is two that the proxy joined: neither of these schemes has a comma in one.
fn has_two_tokens(value: &[u8]) -> bool {
    let scheme = value.split(|byte| *byte == b' ').next().unwrap_or_default();
    let plain = [&b"bearer"[..], b"basic"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
    plain && value.contains(&b',')
}

fn is_grpc(content_type: &[u8]) -> bool {
    const GRPC: &[u8] = b"application/grpc";
    let head = content_type.get(..GRPC.len()).unwrap_or_default();
    let next = content_type.get(GRPC.len());
    head.eq_ignore_ascii_case(GRPC) && matches!(next, None | Some(b'+' | b';' | b' '))
}

/// A text cut to at most `max` bytes, with a mark where it was cut.
pub(super) fn shortened(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    let mut cut: String = text
        .char_indices()
        .take_while(|(at, letter)| at.saturating_add(letter.len_utf8()) <= max.saturating_sub(3))
        .map(|(_, letter)| letter)
        .collect();
    cut.push('…');
    cut
}

/// Bytes as text: what is not plain ASCII is escaped, and what is too long is cut.
pub(super) fn escaped(bytes: &[u8], max: usize) -> String {
    let plain = bytes.len() <= max && bytes.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'\\');
    match std::str::from_utf8(bytes) {
        Ok(text) if plain => text.to_owned(),
        _ => {
            let head = bytes.get(..max).unwrap_or(bytes);
            shortened(&head.escape_ascii().to_string(), max)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_lose_their_port_and_nothing_else() {
        for (authority, host) in [
            ("a.example", "a.example"),
            ("a.example:443", "a.example"),
            ("10.0.0.1:80", "10.0.0.1"),
            ("10.0.0.1", "10.0.0.1"),
            ("[::1]:80", "[::1]"),
            ("[::1]", "[::1]"),
            ("a:", "a"),
            ("", ""),
        ] {
            let request = Request { authority: Some(authority.as_bytes()), ..Request::default() };
            assert_eq!(request.host(), Some(host.as_bytes()), "{authority}");
        }
    }

    #[test]
    fn grpc_is_told_from_its_neighbours() {
        for (value, expected) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("Application/gRPC;x=1", true),
            ("application/grpc-web", false),
            ("application/json", false),
            ("", false),
        ] {
            assert_eq!(is_grpc(value.as_bytes()), expected, "{value}");
        }
    }

    #[test]
    fn texts_are_cut_and_escaped() {
        assert_eq!(shortened("abc", 3), "abc");
        assert_eq!(shortened("abcdef", 5), "ab…");
        assert_eq!(shortened("ééé", 5), "é…");
        assert_eq!(escaped(b"a\\\xff", 32), "a\\\\\\xff");
        assert!(escaped(&[0xff; 100], 32).len() <= 32);
    }
}
