//! The canonicaliser: refuses every method and path that another parser could read differently, so that what is
//! decided is what is served (DESIGN.md section 3). It never rewrites: what passes is forwarded as it came.

/// The method, in policies and records, of a call that opens a WebSocket. Never one on the wire: there it is a `GET` with
/// `upgrade: websocket`, a key and version 13 (RFC 6455, section 4.1).
pub const WEBSOCKET: &str = "WEBSOCKET";

/// The longest path with query that is looked at.
pub const MAX_PATH_BYTES: usize = 8_192;

/// The most segments of a path.
pub const MAX_SEGMENTS: usize = 64;

/// What makes a call ambiguous. Always refused with 400.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Ambiguity {
    /// Not an upper-case ASCII token of at most 32 letters.
    #[error("the method is not a plain upper-case word")]
    Method,
    /// No `:path`, or one without a leading slash (absolute form, `*`, authority form).
    #[error("the path does not begin with `/`")]
    NoLeadingSlash,
    /// Longer than [`MAX_PATH_BYTES`].
    #[error("the path is longer than 8192 bytes")]
    TooLong,
    /// More than [`MAX_SEGMENTS`] segments.
    #[error("the path has more than 64 segments")]
    TooManySegments,
    /// `//`.
    #[error("the path has an empty segment (`//`)")]
    EmptySegment,
    /// `.` or `..`.
    #[error("the path has a dot segment")]
    DotSegment,
    /// `\`, `;`, `#`, a control or non-ASCII byte, or another byte that RFC 3986 does not allow in a path.
    #[error("the path has a byte that parsers disagree about (0x{0:02x})")]
    Byte(u8),
    /// `%` without two hexadecimal digits.
    #[error("the path has a broken percent escape")]
    BrokenEscape,
    /// An escape of a character that changes the meaning for a parser that decodes early, or that has a second spelling.
    #[error("the path has the percent escape %{0:02x}, which parsers read differently")]
    Escape(u8),
    /// An escape with a lower-case digit, which has a second spelling.
    #[error("the path has a percent escape with a lower-case digit: its digits `A` to `F` are to be capitals")]
    EscapeCase,
    /// Escapes that do not spell UTF-8.
    #[error("the path has percent escapes that are not UTF-8")]
    NotUtf8,
    /// A trailing slash more than the action's path has.
    #[error("the path has a trailing slash that the action's path has not")]
    TrailingSlash,
    /// A path that leads elsewhere for a server that does not tell capitals from small letters.
    #[error("the path leads to an action only if letter case does not matter")]
    LetterCase,
    /// Two values of a header that says who or where (host, authorization).
    #[error("the call has more than one value of `{0}`")]
    TwoValues(&'static str),
    /// A header that asks to treat the call as another method.
    #[error("the call has a method override header")]
    MethodOverride,
    /// A query parameter that asks to treat the call as another method.
    #[error("the call has the method override parameter `{0}`")]
    MethodParameter(&'static str),
    /// A posted form, whose fields can ask to treat the call as another method and which nobody reads before it is served.
    #[error(
        "the call posts a form, in which some frameworks look for another method: send JSON, or have `method_override` set in the filter's configuration"
    )]
    MethodForm,
    /// A header that asks to treat the call as one of another path.
    #[error("the call has the header `{0}`, from which some frameworks take the path")]
    PathOverride(&'static str),
    /// A change of protocol that is not the whole opening of a WebSocket by `GET`, or a method that spells one.
    #[error(
        "the call changes the protocol, and not by opening a WebSocket with `GET`, `sec-websocket-key` and \
         `sec-websocket-version: 13`"
    )]
    Upgrade,
    /// A gRPC call that is not exactly `POST /package.Service/Method`.
    #[error("the path of the gRPC call is not `/package.Service/Method`")]
    GrpcPath,
    /// A header name or value is not what HTTP allows.
    #[error("the call has a malformed `{0}`")]
    Malformed(&'static str),
}

