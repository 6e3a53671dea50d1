//! What one pass over the headers finds: the few that a decision needs, and whatever makes the call ambiguous.

use std::borrow::Cow;

use grantmesh_shared::engine::{Ambiguity, WEBSOCKET, canonical_grpc_path, query_mentions};
use grantmesh_shared::wire::sync::{Position, REVISION_HEADER};

use crate::config::MethodOverride;
use crate::headers::Headers;

/// The most bytes of headers that are looked at.
pub(super) const MAX_HEADER_BYTES: usize = 256 * 1024;

/// The most headers that are looked at.
pub(super) const MAX_HEADERS: usize = 512;

/// Headers that frameworks take for the method of the call.
const METHOD_HEADERS: [&str; 3] = ["x-http-method-override", "x-http-method", "x-method-override"];

/// Query parameters that frameworks take for the method of the call.
const METHOD_PARAMETERS: [&str; 5] =
    ["_method", "_httpmethod", "x-http-method-override", "x-http-method", "x-method-override"];

/// Headers that frameworks take for the path of the call.
const PATH_HEADERS: [&str; 2] = ["x-original-url", "x-rewrite-url"];

/// Where a bearer token may stand in a query; `jwt_authn` looks there unless it is told not to.
const TOKEN_PARAMETERS: [&str; 1] = ["access_token"];

/// Media types of forms.
const FORMS: [&str; 2] = ["application/x-www-form-urlencoded", "multipart/form-data"];

/// The request as `flow` needs it, borrowed from the header map.
#[derive(Debug, Default)]
pub(super) struct Request<'h> {
    pub(super) method: &'h [u8],
    /// `:path`, with its query.
    pub(super) target: &'h [u8],
    /// The canonical path, once it is known to be one.
    pub(super) path: Option<&'h str>,
    pub(super) grpc: bool,
    /// Whether refusals are carried out for the caller, once it is known what the call may be.
    pub(super) enforced: Option<bool>,
    pub(super) ambiguity: Option<Ambiguity>,
    authority: Option<&'h [u8]>,
    request_id: Option<&'h [u8]>,
    revision: Option<&'h [u8]>,
    upgrade: Option<&'h [u8]>,
    origin: bool,
    preflight_method: bool,
}

impl<'h> Request<'h> {
    pub(super) fn read(headers: &Headers<'h>, method_override: MethodOverride) -> Self {
        let mut request = Self::default();
        if headers.size() > MAX_HEADER_BYTES {
            request.refuse(Ambiguity::Malformed("headers"));
            return request;
        }
        let mut seen = Seen::default();
        for (place, (name, value)) in headers.iter().enumerate() {
            if place >= MAX_HEADERS {
                request.refuse(Ambiguity::Malformed("headers"));
                break;
            }
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
                b"content-type" => {
                    request.grpc |= is_grpc(value);
                    seen.form |= is_form(value);
                }
                b"upgrade" => request.once(&mut seen.upgrade, "upgrade", |request| request.upgrade = Some(value)),
                b"sec-websocket-key" => seen.websocket_key = true,
                b"sec-websocket-version" => seen.websocket_version = value == b"13",
                b"x-request-id" => request.request_id = Some(value),
                _ if name == REVISION_HEADER.as_bytes() => request.revision = Some(value),
                b"origin" => request.origin = true,
                b"access-control-request-method" => request.preflight_method = true,
                [b'x', b'-' | b'_', ..] => request.take_override(name, method_override),
                _ => {}
            }
        }
        request.take_upgrade(seen.websocket_key && seen.websocket_version);
        request.check_query(seen.authorization, method_override);
        if seen.form && request.method == b"POST" && method_override == MethodOverride::Refuse {
            request.refuse(Ambiguity::MethodForm);
        }
        if request.grpc {
            let path = canonical_grpc_path(request.target);
            if path.is_err() || request.method != b"POST" {
                request.refuse(Ambiguity::GrpcPath);
            }
        }
        request
    }

    /// What opens a WebSocket is a call of its own kind. Other protocols are refused: what follows would not be looked at
    /// (`h2c` carries whole calls past a proxy). So is a handshake that is not whole (RFC 6455, section 4.1): a service
    /// would answer it as the plain `GET` that it then is, which is another action.
    fn take_upgrade(&mut self, whole: bool) {
        let opens =
            self.upgrade.map(|protocol| whole && self.method == b"GET" && protocol.eq_ignore_ascii_case(b"websocket"));
        match opens {
            Some(true) => self.method = WEBSOCKET.as_bytes(),
            Some(false) => self.refuse(Ambiguity::Upgrade),
            None if self.method == WEBSOCKET.as_bytes() => self.refuse(Ambiguity::Upgrade),
            None => {}
        }
    }

    /// A header that could be another spelling of the method or the path.
    fn take_override(&mut self, name: &[u8], method_override: MethodOverride) {
        if let Some(header) = spelled(name, &PATH_HEADERS) {
            self.refuse(Ambiguity::PathOverride(header));
        }
        if method_override != MethodOverride::Ignored && spelled(name, &METHOD_HEADERS).is_some() {
            self.refuse(Ambiguity::MethodOverride);
        }
    }

    /// What in the query would change who calls or how.
    fn check_query(&mut self, authorized: bool, method_override: MethodOverride) {
        let Some(query) = self.target.splitn(2, |byte| *byte == b'?').nth(1) else { return };
        if method_override != MethodOverride::Ignored
            && let Some(parameter) = query_mentions(query, &METHOD_PARAMETERS).next()
        {
            self.refuse(Ambiguity::MethodParameter(parameter));
        }
        let tokens = query_mentions(query, &TOKEN_PARAMETERS).count();
        if tokens.saturating_add(usize::from(authorized)) > 1 {
            self.refuse(Ambiguity::TwoValues("authorization"));
        }
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
        if value.contains(&b',') {
            // Two that the proxy joined.
            self.refuse(Ambiguity::TwoValues("host"));
        }
        if !is_authority(value) {
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

    pub(super) fn request_id(&self) -> Option<&'h str> {
        let id = self.request_id?;
        let plain = (1..=128).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic);
        std::str::from_utf8(id).ok().filter(|_| plain)
    }
}

