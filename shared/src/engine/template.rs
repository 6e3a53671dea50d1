//! Path and resource templates: `/v1/accounts/{account}/refunds`, `account/{account}`.
//! `{name}` is one segment; `{name=**}` (last only) is the rest of the path, as in Envoy's URI templates.

use std::fmt;

use super::canonical::{Ambiguity, MAX_SEGMENTS, canonical_path, split_segment};

/// One segment of a path template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Segment {
    Literal(Box<str>),
    Parameter(Box<str>),
    Rest(Box<str>),
}

/// A checked path template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathTemplate {
    text: Box<str>,
    pub(crate) segments: Vec<Segment>,
}

/// How the paths that two templates match relate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overlap {
    /// No path matches both.
    Disjoint,
    /// One matches a part of the other's paths; the narrower one wins.
    Ordered,
    /// They match the same paths.
    Same,
    /// Some path matches both and neither is narrower, so routers disagree about it.
    Conflict,
}

/// Why a template is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// No leading slash, or a literal that the canonicaliser would refuse in a call.
    #[error("`{template}` can never be called: {source}\nwrite a plain path like `/v1/accounts/{{account}}/refunds`")]
    NeverCanonical {
        /// The template.
        template: String,
        /// What is ambiguous about it.
        source: Ambiguity,
    },
    /// A `{…}` that is not one of the two forms.
    #[error(
        "`{segment}` is not a parameter\nwrite `{{name}}` for one segment or `{{name=**}}` for the rest of the path, with a name of a-z, 0-9 and `_`"
    )]
    Parameter {
        /// The segment.
        segment: String,
    },
    /// `{name=**}` before the end.
    #[error("`{segment}` must be the last segment of the path")]
    RestNotLast {
        /// The segment.
        segment: String,
    },
    /// A parameter twice.
    #[error("the path has two parameters named `{name}`\ngive each its own name")]
    Twice {
        /// The name.
        name: String,
    },
    /// A resource that names a parameter that the path has not.
    #[error(
        "the resource uses `{{{name}}}`, which the path `{path}` does not have\nuse one of its parameters, or plain text"
    )]
    UnknownParameter {
        /// The name.
        name: String,
        /// The path template.
        path: String,
    },
    /// Two parameters of a resource that different paths could fill to the same text.
    #[error(
        "the resource's `{{{name}}}` runs together with the parameter before it\nput a `/` between them, and a `{{name=**}}` parameter last"
    )]
    RunsTogether {
        /// The second parameter.
        name: String,
    },
    /// An empty resource, or one with control characters.
    #[error("`{resource}` is not a resource\nwrite something like `account/{{account}}`")]
    Resource {
        /// The resource.
        resource: String,
    },
}