impl Ambiguity {
    /// A short stable word for records and metrics.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Method => "ambiguous_method",
            Self::NoLeadingSlash => "no_leading_slash",
            Self::TooLong => "path_too_long",
            Self::TooManySegments => "too_many_segments",
            Self::EmptySegment => "empty_segment",
            Self::DotSegment => "dot_segment",
            Self::Byte(_) => "ambiguous_byte",
            Self::BrokenEscape => "broken_escape",
            Self::Escape(_) => "ambiguous_escape",
            Self::EscapeCase => "escape_case",
            Self::NotUtf8 => "escape_not_utf8",
            Self::TrailingSlash => "trailing_slash",
            Self::LetterCase => "letter_case",
            Self::TwoValues(_) => "two_values",
            Self::MethodOverride | Self::MethodParameter(_) | Self::MethodForm => "method_override",
            Self::PathOverride(_) => "path_override",
            Self::Upgrade => "upgrade",
            Self::GrpcPath => "grpc_path",
            Self::Malformed(_) => "malformed_header",
        }
    }
}

/// A path that every parser reads alike, without its query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CanonicalPath<'a> {
    path: &'a str,
    query: Option<&'a [u8]>,
}

impl<'a> CanonicalPath<'a> {
    /// The path, beginning with a slash.
    #[must_use]
    pub const fn as_str(&self) -> &'a str {
        self.path
    }

    /// What follows the first `?`, if there is one. Not checked beyond its length.
    #[must_use]
    pub const fn query(&self) -> Option<&'a [u8]> {
        self.query
    }

    /// The segments between the slashes; a trailing slash gives a last empty one, `/` alone gives one empty one.
    pub fn segments(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.path.strip_prefix('/').unwrap_or(self.path).split('/')
    }
}

/// Checks a method: an upper-case ASCII word.
///
/// # Errors
/// If it is anything else.
pub fn canonical_method(method: &[u8]) -> Result<&str, Ambiguity> {
    let fine = (1..=32).contains(&method.len()) && method.iter().all(u8::is_ascii_uppercase);
    if !fine {
        return Err(Ambiguity::Method);
    }
    std::str::from_utf8(method).map_err(|_| Ambiguity::Method)
}

/// Checks a path as it stands on the wire, with or without a query.
///
/// # Errors
/// If two parsers could read it differently; the error names what is ambiguous.
pub fn canonical_path(target: &[u8]) -> Result<CanonicalPath<'_>, Ambiguity> {
    if target.len() > MAX_PATH_BYTES {
        return Err(Ambiguity::TooLong);
    }
    if target.first() != Some(&b'/') {
        return Err(Ambiguity::NoLeadingSlash);
    }
    let mut halves = target.splitn(2, |byte| *byte == b'?');
    let path = halves.next().unwrap_or_default();
    let query = halves.next();
    if let Some(byte) = query.unwrap_or_default().iter().find(|byte| !byte.is_ascii_graphic() || **byte == b'#') {
        return Err(Ambiguity::Byte(*byte));
    }
    check_bytes(path)?;
    let path = std::str::from_utf8(path).map_err(|_| Ambiguity::NotUtf8)?;
    check_segments(path)?;
    Ok(CanonicalPath { path, query })
}

/// Checks the target of a gRPC call: `/package.Service/Method` without a query, as the protocol spells it. Servers differ
/// about everything else: some take what stands behind the last slash for the method, some drop the query.
///
/// # Errors
/// If it has another form.
pub fn canonical_grpc_path(target: &[u8]) -> Result<(), Ambiguity> {
    let is_name = |name: &[u8]| {
        !name.is_empty() && name.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.'))
    };
    let mut parts = target.split(|byte| *byte == b'/');
    let fine = parts.next() == Some(&b""[..])
        && parts.next().is_some_and(is_name)
        && parts.next().is_some_and(|method| is_name(method) && !method.contains(&b'.'))
        && parts.next().is_none();
    if fine { Ok(()) } else { Err(Ambiguity::GrpcPath) }
}