#[derive(Default)]
struct Seen {
    method: bool,
    path: bool,
    authorization: bool,
    form: bool,
    upgrade: bool,
    websocket_key: bool,
    websocket_version: bool,
}

/// The known header that this is a spelling of: servers that hand headers on as variables make one of `-` and `_`.
fn spelled(name: &[u8], known: &[&'static str]) -> Option<&'static str> {
    let plain = |byte: &u8| if *byte == b'_' { b'-' } else { *byte };
    let same = |header: &str| header.len() == name.len() && name.iter().map(plain).eq(header.bytes());
    known.iter().copied().find(|header| same(header))
}

/// A host that every server reads alike: a name or address in plain letters with at most one plain port. Letter case
/// and port stay as they are and make no difference; a dot at the end, which to some servers is another host, is refused.
fn is_authority(value: &[u8]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    let (host, port) = match value.strip_prefix(b"[") {
        Some(rest) => {
            let Some(end) = rest.iter().position(|byte| *byte == b']') else { return false };
            let (address, rest) = rest.split_at_checked(end).unwrap_or_default();
            let plain = address.iter().all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.'));
            (plain && !address.is_empty(), rest.get(1..).unwrap_or_default())
        }
        None => {
            let end = value.iter().position(|byte| *byte == b':').unwrap_or(value.len());
            let (name, rest) = value.split_at_checked(end).unwrap_or_default();
            let fine = name.iter().all(plain) && name.split(|byte| *byte == b'.').all(|label| !label.is_empty());
            (fine, rest)
        }
    };
    let is_port = match port.strip_prefix(b":") {
        Some(digits) => {
            (1..=5).contains(&digits.len())
                && digits.iter().all(u8::is_ascii_digit)
                && digits.first() != Some(&b'0')
                && std::str::from_utf8(digits).is_ok_and(|digits| digits.parse::<u16>().is_ok())
        }
        None => port.is_empty(),
    };
    host && is_port
}

fn is_form(content_type: &[u8]) -> bool {
    let head = content_type.split(|byte| matches!(byte, b';' | b',' | b' ' | b'\t')).next().unwrap_or_default();
    FORMS.iter().any(|form| head.eq_ignore_ascii_case(form.as_bytes()))
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
pub(super) fn shortened(text: &str, max: usize) -> Cow<'_, str> {
    if text.len() <= max {
        return Cow::Borrowed(text);
    }
    let mut cut: String = text
        .char_indices()
        .take_while(|(at, letter)| at.saturating_add(letter.len_utf8()) <= max.saturating_sub(3))
        .map(|(_, letter)| letter)
        .collect();
    cut.push('…');
    Cow::Owned(cut)
}

/// Bytes as text: what is not plain ASCII is escaped, and what is too long is cut.
pub(super) fn escaped(bytes: &[u8], max: usize) -> Cow<'_, str> {
    let plain = bytes.len() <= max && bytes.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'\\');
    match std::str::from_utf8(bytes) {
        Ok(text) if plain => Cow::Borrowed(text),
        _ => {
            let head = bytes.get(..max).unwrap_or(bytes);
            Cow::Owned(shortened(&head.escape_ascii().to_string(), max).into_owned())
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
        ] {
            let request = Request { authority: Some(authority.as_bytes()), ..Request::default() };
            assert_eq!(request.host(), Some(host.as_bytes()), "{authority}");
        }
    }

    #[test]
    fn an_authority_has_one_reading() {
        for authority in ["a", "A.example:443", "a_b.c-d:65535", "10.0.0.1:80", "[::1]", "[fe80::1.2.3.4]:80"] {
            assert!(is_authority(authority.as_bytes()), "{authority}");
        }
        for authority in [
            "",
            ":80",
            "a:",
            "a:0",
            "a:080",
            "a:65536",
            "a:http",
            "a:80:80",
            "a.",
            "a.example.:80",
            ".a",
            "a..b",
            "a,b",
            "u@a",
            "a/b",
            "a?b",
            "a#b",
            "a\\b",
            "a b",
            "a%2eb",
            "[]",
            "[::1",
            "[::1]x",
            "[::1%eth0]",
            "é",
        ] {
            assert!(!is_authority(authority.as_bytes()), "{authority}");
        }
    }

    #[test]
    fn forms_are_told_from_other_bodies() {
        for value in ["application/x-www-form-urlencoded", "Multipart/Form-Data; boundary=x", "multipart/form-data"] {
            assert!(is_form(value.as_bytes()), "{value}");
        }
        for value in ["application/json", "", "text/plain; a=multipart/form-data", "multipart/mixed"] {
            assert!(!is_form(value.as_bytes()), "{value}");
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