fn is_name(name: &str) -> bool {
    (1..=64).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

impl PathTemplate {
    /// Reads a template.
    ///
    /// # Errors
    /// If it is malformed or can never match a canonical call.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut segments = Vec::new();
        let mut plain = String::new();
        let mut names: Vec<&str> = Vec::new();
        let mut parts = text.strip_prefix('/').unwrap_or_default().split('/').peekable();
        while let Some(part) = parts.next() {
            plain.push('/');
            if !part.contains(['{', '}']) {
                plain.push_str(part);
                segments.push(Segment::Literal(part.into()));
                continue;
            }
            plain.push('x');
            let malformed = || TemplateError::Parameter { segment: part.to_owned() };
            let inner = part.strip_prefix('{').and_then(|part| part.strip_suffix('}')).ok_or_else(malformed)?;
            let (name, rest) = inner.strip_suffix("=**").map_or((inner, false), |name| (name, true));
            if !is_name(name) {
                return Err(malformed());
            }
            if names.contains(&name) {
                return Err(TemplateError::Twice { name: name.to_owned() });
            }
            if rest && parts.peek().is_some() {
                return Err(TemplateError::RestNotLast { segment: part.to_owned() });
            }
            names.push(name);
            segments.push(if rest { Segment::Rest(name.into()) } else { Segment::Parameter(name.into()) });
        }
        let never = |source| TemplateError::NeverCanonical { template: text.to_owned(), source };
        let plain = if text.starts_with('/') { plain } else { text.to_owned() };
        let path = canonical_path(plain.as_bytes()).map_err(never)?;
        if path.query().is_some() {
            return Err(never(Ambiguity::Byte(b'?')));
        }
        if segments.len() > MAX_SEGMENTS {
            return Err(never(Ambiguity::TooManySegments));
        }
        Ok(Self { text: text.into(), segments })
    }

    /// The template as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The names of its parameters.
    pub fn parameters(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().filter_map(|segment| match segment {
            Segment::Literal(_) => None,
            Segment::Parameter(name) | Segment::Rest(name) => Some(&**name),
        })
    }

    fn is_rest(&self, name: &str) -> bool {
        matches!(self.segments.last(), Some(Segment::Rest(rest)) if **rest == *name)
    }

    /// Whether this template matches only some of the paths that the other one does.
    #[must_use]
    pub fn is_narrower_than(&self, other: &Self) -> bool {
        self.narrower(other) == Some((true, false))
    }

    /// How the paths that two templates match relate.
    #[must_use]
    pub fn overlap(&self, other: &Self) -> Overlap {
        match self.narrower(other) {
            None => Overlap::Disjoint,
            Some((false, false)) => Overlap::Same,
            Some((true, true)) => Overlap::Conflict,
            Some(_) => Overlap::Ordered,
        }
    }

    /// Whether this template is the narrower one somewhere, and whether the other one is; nothing if no path matches both.
    fn narrower(&self, other: &Self) -> Option<(bool, bool)> {
        let (mut ours, mut theirs) = (self.segments.iter(), other.segments.iter());
        let (mut we_are_narrower, mut they_are_narrower) = (false, false);
        loop {
            match (ours.next(), theirs.next()) {
                (None, None) | (Some(Segment::Rest(_)), Some(Segment::Rest(_))) => break,
                (Some(Segment::Rest(_)), Some(_)) => {
                    they_are_narrower = true;
                    break;
                }
                (Some(_), Some(Segment::Rest(_))) => {
                    we_are_narrower = true;
                    break;
                }
                (None, Some(_)) | (Some(_), None) => return None,
                (Some(Segment::Literal(one)), Some(Segment::Literal(two))) if one == two => {}
                (Some(Segment::Literal(one)), Some(Segment::Parameter(_))) if !one.is_empty() => we_are_narrower = true,
                (Some(Segment::Parameter(_)), Some(Segment::Literal(two))) if !two.is_empty() => {
                    they_are_narrower = true
                }
                (Some(Segment::Parameter(_)), Some(Segment::Parameter(_))) => {}
                _ => return None,
            }
        }
        Some((we_are_narrower, they_are_narrower))
    }

    /// The value of one parameter of a path that this template matches.
    pub(crate) fn parameter<'p>(&self, path: &'p str, name: &str) -> Option<&'p str> {
        let mut rest = path.strip_prefix('/')?;
        for segment in &self.segments {
            let (head, tail) = rest.split_once('/').unwrap_or((rest, ""));
            match segment {
                Segment::Rest(known) if **known == *name => return Some(rest),
                Segment::Parameter(known) if **known == *name => return Some(head),
                _ => rest = tail,
            }
        }
        None
    }

    /// The values of the parameters of a path that this template matches; nothing if it does not match.
    pub(crate) fn captures<'p>(&self, path: &'p str) -> Option<Captures<'_, 'p>> {
        let mut rest = path.strip_prefix('/')?;
        let mut captures = Captures { values: Vec::new() };
        let mut segments = self.segments.iter().peekable();
        while let Some(segment) = segments.next() {
            if let Segment::Rest(name) = segment {
                captures.values.push((name, rest));
                return (!rest.is_empty()).then_some(captures);
            }
            let (head, tail) = split_segment(rest);
            match segment {
                Segment::Literal(literal) if **literal == *head => {}
                Segment::Parameter(name) if !head.is_empty() => captures.values.push((name, head)),
                _ => return None,
            }
            match (tail, segments.peek().is_some()) {
                (Some(tail), true) => rest = tail,
                (None, false) => return Some(captures),
                _ => return None,
            }
        }
        None
    }
}