/// What stands before the first slash, and what stands behind it, if there is one. Byte by byte: segments are too short
/// for a search that is made for long texts.
pub(super) fn split_segment(path: &str) -> (&str, Option<&str>) {
    let slash = path.bytes().position(|byte| byte == b'/');
    let halves = slash.and_then(|slash| path.split_at_checked(slash));
    halves.map_or((path, None), |(head, tail)| (head, tail.get(1..)))
}

fn check_segments(path: &str) -> Result<(), Ambiguity> {
    let (_, mut rest) = split_segment(path);
    let mut count = 0_usize;
    while let Some(text) = rest {
        let (segment, tail) = split_segment(text);
        rest = tail;
        count = count.saturating_add(1);
        if count > MAX_SEGMENTS {
            return Err(Ambiguity::TooManySegments);
        }
        if matches!(segment, "." | "..") {
            return Err(Ambiguity::DotSegment);
        }
        // Some routers trim the segments that they match.
        if segment.starts_with("%20") || segment.ends_with("%20") {
            return Err(Ambiguity::Escape(b' '));
        }
        if segment.is_empty() && rest.is_some() {
            return Err(Ambiguity::EmptySegment);
        }
    }
    Ok(())
}

/// RFC 3986 `pchar` without `;` (path parameters) and without `%`.
const fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'-' | b'.'
                | b'_'
                | b'~'
                | b'!'
                | b'$'
                | b'&'
                | b'\''
                | b'('
                | b')'
                | b'*'
                | b'+'
                | b','
                | b'='
                | b':'
                | b'@'
        )
}

/// An escape is accepted only where the character has no other spelling and decoding it early changes nothing:
/// not for characters that may stand unescaped, not for delimiters, not for controls.
const fn is_escapable(byte: u8) -> bool {
    matches!(byte, b' ' | b'"' | b'<' | b'>' | b'^' | b'`' | b'{' | b'|' | b'}' | b'[' | b']') || byte >= 0x80
}

fn check_bytes(path: &[u8]) -> Result<(), Ambiguity> {
    let mut bytes = path.iter().copied();
    let mut utf8 = Utf8Check::default();
    while let Some(byte) = bytes.next() {
        if byte == b'/' || is_plain(byte) {
            utf8.boundary()?;
            continue;
        }
        if byte != b'%' {
            return Err(Ambiguity::Byte(byte));
        }
        let (high, low) = (bytes.next(), bytes.next());
        let escaped = hex(high).zip(hex(low)).ok_or(Ambiguity::BrokenEscape)?;
        let decoded = (escaped.0 << 4) | escaped.1;
        if !is_escapable(decoded) {
            return Err(Ambiguity::Escape(decoded));
        }
        if [high, low].into_iter().flatten().any(|digit| digit.is_ascii_lowercase()) {
            return Err(Ambiguity::EscapeCase);
        }
        if decoded < 0x80 {
            utf8.boundary()?;
        } else {
            utf8.push(decoded)?;
        }
    }
    utf8.boundary()
}

