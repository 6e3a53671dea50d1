//! Who calls, and how policy names them. Used by `decide` and by every place that compares people.

use std::fmt;
use std::str::FromStr;

use crate::text::{misleads, shortened};

/// A person or agent as an OpenID provider names them: issuer and subject together, never one alone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct User {
    /// The `iss` claim, exactly as in the token.
    pub issuer: Box<str>,
    /// The `sub` claim, exactly as in the token.
    pub subject: Box<str>,
}

/// A workload by its SPIFFE id, the URI SAN of its mTLS certificate.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Workload(Box<str>);

impl Workload {
    /// The SPIFFE id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Workload {
    type Err = SubjectError;

    fn from_str(text: &str) -> Result<Self, SubjectError> {
        let rest = text.strip_prefix("spiffe://").unwrap_or_default();
        let (domain, path) = rest.split_once('/').unwrap_or_default();
        let fine = text.len() <= 2_048
            && !domain.is_empty()
            && !path.is_empty()
            && rest.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#' | b'%'));
        if fine { Ok(Self(text.into())) } else { Err(SubjectError::Workload(shortened(text, MOST_REPEATED))) }
    }
}

/// Who makes a call, borrowed from the call. At least one of the two halves is there for anything but a refusal.
#[derive(Debug, Clone, Copy, Default)]
pub struct Principal<'a> {
    /// The verified user: issuer and subject.
    pub user: Option<(&'a str, &'a str)>,
    /// The user's groups, as the token's `groups` claim lists them; they belong to the user's issuer.
    pub groups: &'a [&'a str],
    /// The SPIFFE id of the mTLS peer.
    pub workload: Option<&'a str>,
}

impl<'a> Principal<'a> {
    /// A user with groups and no workload.
    #[must_use]
    pub const fn user(issuer: &'a str, subject: &'a str, groups: &'a [&'a str]) -> Self {
        Self { user: Some((issuer, subject)), groups, workload: None }
    }

    /// Whether nobody is known to call.
    #[must_use]
    pub const fn is_anonymous(&self) -> bool {
        self.user.is_none() && self.workload.is_none()
    }
}

impl fmt::Display for Principal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.user, self.workload) {
            (Some((_, subject)), Some(workload)) => {
                write!(f, "user:{subject} by workload:{workload}")
            }
            (Some((_, subject)), None) => write!(f, "user:{subject}"),
            (None, Some(workload)) => write!(f, "workload:{workload}"),
            (None, None) => f.write_str("nobody"),
        }
    }
}

/// One name of a principal in a policy: a user, a group of an issuer, or a workload.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Subject {
    /// One user.
    User(User),
    /// Everyone whose token of `issuer` lists the group `name`.
    Group {
        /// The issuer whose groups are meant.
        issuer: Box<str>,
        /// The group's name in the `groups` claim.
        name: Box<str>,
    },
    /// One workload.
    Workload(Workload),
    /// A user or a group's member, only through that workload.
    Through(Through),
}

/// Both identities of a call at once: what names the user, and the workload it must come through.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Through {
    user: Box<Subject>,
    workload: Workload,
}

impl Through {
    /// The user or group `user` through `workload`; nothing if `user` is neither.
    #[must_use]
    pub fn new(user: Subject, workload: Workload) -> Option<Self> {
        matches!(user, Subject::User(_) | Subject::Group { .. }).then(|| Self { user: Box::new(user), workload })
    }

    /// The user or group.
    #[must_use]
    pub fn user(&self) -> &Subject {
        &self.user
    }

    /// The workload.
    #[must_use]
    pub const fn workload(&self) -> &Workload {
        &self.workload
    }
}

/// Why a text does not name a principal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubjectError {
    /// Neither `user:`, `group:` nor `workload:`.
    #[error(
        "`{0}` does not say what kind of principal it is\nwrite `user:NAME`, `group:NAME` or `workload:spiffe://DOMAIN/PATH`, or a user or group `+` a workload for both at once"
    )]
    Form(String),
    /// The name after `user:` or `group:` is empty, too long or has characters that mislead.
    #[error(
        "`{0}` has an empty name, one over 256 bytes, or one with characters that do not show as what they are\nuse the token's `sub` or group name as it stands"
    )]
    Name(String),
    /// Not a SPIFFE id.
    #[error("`{0}` is not a SPIFFE id\nwrite `workload:spiffe://DOMAIN/PATH`")]
    Workload(String),
}

/// So many letters of what names nobody are repeated.
const MOST_REPEATED: usize = 64;

impl Subject {
    /// Reads the policy form `user:NAME`, `group:NAME` or `workload:spiffe://…`, or one of the first two and the third
    /// with ` + ` between them for both at once; names belong to `issuer`.
    ///
    /// # Errors
    /// If the text has another form.
    pub fn parse(text: &str, issuer: &str) -> Result<Self, SubjectError> {
        if let Some((user, workload)) = text.split_once(" + workload:") {
            let through = Through::new(Self::parse_one(user, issuer)?, workload.parse()?);
            return through.map(Self::Through).ok_or_else(|| SubjectError::Form(shortened(text, MOST_REPEATED)));
        }
        Self::parse_one(text, issuer)
    }