impl fmt::Display for PathTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Parameter values of one matched path.
#[derive(Debug)]
pub(crate) struct Captures<'t, 'p> {
    values: Vec<(&'t str, &'p str)>,
}

impl<'p> Captures<'_, 'p> {
    fn get(&self, name: &str) -> Option<&'p str> {
        self.values.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(Box<str>),
    Parameter(Box<str>),
}

/// A checked resource template, whose parameters are all of its path template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceTemplate {
    text: Box<str>,
    pieces: Vec<Piece>,
}

impl ResourceTemplate {
    /// Reads a resource template that belongs to `path`.
    ///
    /// # Errors
    /// If it is malformed or names a parameter that the path has not.
    pub fn parse(text: &str, path: &PathTemplate) -> Result<Self, TemplateError> {
        let refuse = || TemplateError::Resource { resource: text.chars().take(64).collect() };
        if text.is_empty() || text.len() > 512 || text.chars().any(char::is_control) {
            return Err(refuse());
        }
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, tail) = after.split_once('}').ok_or_else(refuse)?;
            let known = path.segments.iter().any(|segment| match segment {
                Segment::Literal(_) => false,
                Segment::Parameter(known) | Segment::Rest(known) => **known == *name,
            });
            if !known {
                return Err(TemplateError::UnknownParameter { name: name.to_owned(), path: path.as_str().to_owned() });
            }
            // Two values that touch, or a value with slashes before another, could be split in two ways.
            let runs_on = pieces.last().is_some_and(|last| match last {
                Piece::Text(_) => false,
                Piece::Parameter(last) => !before.contains('/') || path.is_rest(last),
            });
            if runs_on {
                return Err(TemplateError::RunsTogether { name: name.to_owned() });
            }
            if !before.is_empty() {
                pieces.push(Piece::Text(before.into()));
            }
            pieces.push(Piece::Parameter(name.into()));
            rest = tail;
        }
        if rest.contains('}') {
            return Err(refuse());
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.into()));
        }
        Ok(Self { text: text.into(), pieces })
    }

    /// The template as written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    fn fill(&self, captures: &Captures<'_, '_>) -> String {
        let mut resource = String::with_capacity(self.text.len().saturating_add(16));
        for piece in &self.pieces {
            resource.push_str(match piece {
                Piece::Text(text) => text,
                Piece::Parameter(name) => captures.get(name).unwrap_or_default(),
            });
        }
        resource
    }
}

/// The path and resource templates of one action; they belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActionTemplates {
    /// Where the action is called.
    pub path: PathTemplate,
    /// What it then touches.
    pub resource: ResourceTemplate,
}

impl ActionTemplates {
    /// Reads both templates; without a resource, the resource is the path template's own text filled in, without its slash.
    ///
    /// # Errors
    /// If one is malformed or they do not fit together.
    pub fn parse(path: &str, resource: Option<&str>) -> Result<Self, TemplateError> {
        let path = PathTemplate::parse(path)?;
        let resource = match resource {
            Some(resource) => ResourceTemplate::parse(resource, &path)?,
            None => {
                let own = path.as_str().trim_matches('/').replace("=**}", "}");
                ResourceTemplate::parse(if own.is_empty() { "root" } else { &own }, &path)?
            }
        };
        Ok(Self { path, resource })
    }

