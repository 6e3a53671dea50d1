//! Who is who: accounts of people and machines, and who can edit groups.

use std::collections::{BTreeMap, BTreeSet};

use serde_saphyr::Spanned;

use super::Compiler;
use crate::engine::Subject;
use crate::wire::policy::parse::Placed;
use crate::wire::policy::{AccountSpec, PersonSpec};
use crate::wire::table::{GroupItem, PersonItem, SubjectItem, UserItem};

/// The most accounts of a person.
pub(in crate::wire::policy) const MAX_ACCOUNTS: usize = 32;

/// The most that a policy says about who can edit groups: it is gone through when somebody asks or reviews.
const MAX_EDITORS: usize = 10_000;

/// Who is behind accounts, as far as documents say.
#[derive(Debug, Default)]
pub(super) struct Behind {
    /// For each account the first one of its person, of a machine its owner's; and whether it is a machine's.
    accounts: BTreeMap<SubjectItem, (SubjectItem, bool)>,
}

impl Behind {
    /// The account that stands for the person behind one.
    pub(super) fn person<'a>(&'a self, account: &'a SubjectItem) -> &'a SubjectItem {
        self.accounts.get(account).map_or(account, |(person, _)| person)
    }

    /// Whether it is a machine's.
    pub(super) fn is_machine(&self, account: &SubjectItem) -> bool {
        self.accounts.get(account).is_some_and(|(_, machine)| *machine)
    }
}

impl Compiler<'_> {
    /// People first, since machines name their owners.
    pub(super) fn who(&mut self) {
        let documents = self.documents;
        let (mut names, mut taken) = (BTreeSet::new(), BTreeMap::new());
        for Placed { file, document } in &documents.people {
            if self.is_full() {
                return;
            }
            self.unique(&mut names, "person", *file, &document.metadata.name);
            let accounts = self.accounts(*file, &document.metadata.name, &document.spec, &mut taken);
            let PersonSpec { machine, owner, .. } = &document.spec;
            let owner = owner.as_ref().map(|owner| owner.value.clone());
            let name = document.metadata.name.value.clone();
            self.people.people.push(PersonItem { name, accounts, machine: *machine, owner });
        }
        let persons: BTreeMap<String, Option<SubjectItem>> = self
            .people
            .people
            .iter()
            .filter(|person| !person.machine)
            .map(|person| (person.name.clone(), person.accounts.first().map(as_subject)))
            .collect();
        for Placed { file, document } in &documents.people {
            self.owner(*file, &document.spec, &persons);
        }
        for person in &self.people.people {
            let own = person.accounts.first().map(as_subject);
            let owner = person.owner.as_ref().and_then(|owner| persons.get(owner).cloned().flatten());
            let Some(behind) = owner.or(own) else { continue };
            for account in &person.accounts {
                self.behind.accounts.insert(as_subject(account), (behind.clone(), person.machine));
            }
        }
        self.people.people.sort_by(|one, other| one.name.cmp(&other.name));
        self.groups();
    }

    fn accounts(
        &mut self,
        file: usize,
        name: &Spanned<String>,
        spec: &PersonSpec,
        taken: &mut BTreeMap<UserItem, String>,
    ) -> Vec<UserItem> {
        let mut found = Vec::new();
        if spec.accounts.is_empty() {
            let message = format!("the person `{}` has no account", name.value);
            self.fault(file, name.referenced, message, "name at least one, or remove the document".to_owned());
        }
        for AccountSpec { subject, issuer } in
            self.at_most(file, name.referenced, "accounts", &spec.accounts, MAX_ACCOUNTS)
        {
            let place = subject.referenced;
            let issuer = match (issuer, self.issuer) {
                (Some(issuer), _) => {
                    let fine = (1..=512).contains(&issuer.value.len())
                        && issuer.value.bytes().all(|byte| byte.is_ascii_graphic());
                    if !fine {
                        let message = "the issuer is empty, too long or not plain ASCII".to_owned();
                        let help = "write the `iss` of the account's tokens".to_owned();
                        self.fault(file, issuer.referenced, message, help);
                    }
                    issuer.value.clone()
                }
                (None, Some(issuer)) => issuer.to_owned(),
                (None, None) => {
                    let message = format!("it is not said whose `{}` is meant", subject.value.escape_debug());
                    let help = "write the account's `issuer`, or add a `Defaults` document with that of your tokens"
                        .to_owned();
                    self.fault(file, place, message, help);
                    continue;
                }
            };
            if let Err(error) = Subject::parse(&format!("user:{}", subject.value), &issuer) {
                self.refused(file, place, &error);
            }
            let account = UserItem { issuer, subject: subject.value.clone() };
            if let Some(other) = taken.insert(account.clone(), name.value.clone()) {
                let message = format!("the account `{}` is already one of `{other}`", subject.value);
                self.fault(file, place, message, "an account belongs to one person: remove one of them".to_owned());
            }
            found.push(account);
        }
        found
    }

    fn owner(&mut self, file: usize, spec: &PersonSpec, persons: &BTreeMap<String, Option<SubjectItem>>) {
        let Some(owner) = &spec.owner else { return };
        if !spec.machine {
            let message = format!("a person has no owner, and `{}` is said to be one", owner.value.escape_debug());
            let help = "write `machine: true` if these are accounts of a machine, or leave `owner` out".to_owned();
            self.fault(file, owner.referenced, message, help);
        } else if !persons.contains_key(&owner.value) && !self.documents.may_have("Person") {
            let known: Vec<&String> = persons.keys().collect();
            let help = self.meant(&owner.value, &known);
            self.fault(file, owner.referenced, format!("there is no person `{}`", owner.value.escape_debug()), help);
        }
    }

    fn groups(&mut self) {
        let documents = self.documents;
        let (mut names, mut groups, mut all) = (BTreeSet::new(), BTreeSet::new(), 0_usize);
        for Placed { file, document } in &documents.groups {
            if self.is_full() {
                return;
            }
            let (file, name, spec) = (*file, &document.metadata.name, &document.spec);
            self.unique(&mut names, "group", file, name);
            let stated = spec.group.as_ref().unwrap_or(name);
            if spec.editors.is_empty() {
                let message = format!("nobody is said to edit the group `{}`", stated.value.escape_debug());
                self.fault(
                    file,
                    name.referenced,
                    message,
                    "name at least one editor, or remove the document".to_owned(),
                );
            }
            all = all.saturating_add(spec.editors.len());
            if all > MAX_EDITORS {
                let message = format!("more than {MAX_EDITORS} editors of groups are named");
                return self.too_much(file, name.referenced, message, "name groups in place of many people".to_owned());
            }
            self.plain(file, &spec.editors, "edits a group");
            let editors = self.subjects(file, &spec.editors);
            let group = Spanned::new(format!("group:{}", stated.value), stated.referenced, stated.defined);
            let Some(SubjectItem::Group { issuer, name }) = self.subjects(file, &[group]).pop() else { continue };
            if !groups.insert(name.clone()) {
                let message = format!("there is another document about the group `{name}`");
                self.fault(file, stated.referenced, message, "put their editors into one".to_owned());
            }
            self.people.groups.push(GroupItem { issuer, name, editors });
        }
        self.people.groups.sort_by(|one, other| one.name.cmp(&other.name));
    }
}

fn as_subject(UserItem { issuer, subject }: &UserItem) -> SubjectItem {
    SubjectItem::User { issuer: issuer.clone(), subject: subject.clone() }
}
