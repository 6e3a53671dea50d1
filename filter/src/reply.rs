//! The filter's own answers: the challenge as problem+json with headers for tools, or a short text for gRPC, whose
//! clients see only status and message. Made by `flow`, sent by `http`.

use grantmesh_shared::id::RequestId;
use grantmesh_shared::wire::problem::{BoundChallenge, Challenge, MEDIA_TYPE, Problem, ProblemReason};
use grantmesh_shared::wire::records::DecisionWord;

use crate::masking::Withheld;

/// Says `ask` or `deny`.
pub const DECISION_HEADER: &str = "grantmesh-decision";

/// The challenge's `request_url`, for tools that read no bodies.
pub const REQUEST_URL_HEADER: &str = "grantmesh-request-url";

/// gRPC's INVALID_ARGUMENT.
const INVALID_ARGUMENT: i32 = 3;

/// gRPC's PERMISSION_DENIED.
const PERMISSION_DENIED: i32 = 7;

/// A complete answer to a refused call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// `Ask` or `Deny`.
    pub word: DecisionWord,
    /// The HTTP status.
    pub status: u16,
    /// The status that a gRPC caller gets.
    pub grpc_status: i32,
    /// Headers beyond what the proxy sets.
    pub headers: Vec<(&'static str, String)>,
    /// The body; for gRPC, the message.
    pub body: Vec<u8>,
}

impl Reply {
    /// The answer to a call that could not even be looked at. Nothing of it can be recorded.
    #[must_use]
    pub fn blind(code: &str, detail: &str) -> Self {
        let problem = Problem::new(403, code, "call refused").detail(detail);
        let problem =
            Problem { reasons: vec![ProblemReason { code: code.to_owned(), detail: detail.to_owned() }], ..problem };
        Self {
            word: DecisionWord::Deny,
            status: 403,
            grpc_status: PERMISSION_DENIED,
            headers: vec![
                (DECISION_HEADER, DecisionWord::Deny.as_str().to_owned()),
                ("content-type", MEDIA_TYPE.to_owned()),
            ],
            body: serde_json::to_vec(&problem).unwrap_or_default(),
        }
    }
}

impl Reply {
    /// The document in place of a response that cannot be masked: with the service's status if that tells of a failure.
    #[must_use]
    pub fn withheld(status: Option<u16>, why: &Withheld, service: String, decision_id: String) -> Self {
        let status = status.filter(|status| (400..600).contains(status)).unwrap_or(502);
        let mut problem = Problem::new(status, "response_withheld", "response withheld").detail(why.to_string());
        problem.reasons = vec![ProblemReason { code: why.code().to_owned(), detail: why.to_string() }];
        problem.challenge = Some(Challenge {
            decision: DecisionWord::Deny.as_str().to_owned(),
            decision_id,
            service,
            action: None,
            resource: None,
            rules: Vec::new(),
            request_url: None,
            bound: None,
            request: None,
        });
        Self {
            word: DecisionWord::Deny,
            status,
            grpc_status: PERMISSION_DENIED,
            headers: vec![
                (DECISION_HEADER, DecisionWord::Deny.as_str().to_owned()),
                ("cache-control", "no-store".to_owned()),
                ("content-type", MEDIA_TYPE.to_owned()),
            ],
            body: serde_json::to_vec(&problem).unwrap_or_default(),
        }
    }
}

/// What a refusal has to tell.
#[derive(Debug)]
pub(crate) struct Telling<'a> {
    pub(crate) status: u16,
    pub(crate) code: &'a str,
    pub(crate) title: &'a str,
    pub(crate) word: DecisionWord,
    pub(crate) decision_id: String,
    pub(crate) service: &'a str,
    /// Action and resource, where the call matched.
    pub(crate) matched: Option<(&'a str, &'a str)>,
    pub(crate) rules: Vec<String>,
    pub(crate) reasons: Vec<ProblemReason>,
    pub(crate) public_url: &'a str,
    pub(crate) grpc: bool,
    /// The call, where a rule binds it.
    pub(crate) bound: Option<BoundChallenge>,
    /// The request that was filed for the call while it was held.
    pub(crate) request: Option<&'a RequestId>,
}

