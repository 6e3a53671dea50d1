//! The services of one policy version with their rules: who may ask for what, and who reviews it.

use std::sync::Arc;

use grantmesh_shared::engine::{
    Action, Ambiguity, BreakGlass, Now, Routed, Rule, Service, Table, canonical_method, canonical_path, rules_to_ask,
};
use grantmesh_shared::id::PolicyId;
use grantmesh_shared::time::Timestamp;

use super::actor::Actor;
use super::break_glass::Broken;
use super::person::People;
use super::quorum::reviews;
use super::request::AskTarget;
use super::signal::Signal;
use super::text::shortened;

/// What the policy says, as the workflow needs it.
#[derive(Debug, Clone, Default)]
pub struct Rulebook {
    /// The policy version; nothing before the first policy.
    pub policy: Option<PolicyId>,
    /// Its services.
    pub services: Vec<Arc<Service>>,
    /// What it says about people.
    pub people: Arc<People>,
    /// A table with nothing but the signals that are set.
    pub signals: Arc<Table>,
    /// The same signals, with who has set them.
    pub set: Arc<[Signal]>,
}

/// What an actor may ask for.
#[derive(Debug, Clone)]
pub struct Asked<'b> {
    /// The service.
    pub service: &'b Service,
    /// The action's name.
    pub action: &'b str,
    /// The resource.
    pub resource: String,
    /// The rule to ask under.
    pub rule: &'b Rule,
}

/// Why an actor may not ask. What does not exist and what is not for this actor read alike.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotEligible {
    /// No rule lets the actor ask.
    #[error("no rule lets you ask for `{what}`\nask the owner of the service who is eligible")]
    NoRule {
        /// What was asked for.
        what: String,
    },
    /// Several actions have this method and path; the body of a call tells which is meant.
    #[error(
        "what `{what}` is depends on the body of the call\nask for one of the actions by its name, with the resource"
    )]
    Several {
        /// The method and path.
        what: String,
    },
    /// The method or path can be read in two ways, so no call like it is ever let through.
    #[error("the call `{what}` can be read in two ways: {source}\nsend it in its plain form")]
    Ambiguous {
        /// The method and path.
        what: String,
        /// What is ambiguous.
        source: Ambiguity,
    },
}

/// Nobody gave the actor a right to break the glass for this. What does not exist and what is not for them read alike.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no break-glass right of yours is for `{what}`\nask for a grant with `grantmesh request`")]
pub struct NoBreakGlass {
    /// What it was to be broken for.
    pub what: String,
}

impl NoBreakGlass {
    /// Nor one by which tokens are signed for a service.
    #[must_use]
    pub fn offline(service: &str) -> Self {
        Self { what: format!("{} while the control plane cannot be reached", shortened(service, MOST_REPEATED)) }
    }
}

/// So many letters of what was asked for are repeated.
const MOST_REPEATED: usize = 128;

impl Rulebook {
    /// The service of that name.
    #[must_use]
    pub fn service(&self, name: &str) -> Option<&Service> {
        self.services.iter().find(|service| service.name() == name).map(|service| &**service)
    }

    /// The rule of that name, if it covers the action.
    #[must_use]
    pub fn rule(&self, service: &str, rule: &str, action: &str) -> Option<&Rule> {
        let rule = self.service(service)?.rule(rule)?;
        rule.actions.iter().any(|covered| **covered == *action).then_some(rule)
    }