fn hex(byte: Option<u8>) -> Option<u8> {
    char::from(byte?).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// Checks a run of decoded bytes one character at a time, without collecting the run.
#[derive(Default)]
struct Utf8Check {
    bytes: [u8; 4],
    len: usize,
}

impl Utf8Check {
    fn push(&mut self, byte: u8) -> Result<(), Ambiguity> {
        *self.bytes.get_mut(self.len).ok_or(Ambiguity::NotUtf8)? = byte;
        self.len = self.len.saturating_add(1);
        let run = self.bytes.get(..self.len).ok_or(Ambiguity::NotUtf8)?;
        match std::str::from_utf8(run) {
            Ok(_) => self.len = 0,
            Err(error) if error.error_len().is_some() => return Err(Ambiguity::NotUtf8),
            Err(_) => {}
        }
        Ok(())
    }

    fn boundary(&self) -> Result<(), Ambiguity> {
        if self.len == 0 { Ok(()) } else { Err(Ambiguity::NotUtf8) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_paths_pass_unchanged() {
        for path in
            ["/", "/v1/accounts/acc-42/refunds", "/a/", "/a:cancel", "/caf%C3%A9/x%20y", "/pkg.Svc/Method", "/~a/(b)"]
        {
            assert_eq!(canonical_path(path.as_bytes()).unwrap().as_str(), path);
        }
        let with_query = canonical_path(b"/a?b=//..%2f;c").unwrap();
        assert_eq!((with_query.as_str(), with_query.query()), ("/a", Some(&b"b=//..%2f;c"[..])));
    }

    #[test]
    fn what_two_parsers_read_differently_is_refused() {
        use Ambiguity as A;
        let cases: &[(&[u8], A)] = &[
            (b"", A::NoLeadingSlash),
            (b"*", A::NoLeadingSlash),
            (b"http://a/b", A::NoLeadingSlash),
            (b"/a%2fb", A::Escape(b'/')),
            (b"/a%5Cb", A::Escape(b'\\')),
            (b"/a%00", A::Escape(0)),
            (b"/a%252f", A::Escape(b'%')),
            (b"/%61", A::Escape(b'a')),
            (b"/a%3Bb", A::Escape(b';')),
            (b"/a%3Acancel", A::Escape(b':')),
            (b"/%2e%2e/b", A::Escape(b'.')),
            (b"/a%2", A::BrokenEscape),
            (b"/a%zz", A::BrokenEscape),
            (b"/a\\b", A::Byte(b'\\')),
            (b"/a;b=c", A::Byte(b';')),
            (b"/a#b", A::Byte(b'#')),
            (b"/a b", A::Byte(b' ')),
            (b"/caf\xc3\xa9", A::Byte(0xc3)),
            (b"/a?b\x00", A::Byte(0)),
            (b"/a?b#c", A::Byte(b'#')),
            (b"//a", A::EmptySegment),
            (b"/a//b", A::EmptySegment),
            (b"/a//", A::EmptySegment),
            (b"/a/./b", A::DotSegment),
            (b"/a/..", A::DotSegment),
            (b"/%C3", A::NotUtf8),
            (b"/%C3a%A9", A::NotUtf8),
            (b"/%FF", A::NotUtf8),
            (b"/%C0%AF", A::NotUtf8),
            (b"/caf%c3%a9", A::EscapeCase),
            (b"/a%20/b", A::Escape(b' ')),
            (b"/%20a", A::Escape(b' ')),
        ];
        for (path, why) in cases {
            assert_eq!(canonical_path(path), Err(*why), "{}", path.escape_ascii());
        }
        assert_eq!(canonical_path(&[b"/".to_vec(), b"a".repeat(MAX_PATH_BYTES)].concat()), Err(A::TooLong));
        assert_eq!(canonical_path(&b"/a".repeat(65)), Err(A::TooManySegments));
    }

    #[test]
    fn grpc_paths_have_one_form() {
        for path in ["/pay.v1.Refunds/Create", "/Health/Check"] {
            assert_eq!(canonical_grpc_path(path.as_bytes()), Ok(()), "{path}");
        }
        for path in [
            "pay.Refunds/Create",
            "/pay.Refunds",
            "/pay.Refunds/",
            "/pay.Refunds/Create/",
            "//Create",
            "/v1/pay.Refunds/Create",
            "/pay.Refunds/Create?x=1",
            "/pay.Refunds/x.Create",
            "/pay.Refunds/Cr%65ate",
            "",
        ] {
            assert_eq!(canonical_grpc_path(path.as_bytes()), Err(Ambiguity::GrpcPath), "{path}");
        }
    }

    #[test]
    fn methods_are_upper_case_words() {
        assert_eq!(canonical_method(b"POST"), Ok("POST"));
        for method in [&b""[..], b"post", b"PO ST", b"P\xd6ST", b"M-SEARCH", &[b'A'; 33]] {
            assert_eq!(canonical_method(method), Err(Ambiguity::Method));
        }
    }
}
