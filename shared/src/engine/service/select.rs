//! Which of the actions at one method and path a call is: told by texts in its body (a JSON-RPC method, an MCP tool's name).
//! What could be read as two of them is none of them.

use super::{Group, Service};
use crate::engine::action::Action;
use crate::engine::context::{BodyFacts, FactValue};

/// What the body of a call says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Selected<'t> {
    /// The action at this place.
    Action(usize),
    /// None of them.
    Unmatched,
    /// It was not read.
    NotRead,
    /// What stands at this pointer is not a text, or the body is no JSON object.
    Ambiguous(&'t str),
}

/// Whether no body fits both actions, or one of them asks for all that the other does and more, and so is the narrower.
pub(super) fn told_apart(one: &Action, other: &Action) -> bool {
    let differs = one.selectors.iter().any(|selector| {
        other.selectors.iter().any(|other| other.pointer == selector.pointer && other.value != selector.value)
    });
    let covers = |wide: &Action, narrow: &Action| {
        narrow.selectors.len() > wide.selectors.len()
            && wide.selectors.iter().all(|selector| narrow.selectors.contains(selector))
    };
    differs || covers(one, other) || covers(other, one)
}

impl Service {
    /// The action of a call whose method and path lead to `group`.
    pub(crate) fn select<'t>(&'t self, group: &'t Group, body: BodyFacts<'_>) -> Selected<'t> {
        let actions = || group.places.iter().filter_map(|place| Some((*place, self.parts.actions.get(*place)?)));
        let selectors = || actions().flat_map(|(_, action)| &action.selectors);
        if selectors().next().is_none() {
            return group.places.first().map_or(Selected::Unmatched, |place| Selected::Action(*place));
        }
        let fields = match body {
            BodyFacts::NotRead => return Selected::NotRead,
            BodyFacts::Absent => &[],
            BodyFacts::Fields(fields) => fields,
        };
        let value = |pointer: &str| fields.iter().find(|(name, _)| *name == pointer).map(|(_, value)| *value);
        // Also what another action asks for: a body that is two calls in one must not pass as the wider action.
        let strange = selectors().find(|selector| !matches!(value(&selector.pointer), None | Some(FactValue::Text(_))));
        if let Some(strange) = strange {
            return Selected::Ambiguous(&strange.pointer);
        }
        let fits = |action: &Action| {
            action.selectors.iter().all(|selector| value(&selector.pointer) == Some(FactValue::Text(&selector.value)))
        };
        let narrowest = actions().filter(|(_, action)| fits(action)).max_by_key(|(_, action)| action.selectors.len());
        narrowest.map_or(Selected::Unmatched, |(place, _)| Selected::Action(place))
    }
}
