//! Paths of a service's actions, in a tree by their segments: only paths that could overlap are compared.

use std::collections::HashMap;

use super::Compiler;
use crate::engine::{Overlap, PathTemplate, Segment};
use crate::wire::policy::ActionSpec;
use crate::wire::table::{ActionItem, SelectorItem};

/// How many places and paths are looked at for one service: enough for every pair of its actions at one path.
const WORK: usize = 25_000_000;

/// An action whose path is in the tree.
#[derive(Debug)]
struct Known<'d> {
    name: &'d str,
    path: PathTemplate,
    selectors: Vec<SelectorItem>,
}

#[derive(Debug, Default)]
struct Place {
    literals: HashMap<Box<str>, usize>,
    parameter: Option<usize>,
    /// Actions whose paths end here.
    ends: Vec<usize>,
    /// Actions whose paths take the rest from here.
    rests: Vec<usize>,
}

/// The tree, one root for each method.
#[derive(Debug)]
pub(super) struct Paths<'d> {
    known: Vec<Known<'d>>,
    places: Vec<Place>,
    roots: HashMap<String, usize>,
    work: usize,
}

impl Default for Paths<'_> {
    fn default() -> Self {
        Self { known: Vec::new(), places: Vec::new(), roots: HashMap::new(), work: WORK }
    }
}

/// The paths are too many and too alike to be compared.
struct TooAlike;

impl<'d> Paths<'d> {
    fn pay(&mut self, units: usize) -> Result<(), TooAlike> {
        self.work = self.work.checked_sub(units).ok_or(TooAlike)?;
        Ok(())
    }

    fn grow(&mut self) -> usize {
        self.places.push(Place::default());
        self.places.len().saturating_sub(1)
    }

    /// Actions whose paths may overlap this one.
    fn near(&mut self, method: &str, path: &PathTemplate) -> Result<Vec<usize>, TooAlike> {
        let mut found = Vec::new();
        let mut here: Vec<usize> = self.roots.get(method).copied().into_iter().collect();
        for segment in &path.segments {
            let mut next = Vec::new();
            for at in here {
                self.pay(1)?;
                let Some(place) = self.places.get(at) else { continue };
                found.extend(&place.rests);
                match segment {
                    Segment::Literal(text) => {
                        next.extend(place.literals.get(text).copied().into_iter().chain(place.parameter))
                    }
                    Segment::Parameter(_) => next.extend(place.literals.values().copied().chain(place.parameter)),
                    Segment::Rest(_) => {
                        self.below(at, &mut found)?;
                        continue;
                    }
                }
                self.pay(next.len())?;
            }
            here = next;
        }
        for at in here {
            found.extend(self.places.get(at).into_iter().flat_map(|place| &place.ends));
        }
        self.pay(found.len())?;
        Ok(found)
    }

    /// Every action below a place.
    fn below(&mut self, at: usize, found: &mut Vec<usize>) -> Result<(), TooAlike> {
        let mut open = vec![at];
        while let Some(at) = open.pop() {
            self.pay(1)?;
            let Some(place) = self.places.get(at) else { continue };
            found.extend(place.ends.iter().chain(&place.rests));
            open.extend(place.literals.values().copied().chain(place.parameter));
        }
        Ok(())
    }

    fn insert(&mut self, method: &str, known: Known<'d>) {
        let own = self.known.len();
        let mut at = match self.roots.get(method) {
            Some(root) => *root,
            None => {
                let root = self.grow();
                self.roots.insert(method.to_owned(), root);
                root
            }
        };
        for segment in &known.path.segments {
            let there = self.places.get(at).and_then(|place| match segment {
                Segment::Literal(text) => place.literals.get(text).copied(),
                Segment::Parameter(_) => place.parameter,
                Segment::Rest(_) => Some(at),
            });
            let next = there.unwrap_or_else(|| self.grow());
            if let Some(place) = self.places.get_mut(at) {
                match segment {
                    Segment::Literal(text) => {
                        place.literals.insert(text.clone(), next);
                    }
                    Segment::Parameter(_) => place.parameter = Some(next),
                    Segment::Rest(_) => place.rests.push(own),
                }
            }
            at = next;
        }
        if let Some(place) = self.places.get_mut(at)
            && !matches!(known.path.segments.last(), Some(Segment::Rest(_)))
        {
            place.ends.push(own);
        }
        self.known.push(known);
    }
}

impl<'d> Compiler<'d> {
    /// Reports a path that overlaps an earlier one in a way that routers differ about, and warns of one that only wins.
    pub(super) fn overlaps(
        &mut self,
        file: usize,
        spec: &'d ActionSpec,
        item: &ActionItem,
        path: PathTemplate,
        known: &mut Paths<'d>,
    ) {
        let place = spec.path.as_ref().or(spec.grpc.as_ref()).unwrap_or(&spec.name).referenced;
        let Ok(mut near) = known.near(&item.method, &path) else {
            let message = format!("the path `{path}` is like too many others to be compared with each of them");
            self.fault(file, place, message, "split the service".to_owned());
            return;
        };
        near.sort_unstable();
        near.dedup();
        let mut ordered = None;
        let mut more = 0_usize;
        for other in near.into_iter().filter_map(|at| known.known.get(at)) {
            let help = match other.path.overlap(&path) {
                Overlap::Conflict => "some call matches both and neither is narrower: change one path or its method",
                Overlap::Same if !told_apart(&other.selectors, &item.selectors) => {
                    "some call matches both: change one path or its method, or tell the actions apart by texts in the \
                     body (`select`, `jsonRpc`, `mcpTool`)"
                }
                Overlap::Ordered => {
                    more = more.saturating_add(usize::from(ordered.is_some()));
                    ordered.get_or_insert(other);
                    continue;
                }
                Overlap::Same | Overlap::Disjoint => continue,
            };
            // One is enough for a path: the others would all be told of the same mistake.
            let message = format!("the path `{path}` overlaps `{}` of the action `{}`", other.path, other.name);
            self.fault(file, place, message, help.to_owned());
            ordered = None;
            break;
        }
        if let Some(other) = ordered {
            let (which, wins) = if path.is_narrower_than(&other.path) {
                ("it", spec.name.value.as_str())
            } else {
                ("that", other.name)
            };
            let others = if more > 0 { format!(" and {more} more") } else { String::new() };
            let message = format!("the path `{path}` overlaps `{}` of the action `{}`{others}", other.path, other.name);
            let help = format!("where both match, {which} is the narrower one and wins: such a call is `{wins}`");
            self.warning(file, place, message, help);
        }
        let selectors = item.selectors.clone();
        known.insert(&item.method, Known { name: &spec.name.value, path, selectors });
    }
}

/// As the engine sees it: no body fits both, or one of them asks for all that the other does and more.
fn told_apart(one: &[SelectorItem], other: &[SelectorItem]) -> bool {
    let differs =
        one.iter().any(|mine| other.iter().any(|theirs| theirs.pointer == mine.pointer && theirs.value != mine.value));
    let covers = |wide: &[SelectorItem], narrow: &[SelectorItem]| {
        narrow.len() > wide.len() && wide.iter().all(|selector| narrow.contains(selector))
    };
    differs || covers(one, other) || covers(other, one)
}