    /// Whether a resource leaves one path only: each of the path's parameters is in it, too.
    #[must_use]
    pub fn is_one_path(&self) -> bool {
        let named = |name: &str| {
            let is_it = |piece: &Piece| matches!(piece, Piece::Parameter(known) if **known == *name);
            self.resource.pieces.iter().any(is_it)
        };
        self.path.parameters().all(named)
    }

    /// The resource that a path touches; nothing if the path is not this action's.
    #[must_use]
    pub fn resource_of(&self, path: &str) -> Option<String> {
        self.path.captures(path).map(|captures| self.resource.fill(&captures))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resources_are_built_from_the_path() {
        let cases = [
            (
                "/v1/accounts/{account}/refunds",
                Some("account/{account}"),
                "/v1/accounts/acc-42/refunds",
                Some("account/acc-42"),
            ),
            ("/v1/accounts/{account}/refunds", None, "/v1/accounts/a/refunds", Some("v1/accounts/a/refunds")),
            ("/files/{path=**}", Some("file/{path}"), "/files/a/b/c", Some("file/a/b/c")),
            ("/files/{path=**}", Some("file/{path}"), "/files/", None),
            ("/a/{b}", None, "/a/", None),
            ("/a/{b}", None, "/a/x/", None),
            ("/a/{b}/", None, "/a/x/", Some("a/x")),
            ("/", None, "/", Some("root")),
        ];
        for (path, resource, called, expected) in cases {
            let templates = ActionTemplates::parse(path, resource).unwrap();
            assert_eq!(templates.resource_of(called).as_deref(), expected, "{path} {called}");
        }
    }

    #[test]
    fn a_resource_leaves_one_path_if_it_has_all_parameters() {
        let cases = [
            ("/v1/accounts/{account}/refunds", Some("account/{account}"), true),
            ("/v1/accounts/{account}/refunds/{refund}", Some("account/{account}"), false),
            ("/v1/accounts/{account}/refunds/{refund}", Some("refund/{account}/{refund}"), true),
            ("/files/{path=**}", None, true),
            ("/files/{path=**}", Some("files"), false),
            ("/mcp", Some("mcp"), true),
        ];
        for (path, resource, expected) in cases {
            assert_eq!(ActionTemplates::parse(path, resource).unwrap().is_one_path(), expected, "{path} {resource:?}");
        }
    }

    #[test]
    fn overlaps_are_seen() {
        let cases = [
            ("/a/{b}", "/a/{c}", Overlap::Same),
            ("/a/{b}", "/a/me", Overlap::Ordered),
            ("/a/{b}/c", "/a/b/{c}", Overlap::Conflict),
            ("/a/{b}", "/a/{b}/c", Overlap::Disjoint),
            ("/a/{b}", "/a/{rest=**}", Overlap::Ordered),
            ("/{a}/b", "/a/{rest=**}", Overlap::Conflict),
            ("/a/", "/a/{b}", Overlap::Disjoint),
        ];
        for (one, two, expected) in cases {
            let (one, two) = (PathTemplate::parse(one).unwrap(), PathTemplate::parse(two).unwrap());
            assert_eq!((one.overlap(&two), two.overlap(&one)), (expected, expected), "{one} {two}");
        }
    }

    #[test]
    fn malformed_templates_say_what_to_write() {
        for path in
            ["v1", "", "/a//b", "/a/../b", "/{a}/{a}", "/{a=**}/b", "/{A}", "/x{a}", "/{a", "/a?b", "/a;b", "/%41"]
        {
            assert!(PathTemplate::parse(path).is_err(), "{path}");
        }
        let path = PathTemplate::parse("/a/{b}/{c}/{rest=**}").unwrap();
        for resource in ["", "x/{d}", "x/{b", "x}", "{b}{c}", "{b}-{c}", "{rest}/{b}"] {
            assert!(ResourceTemplate::parse(resource, &path).is_err(), "{resource}");
        }
    }
}
