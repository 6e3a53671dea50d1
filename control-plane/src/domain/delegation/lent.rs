//! By whose right somebody decides: their own, or one that was delegated to them. The same for reviews of requests and of
//! broken glass.

use grantmesh_shared::engine::User;
use grantmesh_shared::time::Timestamp;

use super::Delegation;
use crate::domain::actor::Actor;
use crate::domain::person::PeopleAtReview;

/// The delegations at hand where somebody decides, and what about.
#[derive(Debug, Clone, Copy)]
pub(in crate::domain) struct Lent<'l, 'd> {
    /// Those to and from whoever decides that were in force at some time since it began.
    pub(in crate::domain) delegations: &'d [Delegation],
    /// Who is who.
    pub(in crate::domain) people: PeopleAtReview<'d>,
    /// The service, and the name of the rule or right.
    pub(in crate::domain) of: (&'l str, &'l str),
    /// Whose doing it is that is decided about.
    pub(in crate::domain) whose: &'l User,
    /// When that began.
    pub(in crate::domain) since: Timestamp,
}

/// Why nobody's right is lent for it.
#[derive(Debug)]
pub(in crate::domain) enum NotLent<E> {
    /// The named one has lent none.
    Nothing(String),
    /// The named one has no such right themselves.
    NotTheirs(String, E),
    /// More than one right would do.
    Several(String),
    /// It leads back to whom it is about.
    Tied,
}

impl<'d> Lent<'_, 'd> {
    /// In whose place somebody decides: of the one who is named, else of the only one whom `admits` lets decide; nothing if
    /// that is nobody.
    ///
    /// # Errors
    /// Why not in the place of whom is meant.
    pub(in crate::domain) fn stand_in<E>(
        &self,
        actor: &Actor,
        named: Option<&str>,
        now: Timestamp,
        admits: impl Fn(&Actor) -> Result<(), E>,
    ) -> Result<Option<&'d Delegation>, NotLent<E>> {
        let mut given = self.given_to(actor, now);
        let Some(name) = named else {
            given.retain(|one| admits(&one.delegator()).is_ok());
            given.dedup_by(|one, other| one.delegator == other.delegator);
            return match given.as_slice() {
                [] => Ok(None),
                [one] => self.untied(actor, one, now).map(Some),
                _ => {
                    let names = given.iter().map(|one| format!("`{}`", one.delegator.subject));
                    Err(NotLent::Several(names.collect::<Vec<_>>().join(", ")))
                }
            };
        };
        let shown = || name.chars().filter(|letter| !letter.is_control()).take(128).collect();
        let named = actor.user_named(name).ok().flatten();
        given.retain(|one| Some(&one.delegator) == named.as_ref());
        let by = given.iter().copied().find(|one| admits(&one.delegator()).is_ok()).or_else(|| given.first().copied());
        let delegation = by.ok_or_else(|| NotLent::Nothing(shown()))?;
        admits(&delegation.delegator()).map_err(|refused| NotLent::NotTheirs(shown(), refused))?;
        self.untied(actor, delegation, now).map(Some)
    }

    /// What somebody was given for this, by others than themselves, in the order of the delegators.
    fn given_to(&self, actor: &Actor, now: Timestamp) -> Vec<&'d Delegation> {
        let Self { delegations, people, of: (service, rule), .. } = *self;
        let fits = |one: &&Delegation| one.is_active(now) && one.delegate == actor.user && one.covers(service, rule);
        let other = |one: &&Delegation| !people.same(&one.delegator, &actor.user);
        let mut fitting: Vec<&'d Delegation> = delegations.iter().filter(fits).filter(other).collect();
        fitting.sort_by(|one, other| one.delegator.cmp(&other.delegator));
        fitting
    }

    /// No chain of delegations leads back to whom it is about: who decides for another has not given them anything, nor
    /// taken.
    fn untied<E>(&self, actor: &Actor, by: &'d Delegation, now: Timestamp) -> Result<&'d Delegation, NotLent<E>> {
        let between = |from: &User, to: &User| {
            self.delegations.iter().any(|one| {
                let those = self.people.same(&one.delegator, from) && self.people.same(&one.delegate, to);
                those && one.was_active_since(self.since, now)
            })
        };
        if between(self.whose, &actor.user) || between(&actor.user, self.whose) {
            return Err(NotLent::Tied);
        }
        Ok(by)
    }
}
