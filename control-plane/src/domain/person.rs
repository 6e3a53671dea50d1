//! Who is who: people behind accounts, machines, and groups that somebody can edit. What no document says is as the tokens
//! are: each account a person of its own, each group beyond everyone's reach.

use std::collections::{HashMap, HashSet};

use grantmesh_shared::engine::{Subject, SubjectError, User};
use grantmesh_shared::wire::table::{GroupItem, PeopleItem, PersonItem};

use super::actor::Actor;

/// What one version of the policy says about people.
#[derive(Debug, Clone, Default)]
pub struct People {
    accounts: HashMap<User, Account>,
    /// For each group who can edit it.
    editors: Vec<(Subject, Vec<Subject>)>,
}

/// Whose an account is.
#[derive(Debug, Clone)]
struct Account {
    /// The person's name, of a machine its owner's, if it has one.
    person: Box<str>,
    machine: bool,
}

impl TryFrom<PeopleItem> for People {
    type Error = SubjectError;

    fn try_from(PeopleItem { people, groups }: PeopleItem) -> Result<Self, SubjectError> {
        let mut accounts = HashMap::new();
        for PersonItem { name, accounts: of, machine, owner } in people {
            let person: Box<str> = owner.unwrap_or(name).into();
            for account in of {
                let user = User { issuer: account.issuer.into(), subject: account.subject.into() };
                accounts.insert(user, Account { person: person.clone(), machine });
            }
        }
        let group = |GroupItem { issuer, name, editors }| {
            let editors = editors.into_iter().map(Subject::try_from).collect::<Result<_, _>>()?;
            Ok((Subject::Group { issuer: String::into(issuer), name: String::into(name) }, editors))
        };
        Ok(Self { accounts, editors: groups.into_iter().map(group).collect::<Result<_, _>>()? })
    }
}

impl People {
    /// The person behind an account, if a document says.
    #[must_use]
    pub fn person(&self, user: &User) -> Option<&str> {
        self.accounts.get(user).map(|account| &*account.person)
    }

    /// All accounts of the person behind one, each once, in no order.
    pub fn accounts_of<'u>(&'u self, user: &'u User) -> impl Iterator<Item = &'u User> {
        let person = self.person(user);
        let those = self.accounts.iter().filter(move |(of, account)| person == Some(&*account.person) && *of != user);
        std::iter::once(user).chain(those.map(|(other, _)| other))
    }

    /// Whether it is a machine's account.
    #[must_use]
    pub fn is_machine(&self, user: &User) -> bool {
        self.accounts.get(user).is_some_and(|account| account.machine)
    }

    /// Whether both are the same person, or one is the other's machine.
    #[must_use]
    pub fn same(&self, one: &User, other: &User) -> bool {
        one == other || self.person(one).is_some_and(|person| self.person(other) == Some(person))
    }

    /// The groups that somebody can edit, by any of their accounts, or by a group that they can edit in its turn.
    #[must_use]
    pub fn edited_by(&self, actor: &Actor) -> Vec<&Subject> {
        let account = |subject: &Subject| matches!(subject, Subject::User(user) if self.same(user, &actor.user));
        let directly = |editors: &[Subject]| actor.is_among(editors) || editors.iter().any(account);
        let mut found: HashSet<&Subject> = HashSet::new();
        let mut open: Vec<&Subject> =
            self.editors.iter().filter(|(_, editors)| directly(editors)).map(|(group, _)| group).collect();
        if open.is_empty() {
            return open;
        }
        let mut edits: HashMap<&Subject, Vec<&Subject>> = HashMap::new();
        for (group, editors) in &self.editors {
            editors.iter().for_each(|editor| edits.entry(editor).or_default().push(group));
        }
        while let Some(group) = open.pop() {
            if found.insert(group) {
                open.extend(edits.get(group).into_iter().flatten());
            }
        }
        found.into_iter().collect()
    }
}

/// What the policy said about people when a request was filed, and says today: the stricter of both in every part.
#[derive(Debug, Clone, Copy)]
pub struct PeopleAtReview<'r> {
    /// At request.
    pub then: &'r People,
    /// At review.
    pub now: &'r People,
}

impl<'r> PeopleAtReview<'r> {
    fn both(self) -> [&'r People; 2] {
        [self.then, self.now]
    }

    /// All accounts that either says are of one person with this one.
    #[must_use]
    pub fn accounts_of(self, user: &User) -> Vec<User> {
        let mut all: Vec<User> = self.both().into_iter().flat_map(|people| people.accounts_of(user)).cloned().collect();
        all.sort();
        all.dedup();
        all
    }

    /// Whether either says that both are the same person.
    #[must_use]
    pub fn same(self, one: &User, other: &User) -> bool {
        self.both().into_iter().any(|people| people.same(one, other))
    }

    /// Whether either says that it is a machine's account.
    pub(super) fn is_machine(self, user: &User) -> bool {
        self.both().into_iter().any(|people| people.is_machine(user))
    }

    /// The groups that either says somebody can edit.
    pub(super) fn edited_by(self, actor: &Actor) -> Vec<&'r Subject> {
        let mut all: Vec<&Subject> = self.both().into_iter().flat_map(|people| people.edited_by(actor)).collect();
        all.sort();
        all.dedup();
        all
    }
}