    fn parse_one(text: &str, issuer: &str) -> Result<Self, SubjectError> {
        let (kind, name) = text.split_once(':').ok_or_else(|| SubjectError::Form(shortened(text, MOST_REPEATED)))?;
        if kind == "workload" {
            return name.parse().map(Self::Workload);
        }
        if !matches!(kind, "user" | "group") {
            return Err(SubjectError::Form(shortened(text, MOST_REPEATED)));
        }
        let bad = name.is_empty() || name.len() > 256 || name.trim() != name || name.chars().any(misleads);
        if bad {
            return Err(SubjectError::Name(shortened(text, MOST_REPEATED)));
        }
        let (issuer, name) = (issuer.into(), name.into());
        Ok(if kind == "user" { Self::User(User { issuer, subject: name }) } else { Self::Group { issuer, name } })
    }

    /// Whether this subject names the principal.
    #[must_use]
    pub fn names(&self, principal: &Principal<'_>) -> bool {
        match self {
            Self::User(user) => principal.user == Some((&user.issuer, &user.subject)),
            Self::Group { issuer, name } => {
                principal.user.is_some_and(|(of, _)| of == &**issuer) && principal.groups.contains(&&**name)
            }
            Self::Workload(workload) => principal.workload == Some(workload.as_str()),
            Self::Through(through) => {
                principal.workload == Some(through.workload.as_str()) && through.user.names(principal)
            }
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::User(user) => write!(f, "user:{}", user.subject),
            Self::Group { name, .. } => write!(f, "group:{name}"),
            Self::Workload(workload) => write!(f, "workload:{}", workload.as_str()),
            Self::Through(through) => write!(f, "{} + workload:{}", through.user, through.workload.as_str()),
        }
    }
}

/// Borrowed forms with the same hash as [`Subject`]'s variants, so that a lookup needs no allocation.
/// What needs both identities is found under its user or group; that the workload fits is checked there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum SubjectRef<'a> {
    User(&'a str, &'a str),
    Group(&'a str, &'a str),
    Workload(&'a str),
}

impl Subject {
    pub(crate) fn as_ref(&self) -> SubjectRef<'_> {
        match self {
            Self::User(user) => SubjectRef::User(&user.issuer, &user.subject),
            Self::Group { issuer, name } => SubjectRef::Group(issuer, name),
            Self::Workload(workload) => SubjectRef::Workload(workload.as_str()),
            Self::Through(through) => Self::as_ref(&through.user),
        }
    }

    /// The workload that a subject found under its user or group needs besides.
    pub(crate) fn through(&self) -> Option<&Workload> {
        match self {
            Self::Through(through) => Some(&through.workload),
            _ => None,
        }
    }
}

/// [`Subject`] as a map key that hashes like [`SubjectRef`].
#[derive(Debug, Clone)]
pub(crate) struct SubjectKey(pub(crate) Subject);

impl PartialEq for SubjectKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_ref() == other.0.as_ref()
    }
}

impl Eq for SubjectKey {}

impl std::hash::Hash for SubjectKey {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.0.as_ref().hash(state);
    }
}

impl hashbrown::Equivalent<SubjectKey> for SubjectRef<'_> {
    fn equivalent(&self, key: &SubjectKey) -> bool {
        *self == key.0.as_ref()
    }
}

impl<'a> Principal<'a> {
    /// Every subject that names this principal: the user, the workload, then each group.
    pub(crate) fn subjects(&self) -> impl Iterator<Item = SubjectRef<'a>> + use<'a> {
        let (user, groups) = (self.user, self.groups);
        let named = user.map(|(issuer, subject)| SubjectRef::User(issuer, subject));
        let workload = self.workload.map(SubjectRef::Workload);
        let groups = user
            .into_iter()
            .flat_map(move |(issuer, _)| groups.iter().map(move |group| SubjectRef::Group(issuer, group)));
        named.into_iter().chain(workload).chain(groups)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_read_and_others_refused() {
        let issuer = "https://id.example";
        let both = "group:support + workload:spiffe://mesh/ns/a/sa/b";
        for text in ["user:alice", "group:payments-leads", "workload:spiffe://mesh/ns/a/sa/b", "user:auth0|7:x", both] {
            assert_eq!(Subject::parse(text, issuer).unwrap().to_string(), text);
        }
        let bad = [
            "alice",
            "role:x",
            "user:",
            "group: x",
            "workload:b",
            "workload:spiffe://mesh",
            "user:a\nb",
            "workload:spiffe://mesh/a + workload:spiffe://mesh/b",
            "user:a + workload:b",
        ];
        for text in bad {
            assert!(Subject::parse(text, issuer).is_err(), "{text}");
        }
    }

    #[test]
    fn both_identities_must_fit() {
        let both = Subject::parse("group:support + workload:spiffe://mesh/a", "https://id.example").unwrap();
        let principal =
            |groups, workload| Principal { workload, ..Principal::user("https://id.example", "ann", groups) };
        assert!(both.names(&principal(&["support"], Some("spiffe://mesh/a"))));
        for (groups, workload) in
            [(&["support"], None), (&["support"], Some("spiffe://mesh/b")), (&["x"], Some("spiffe://mesh/a"))]
        {
            assert!(!both.names(&principal(groups, workload)), "{groups:?} {workload:?}");
        }
        assert!(!both.names(&Principal { user: None, groups: &["support"], workload: Some("spiffe://mesh/a") }));
    }

    #[test]
    fn a_group_belongs_to_its_issuer() {
        let leads = Subject::parse("group:leads", "https://id.example").unwrap();
        assert!(leads.names(&Principal::user("https://id.example", "ann", &["leads"])));
        assert!(!leads.names(&Principal::user("https://other.example", "ann", &["leads"])));
        assert!(!leads.names(&Principal { user: None, groups: &["leads"], workload: Some("spiffe://m/a") }));
    }
}
