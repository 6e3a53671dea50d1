//! From method and path to actions: a tree per method, one node per segment. The narrower template wins
//! (a literal before a parameter before the rest), the cost follows the path's length and not the number of actions.

use super::Map;
use super::canonical::{CanonicalPath, split_segment};
use super::template::{PathTemplate, Segment};

/// What a method and path lead to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Routed<T> {
    /// This action.
    Action(T),
    /// No action.
    Unmatched,
    /// An action, if a trailing slash more or less did not matter; to some servers it does not.
    TrailingSlash,
    /// Another action than the exact spelling's, if letter case did not matter; to some servers it does not.
    LetterCase,
}

/// The routes of one service; the values are places of groups, see [`super::service`].
#[derive(Debug, Default)]
pub(crate) struct Routes {
    methods: Map<Box<str>, Tree>,
}

/// The routes of one method: as they are spelled, and as a server reads them that does not tell letter case.
#[derive(Debug, Default)]
struct Tree {
    exact: Node,
    folded: Node,
    /// Places of templates that are literals throughout: a call that is spelled like one has no other reading.
    plain: Map<usize, ()>,
    has_capitals: bool,
    /// Templates that differ only in letter case: this service tells it, so no call is ambiguous in it.
    has_twins: bool,
}

#[derive(Debug, Default)]
struct Node {
    literals: Map<Box<str>, Node>,
    parameter: Option<Box<Node>>,
    rest: Option<usize>,
    here: Option<usize>,
}

impl Routes {
    /// Adds a route; gives back the place that already has this method and shape, if one has.
    /// Several actions may share a route: then they are told apart by their bodies.
    pub(crate) fn insert(&mut self, method: &str, template: &PathTemplate, place: usize) -> Option<usize> {
        let tree = self.methods.entry(method.into()).or_default();
        let taken = tree.exact.insert(&template.segments, place, |literal| literal.into());
        let folded =
            tree.folded.insert(&template.segments, place, |literal| literal.to_ascii_lowercase().into_boxed_str());
        tree.has_twins |= taken.is_none() && folded.is_some();
        let literals = template.segments.iter().map(|segment| match segment {
            Segment::Literal(literal) => Some(literal),
            Segment::Parameter(_) | Segment::Rest(_) => None,
        });
        tree.has_capitals |= literals.clone().flatten().any(|literal| has_capitals(literal));
        if literals.into_iter().all(|literal| literal.is_some()) {
            tree.plain.insert(place, ());
        }
        taken
    }

    /// Where a call leads. `HEAD` is served by `GET` where it has no action of its own.
    pub(crate) fn find(&self, method: &str, path: &CanonicalPath<'_>) -> Routed<usize> {
        match (self.find_method(method, path.as_str()), method) {
            (Routed::Unmatched, "HEAD") => self.find_method("GET", path.as_str()),
            (found, _) => found,
        }
    }

    fn find_method(&self, method: &str, path: &str) -> Routed<usize> {
        self.methods.get(method).map_or(Routed::Unmatched, |tree| tree.find(path))
    }
}

fn has_capitals(text: &str) -> bool {
    text.bytes().any(|byte| byte.is_ascii_uppercase())
}

impl Tree {
    fn find(&self, path: &str) -> Routed<usize> {
        let found = self.exact.route(path);
        let one_reading = self.has_twins
            || !(self.has_capitals || has_capitals(path))
            || matches!(found, Routed::Action(place) if self.plain.contains_key(&place));
        if one_reading {
            return found;
        }
        match self.folded.route(&path.to_ascii_lowercase()) {
            other if other == found => found,
            Routed::Unmatched => found,
            _ => Routed::LetterCase,
        }
    }
}

fn replace_empty(slot: &mut Option<usize>, place: usize) -> Option<usize> {
    let taken = *slot;
    slot.get_or_insert(place);
    taken
}

impl Node {
    fn insert(&mut self, segments: &[Segment], place: usize, spelled: impl Fn(&str) -> Box<str>) -> Option<usize> {
        let mut node = self;
        for segment in segments {
            node = match segment {
                Segment::Literal(literal) => node.literals.entry(spelled(literal)).or_default(),
                Segment::Parameter(_) => node.parameter.get_or_insert_default(),
                Segment::Rest(_) => return replace_empty(&mut node.rest, place),
            };
        }
        replace_empty(&mut node.here, place)
    }

