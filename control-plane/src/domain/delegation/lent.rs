//! By whose right somebody decides: their own, or one that was delegated to them. The same for reviews of requests and of
//! broken glass.

use grantmesh_shared::engine::User;
use grantmesh_shared::time::Timestamp;

use super::Delegation;
use crate::domain::actor::Actor;
use crate::domain::person::PeopleAtReview;
use crate::domain::text::shortened;

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

/// Why somebody decides by no right.
#[derive(Debug)]
pub(in crate::domain) enum NoRight<E> {
    /// They may not by their own, and nobody's is lent to them for it; or they may not by whosever right.
    Refused(E),
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
    /// By which right somebody decides: nothing if by their own, which is used unless another one is named. `own` says whether
    /// somebody may by theirs, `never` of which of its refusals no other right makes good.
    ///
    /// # Errors
    /// Why by none.
    pub(in crate::domain) fn right_of<E>(
        &self,
        (actor, named): (&Actor, Option<&str>),
        now: Timestamp,
        own: impl Fn(&Actor) -> Result<(), E>,
        never: impl Fn(&E) -> bool,
    ) -> Result<Option<&'d Delegation>, NoRight<E>> {
        let refused = match own(actor) {
            Err(refused) if never(&refused) => return Err(NoRight::Refused(refused)),
            Ok(()) if named.is_none() => return Ok(None),
            by_own => by_own.err(),
        };
        match (self.stand_in(actor, named, now, own)?, refused) {
            (None, Some(refused)) => Err(NoRight::Refused(refused)),
            (by, _) => Ok(by),
        }
    }

    /// In whose place somebody decides: of the one who is named, else of the only one whom `admits` lets decide; nothing if
    /// that is nobody.
    ///
    /// # Errors
    /// Why not in the place of whom is meant.
    fn stand_in<E>(
        &self,
        actor: &Actor,
        named: Option<&str>,
        now: Timestamp,
        admits: impl Fn(&Actor) -> Result<(), E>,
    ) -> Result<Option<&'d Delegation>, NoRight<E>> {
        let mut given = self.given_to(actor, now);
        let Some(name) = named else {
            given.retain(|one| admits(&one.delegator()).is_ok());
            given.dedup_by(|one, other| one.delegator == other.delegator);
            return match given.as_slice() {
                [] => Ok(None),
                [one] => self.untied(&actor.user, one, now).map(Some),
                _ => {
                    let names = given.iter().map(|one| format!("`{}`", one.delegator.subject));
                    Err(NoRight::Several(names.collect::<Vec<_>>().join(", ")))
                }
            };
        };
        let shown = || shortened(name, 128);
        let named = actor.user_named(name).ok().flatten();
        given.retain(|one| Some(&one.delegator) == named.as_ref());
        let by = given.iter().copied().find(|one| admits(&one.delegator()).is_ok()).or_else(|| given.first().copied());
        let delegation = by.ok_or_else(|| NoRight::Nothing(shown()))?;
        admits(&delegation.delegator()).map_err(|refused| NoRight::NotTheirs(shown(), refused))?;
        self.untied(&actor.user, delegation, now).map(Some)
    }

    /// What somebody was given for this, by others than themselves, in the order of the delegators.
    fn given_to(&self, actor: &Actor, now: Timestamp) -> Vec<&'d Delegation> {
        let fits = |one: &&Delegation| one.delegate == actor.user && self.is_for_it(one, now);
        let mut fitting: Vec<&'d Delegation> = self.delegations.iter().filter(fits).collect();
        fitting.sort_by(|one, other| one.delegator.cmp(&other.delegator));
        fitting
    }

    /// Whether a delegation counts now, is for this, and lends the right of another person.
    fn is_for_it(&self, one: &Delegation, now: Timestamp) -> bool {
        let Self { people, of: (service, rule), .. } = *self;
        one.is_active(now) && one.covers(service, rule) && !people.same(&one.delegator, &one.delegate)
    }

    /// Whether whoever was given a delegation may use it here.
    pub(in crate::domain) fn lends<E>(
        &self,
        one: &'d Delegation,
        now: Timestamp,
        admits: impl Fn(&Actor) -> Result<(), E>,
    ) -> bool {
        let untied = self.untied::<E>(&one.delegate, one, now);
        self.is_for_it(one, now) && admits(&one.delegator()).is_ok() && untied.is_ok()
    }

    /// No chain of delegations leads back to whom it is about: who decides for another has not given them anything, nor
    /// taken.
    fn untied<E>(&self, user: &User, by: &'d Delegation, now: Timestamp) -> Result<&'d Delegation, NoRight<E>> {
        let between = |from: &User, to: &User| {
            self.delegations.iter().any(|one| {
                let those = self.people.same(&one.delegator, from) && self.people.same(&one.delegate, to);
                those && one.was_active_since(self.since, now)
            })
        };
        if between(self.whose, user) || between(user, self.whose) {
            return Err(NoRight::Tied);
        }
        Ok(by)
    }
}