impl Telling<'_> {
    pub(crate) fn reply(self) -> Reply {
        let request_url = match (self.word, self.matched) {
            (DecisionWord::Ask, Some((action, resource))) => {
                Some(request_url(self.public_url, self.service, (action, resource), self.bound.as_ref()))
            }
            _ => None,
        };
        let mut headers =
            vec![(DECISION_HEADER, self.word.as_str().to_owned()), ("cache-control", "no-store".to_owned())];
        headers.extend(request_url.clone().map(|url| (REQUEST_URL_HEADER, url)));
        let why: Vec<&str> = self.reasons.iter().map(|reason| reason.detail.as_str()).collect();
        let body = if self.grpc {
            let mut message = format!("{}: {}", self.title, why.join("; "));
            if let Some(url) = &request_url {
                message.push_str("; ask at ");
                message.push_str(url);
            }
            if let Some(request) = self.request {
                message.push_str("; the request is ");
                message.push_str(request.as_str());
            }
            message.into_bytes()
        } else {
            headers.push(("content-type", MEDIA_TYPE.to_owned()));
            let mut problem = Problem::new(self.status, self.code, self.title).detail(why.join("; "));
            problem.reasons = self.reasons;
            problem.challenge = Some(Challenge {
                decision: self.word.as_str().to_owned(),
                decision_id: self.decision_id,
                service: self.service.to_owned(),
                action: self.matched.map(|(action, _)| action.to_owned()),
                resource: self.matched.map(|(_, resource)| resource.to_owned()),
                rules: self.rules,
                request_url,
                bound: self.bound,
                request: self.request.cloned(),
            });
            serde_json::to_vec(&problem).unwrap_or_default()
        };
        let grpc_status = if self.status == 400 { INVALID_ARGUMENT } else { PERMISSION_DENIED };
        Reply { word: self.word, status: self.status, grpc_status, headers, body }
    }
}

/// Where the caller gets the body that files this very request. The parts of a bound call stand behind the `#`: no server
/// is told that part of a URL, and no log keeps it.
fn request_url(
    public_url: &str,
    service: &str,
    (action, resource): (&str, &str),
    bound: Option<&BoundChallenge>,
) -> String {
    let mut url = format!("{public_url}/v1/requests/new");
    let rule = bound.map(|bound| ('&', "rule", bound.rule.as_str()));
    let parts =
        [('?', "service", service), ('&', "action", action), ('&', "resource", resource)].into_iter().chain(rule);
    let call = bound.and_then(|bound| serde_json::to_string(&bound.call).ok());
    for (separator, name, value) in parts.chain(call.as_deref().map(|call| ('#', "call", call))) {
        url.push(separator);
        url.push_str(name);
        url.push('=');
        form_encode(value, &mut url);
    }
    url
}

/// Appends a value as forms spell it.
fn form_encode(value: &str, out: &mut String) {
    const DIGITS: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'];
    let digit = |nibble: u8| DIGITS.get(usize::from(nibble & 15)).copied().unwrap_or('0');
    for byte in value.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'*' => out.push(char::from(byte)),
            b' ' => out.push('+'),
            _ => out.extend(['%', digit(byte >> 4), digit(byte)]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn telling(grpc: bool) -> Telling<'static> {
        Telling {
            status: 403,
            code: "approval_required",
            title: "approval required",
            word: DecisionWord::Ask,
            decision_id: "dec_1".to_owned(),
            service: "pay ments",
            matched: Some(("refund.create", "account/é&=+%")),
            rules: vec!["r".to_owned()],
            reasons: vec![ProblemReason { code: "no_role".to_owned(), detail: "no role".to_owned() }],
            public_url: "http://cp",
            grpc,
            bound: None,
            request: None,
        }
    }

    const URL: &str =
        "http://cp/v1/requests/new?service=pay+ments&action=refund.create&resource=account%2F%C3%A9%26%3D%2B%25";

    #[test]
    fn the_challenge_has_everything_to_ask_with() {
        let reply = telling(false).reply();
        let problem: Problem = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!(problem.challenge.unwrap().request_url.as_deref(), Some(URL));
        assert_eq!(problem.code, "approval_required");
        assert!(reply.headers.contains(&(REQUEST_URL_HEADER, URL.to_owned())));
        assert!(reply.headers.contains(&(DECISION_HEADER, "ask".to_owned())));
    }

    #[test]
    fn grpc_callers_get_a_message() {
        let reply = telling(true).reply();
        assert_eq!(String::from_utf8(reply.body).unwrap(), format!("approval required: no role; ask at {URL}"));
        assert_eq!(reply.grpc_status, 7);
    }

    #[test]
    fn a_refusal_that_cannot_be_asked_for_has_no_url() {
        let reply = Telling { word: DecisionWord::Deny, ..telling(false) }.reply();
        assert!(!String::from_utf8(reply.body).unwrap().contains("request_url"));
        assert!(!reply.headers.iter().any(|(name, _)| *name == REQUEST_URL_HEADER));
    }
}