    fn route(&self, path: &str) -> Routed<usize> {
        let inner = path.strip_prefix('/').unwrap_or(path);
        if let Some(place) = self.find(Some(inner)) {
            return Routed::Action(place);
        }
        let other_slash = match inner.strip_suffix('/') {
            Some(bare) => self.find(Some(bare)),
            None => self.find_with_slash(Some(inner)),
        };
        if other_slash.is_some() { Routed::TrailingSlash } else { Routed::Unmatched }
    }

    /// The place for the rest of a path; `None` when the path has ended.
    /// Depth is bounded by the templates', which have at most 64 segments.
    fn find(&self, path: Option<&str>) -> Option<usize> {
        let Some(path) = path else { return self.here };
        let (head, tail) = split_segment(path);
        self.literals
            .get(head)
            .and_then(|node| node.find(tail))
            .or_else(|| self.parameter.as_ref().filter(|_| !head.is_empty()).and_then(|node| node.find(tail)))
            // With a slash at its end the rest would name two things, or one, as a server likes.
            .or_else(|| self.rest.filter(|_| !path.is_empty() && !path.ends_with('/')))
    }

    /// As `find`, for the path with one more slash at its end.
    fn find_with_slash(&self, path: Option<&str>) -> Option<usize> {
        let Some(path) = path else {
            return self.literals.get("").and_then(|node| node.here);
        };
        let (head, tail) = split_segment(path);
        self.literals.get(head).and_then(|node| node.find_with_slash(tail)).or_else(|| {
            self.parameter.as_ref().filter(|_| !head.is_empty()).and_then(|node| node.find_with_slash(tail))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::canonical::canonical_path;

    #[test]
    fn the_narrower_template_wins_and_slashes_matter() {
        let templates =
            ["/a/{b}", "/a/me", "/a/{b}/c", "/files/{path=**}", "/dir/", "/", "/a/me/{x}/deep", "/files/fixed/{y}"];
        let mut routes = Routes::default();
        for (place, template) in templates.iter().enumerate() {
            assert_eq!(routes.insert("GET", &PathTemplate::parse(template).unwrap(), place), None);
        }
        let shape_again = PathTemplate::parse("/a/{other}").unwrap();
        assert_eq!(routes.insert("GET", &shape_again, 99), Some(0));

        let cases = [
            ("/a/x", Routed::Action(0)),
            ("/a/me", Routed::Action(1)),
            ("/a/me/c", Routed::Action(2)),
            ("/files/x/y", Routed::Action(3)),
            ("/files/fixed/y", Routed::Action(7)),
            ("/files/fixed/y/z", Routed::Action(3)),
            ("/dir/", Routed::Action(4)),
            ("/", Routed::Action(5)),
            ("/a/me/q/deep", Routed::Action(6)),
            ("/dir", Routed::TrailingSlash),
            ("/a/x/", Routed::TrailingSlash),
            ("/a/x/c/", Routed::TrailingSlash),
            ("/a", Routed::Unmatched),
            ("/A/x", Routed::LetterCase),
            ("/a/X", Routed::Action(0)),
            ("/a/ME", Routed::LetterCase),
            ("/a/Me/c", Routed::Action(2)),
            ("/a/x/C", Routed::LetterCase),
            ("/DIR", Routed::LetterCase),
            ("/files/FIXED/y", Routed::LetterCase),
            ("/files/X/Y", Routed::Action(3)),
            ("/b/X", Routed::Unmatched),
            ("/files/", Routed::Unmatched),
            ("/files/x/", Routed::TrailingSlash),
            ("/files/fixed/y/", Routed::TrailingSlash),
        ];
        for (path, expected) in cases {
            let path = canonical_path(path.as_bytes()).unwrap();
            assert_eq!(routes.find("GET", &path), expected, "{}", path.as_str());
            assert_eq!(routes.find("HEAD", &path), expected, "{}", path.as_str());
            assert_eq!(routes.find("POST", &path), Routed::Unmatched);
        }
    }
    #[test]
    fn letter_case_that_a_service_tells_is_told() {
        let mut routes = Routes::default();
        for (place, template) in ["/a/{b}", "/a/Me"].iter().enumerate() {
            routes.insert("GET", &PathTemplate::parse(template).unwrap(), place);
        }
        let found = |routes: &Routes, path: &str| routes.find("GET", &canonical_path(path.as_bytes()).unwrap());
        assert_eq!(found(&routes, "/a/me"), Routed::LetterCase);
        assert_eq!(found(&routes, "/a/Me"), Routed::Action(1));
        routes.insert("GET", &PathTemplate::parse("/a/ME").unwrap(), 2);
        assert_eq!(found(&routes, "/a/me"), Routed::Action(0));
        assert_eq!(found(&routes, "/a/ME"), Routed::Action(2));
    }
}