    /// What the actor asks for, under the named rule or else the first one that lets them ask.
    ///
    /// # Errors
    /// If there is no such rule.
    pub fn ask<'b>(
        &'b self,
        actor: &Actor,
        target: &AskTarget,
        rule: Option<&str>,
        now: Timestamp,
    ) -> Result<Asked<'b>, NotEligible> {
        let no_rule = || NotEligible::NoRule { what: shortened(&target.to_string(), MOST_REPEATED) };
        let (service, action, resource) = self.resolve(target)?;
        let named = service.rules().iter().filter_map(|rule| rule.condition.needs()).flat_map(|needs| &needs.claims);
        let claims: Vec<Box<str>> = named.cloned().collect();
        let found = actor.as_principal(|principal| {
            actor.as_context(&claims, |context| {
                let ask = (&*action.name, resource.as_str());
                rules_to_ask(&self.signals, service, ask, principal, (context, Now::exactly(now)))
            })
        });
        let rule = found.into_iter().find(|known| rule.is_none_or(|rule| *known.name == *rule)).ok_or_else(no_rule)?;
        Ok(Asked { service, action: &action.name, resource, rule })
    }

    /// The right by which the actor breaks the glass, the named one or else the first that is theirs.
    ///
    /// # Errors
    /// If they have none, and where that cannot be told.
    pub fn break_glass<'b>(
        &'b self,
        actor: &Actor,
        target: &AskTarget,
        right: Option<&str>,
    ) -> Result<Broken<'b>, NoBreakGlass> {
        let none = || NoBreakGlass { what: shortened(&target.to_string(), MOST_REPEATED) };
        let (service, action, resource) = self.resolve(target).map_err(|_| none())?;
        let fits = |known: &&BreakGlass| {
            known.actions.contains(&action.name)
                && right.is_none_or(|right| *known.name == *right)
                && actor.as_principal(|principal| known.is_for(principal))
        };
        let right = service.break_glass().iter().find(fits).ok_or_else(none)?;
        Ok(Broken { service: service.name(), action: &action.name, resource, right })
    }

    /// The service, action and resource that are meant.
    fn resolve(&self, target: &AskTarget) -> Result<(&Service, &Action, String), NotEligible> {
        let no_rule = || NotEligible::NoRule { what: shortened(&target.to_string(), MOST_REPEATED) };
        let service = self.service(target.service()).ok_or_else(no_rule)?;
        let (action, resource) = match target {
            AskTarget::Action { action, resource, .. } => {
                (service.action(action).ok_or_else(no_rule)?, resource.clone())
            }
            AskTarget::Call { method, path, .. } => {
                let ambiguous =
                    |source| NotEligible::Ambiguous { what: shortened(&target.to_string(), MOST_REPEATED), source };
                let method = canonical_method(method.as_bytes()).map_err(ambiguous)?;
                let path = canonical_path(path.as_bytes()).map_err(ambiguous)?;
                let Routed::Action(actions) = service.route(method, &path) else {
                    return Err(no_rule());
                };
                let [action] = actions.as_slice() else {
                    return Err(NotEligible::Several { what: shortened(&target.to_string(), MOST_REPEATED) });
                };
                (*action, action.templates.resource_of(path.as_str()).ok_or_else(no_rule)?)
            }
        };
        Ok((service, action, resource))
    }

    /// Service and name of every rule whose requests the actor reviews once they are escalated.
    #[must_use]
    pub fn backed_up_by(&self, actor: &Actor) -> Vec<(&str, &str)> {
        let rules = self.services.iter().flat_map(|service| service.rules().iter().map(|rule| (service.name(), rule)));
        let backs_up = rules.filter(|(_, rule)| actor.is_among(&rule.workflow.course.timeouts.escalate_to));
        backs_up.map(|(service, rule)| (service, &*rule.name)).collect()
    }

    /// Whether the actor reviews requests under the rule once they are escalated.
    #[must_use]
    pub fn is_backup(&self, actor: &Actor, service: &str, rule: &str) -> bool {
        let rule = self.service(service).and_then(|service| service.rule(rule));
        rule.is_some_and(|rule| actor.is_among(&rule.workflow.course.timeouts.escalate_to))
    }

    /// Service and name of every rule, and every break-glass right, that the actor reviews.
    #[must_use]
    pub fn reviewed_by(&self, actor: &Actor) -> Vec<(&str, &str)> {
        let mut rules = Vec::new();
        for service in &self.services {
            for rule in service.rules() {
                if reviews(&rule.workflow.deciding, actor) {
                    rules.push((service.name(), &*rule.name));
                }
            }
            let rights = service.break_glass().iter().filter(|right| actor.is_among(&right.reviewers));
            rules.extend(rights.map(|right| (service.name(), &*right.name)));
        }
        rules
    }

    /// Service and name of every rule, and every break-glass right, whose requests and grants the actor sees: as a reviewer,
    /// or as an owner of the service.
    #[must_use]
    pub fn seen_by(&self, actor: &Actor) -> Vec<(&str, &str)> {
        let mut rules = self.reviewed_by(actor);
        for service in self.services.iter().filter(|service| actor.is_among(service.owners())) {
            rules.retain(|(reviewed, _)| *reviewed != service.name());
            rules.extend(service.rules().iter().map(|rule| (service.name(), &*rule.name)));
            rules.extend(service.break_glass().iter().map(|right| (service.name(), &*right.name)));
        }
        rules
    }

    /// Whether the actor is among the owners of the service.
    #[must_use]
    pub fn owns(&self, actor: &Actor, service: &str) -> bool {
        self.service(service).is_some_and(|service| actor.is_among(service.owners()))
    }

    /// Whether the actor is among the reviewers of the rule or break-glass right.
    #[must_use]
    pub fn is_reviewer(&self, actor: &Actor, service: &str, rule: &str) -> bool {
        let Some(service) = self.service(service) else { return false };
        match service.rule(rule) {
            Some(rule) => reviews(&rule.workflow.deciding, actor),
            None => service.right(rule).is_some_and(|right| actor.is_among(&right.reviewers)),
        }
    }
}
