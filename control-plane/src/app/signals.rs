//! Setting, clearing and reading signals. For the setters that the policy in force names, and for operators.

use grantmesh_shared::id::PolicyId;
use grantmesh_shared::time::{Span, Timestamp};
use grantmesh_shared::wire::policy::OfWord;
use grantmesh_shared::wire::sync::Position;
use grantmesh_shared::wire::table::UserItem;
use serde::Serialize;

use super::{App, AppError, Conflict, Forbidden, Invalid};
use crate::audit::{ActorField, Entry, EntryIds, EntryKind};
use crate::domain::{
    About, Actor, AsSeen, MOST_SAID, Signal, SignalDeclaration, SignalEnd, SignalRefused, Text, signal_key,
};
use crate::store::{Tx, WriteTx};

/// Of so many users or tickets it is shown that a signal is said.
const MOST_SHOWN: u32 = 200;

/// A declared signal, and whether it is set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeclaredSignal {
    /// What the policy in force says of it.
    pub declaration: SignalDeclaration,
    /// As it is set; nothing if it is not, or is said of users or tickets.
    pub set: Option<Signal>,
    /// As it is set of users or tickets, by their names; of very many the first.
    pub said: Vec<Signal>,
}

/// The signal that somebody sets or clears.
#[derive(Debug, Clone, Copy)]
pub struct WhichSignal<'w> {
    /// Its name.
    pub name: &'w str,
    /// Of which user or ticket, if it is said of one.
    pub of: Option<&'w str>,
    /// How it must stand.
    pub seen: AsSeen,
}

/// A signal that was set or cleared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignalChanged {
    /// The signal.
    pub signal: DeclaredSignal,
    /// Filters that have applied this position know.
    pub position: Position,
}

impl DeclaredSignal {
    fn with(declaration: SignalDeclaration, set: Option<Signal>) -> Self {
        let (said, set) = if declaration.of.is_some() { (set.into_iter().collect(), None) } else { (Vec::new(), set) };
        Self { declaration, set, said }
    }
}

impl App {
    /// Sets a signal, or sets it anew.
    ///
    /// # Errors
    /// If the actor may not, the policy does not let it be set for that long, or it does not stand as they have seen it.
    pub async fn set_signal(
        &self,
        actor: &Actor,
        WhichSignal { name, of, seen }: WhichSignal<'_>,
        reason: &str,
        duration: Span,
    ) -> Result<SignalChanged, AppError> {
        let mut tx = self.write().await?;
        let (declaration, policy) = self.settable(&mut tx, actor, name).await?;
        let about = declaration.about(actor, of).map_err(Invalid::Signal)?;
        let before = tx.signal(&signal_key(name, about.as_ref())).await?;
        self.stands_as(seen, &declaration, before.as_ref(), tx.now())?;
        if about.is_some() && before.is_none() && tx.times_said(name).await? >= MOST_SAID {
            return Err(Invalid::Signal(SignalRefused::TooMany(declaration.name)).into());
        }
        let set =
            declaration.set((actor, about), reason, duration, tx.now(), tx.revision()).map_err(Invalid::Signal)?;
        tx.put_signal(&set, before.as_ref()).await?;
        tx.log(&set_entry(&set, before.as_ref(), policy))?;
        let position = tx.commit().await?.position;
        Ok(SignalChanged { signal: DeclaredSignal::with(declaration, Some(set)), position })
    }

    /// Clears a signal.
    ///
    /// # Errors
    /// If the actor may not, or it is not set, or not as they have seen it.
    pub async fn clear_signal(
        &self,
        actor: &Actor,
        WhichSignal { name, of, seen }: WhichSignal<'_>,
        reason: Option<&str>,
    ) -> Result<SignalChanged, AppError> {
        let reason = Text::optional(reason, "reason").map_err(Invalid::Text)?;
        let mut tx = self.write().await?;
        let (declaration, _) = self.settable(&mut tx, actor, name).await?;
        let about = declaration.about(actor, of).map_err(Invalid::Signal)?;
        let not_set = || AppError::from(Conflict::SignalNotSet { name: declaration.name.clone() });
        let signal = tx.signal(&signal_key(name, about.as_ref())).await?;
        self.stands_as(seen, &declaration, signal.as_ref(), tx.now())?;
        let signal = signal.ok_or_else(not_set)?;
        let over = signal.is_over(tx.now());
        let how = if over { SignalEnd::Expired } else { SignalEnd::Cleared(actor.user.clone(), reason) };
        end(&mut tx, &signal, how).await?;
        let position = tx.commit().await?.position;
        if over {
            return Err(not_set());
        }
        Ok(SignalChanged { signal: DeclaredSignal::with(declaration, None), position })
    }

    /// The signals of the policy in force that the actor may set; all of them for operators and auditors.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn signals(&self, actor: &Actor) -> Result<Vec<DeclaredSignal>, AppError> {
        let mut tx = self.read().await?;
        let now = self.inner.settings.clock.now();
        let Some(policy) = tx.current_policy().await? else {
            return Ok(Vec::new());
        };
        let mut set = tx.signals().await?;
        set.retain(|signal| !signal.is_over(now));
        let declared = tx.declared_signals(&policy).await?.into_iter();
        let mut seen = Vec::new();
        for declaration in declared.filter(|declaration| self.sees_signal(actor, declaration)) {
            let mut said =
                if declaration.of.is_some() { tx.said(&declaration.name, MOST_SHOWN).await? } else { Vec::new() };
            said.retain(|signal| !signal.is_over(now));
            let set = set.iter().find(|signal| signal.name == declaration.name).cloned();
            seen.push(DeclaredSignal { declaration, set, said });
        }
        Ok(seen)
    }

    /// Holds whoever changes a signal to how they have seen it. One whose time is over is not set, whether the log knows it
    /// yet or not.
    fn stands_as(
        &self,
        seen: AsSeen,
        declaration: &SignalDeclaration,
        kept: Option<&Signal>,
        now: Timestamp,
    ) -> Result<(), Conflict> {
        let set = kept.filter(|signal| !signal.is_over(now));
        if seen.is(set.map(|signal| self.position_at(signal.revision))) {
            return Ok(());
        }
        Err(Conflict::SignalChanged { name: declaration.name.clone(), set: set.cloned().map(Box::new) })
    }

    fn sees_signal(&self, actor: &Actor, declaration: &SignalDeclaration) -> bool {
        declaration.may_be_set_by(actor) || self.sees_everything(actor)
    }

    /// The declaration of a signal that the actor may set, and the policy that says so.
    async fn settable(
        &self,
        tx: &mut Tx,
        actor: &Actor,
        name: &str,
    ) -> Result<(SignalDeclaration, PolicyId), AppError> {
        let unknown = || AppError::not_found("signal", name);
        let policy = tx.current_policy().await?.ok_or_else(unknown)?;
        let declared = tx.declared_signal(&policy, name).await?;
        let declaration = declared.filter(|known| self.sees_signal(actor, known)).ok_or_else(unknown)?;
        if !declaration.may_be_set_by(actor) && !self.is_operator(actor) {
            return Err(Forbidden::NotASetter { signal: declaration.name }.into());
        }
        Ok((declaration, policy))
    }
}

/// Ends a signal, within a transaction that found that it must.
pub(super) async fn end(tx: &mut WriteTx, signal: &Signal, how: SignalEnd) -> Result<(), AppError> {
    tx.end_signal(signal).await?;
    let revision = tx.revision();
    Ok(tx.log(&ended_entry(signal, how, revision))?)
}

/// Ends the signals that are set and that the policy being applied does not declare.
pub(super) async fn end_undeclared(
    tx: &mut WriteTx,
    declared: &[SignalDeclaration],
    actor: &Actor,
) -> Result<(), AppError> {
    // One that is now said of something else is another one.
    let of = |about: &About| match about {
        About::User(_) => OfWord::User,
        About::Ticket(_) => OfWord::Ticket,
    };
    let same = |signal: &Signal, known: &SignalDeclaration| {
        known.name == signal.name && known.of == signal.about.as_ref().map(of)
    };
    let gone = |signal: &Signal| declared.iter().all(|known| !same(signal, known));
    for signal in tx.all_signals().await?.iter().filter(|signal| gone(signal)) {
        end(tx, signal, SignalEnd::Undeclared(actor.user.clone())).await?;
    }
    Ok(())
}

/// What a signal is said of, whole: users of two issuers may have one name.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum OfData<'a> {
    User(UserItem),
    Ticket(&'a str),
}

impl<'a> From<&'a About> for OfData<'a> {
    fn from(about: &'a About) -> Self {
        match about {
            About::User(user) => Self::User(user.into()),
            About::Ticket(ticket) => Self::Ticket(ticket),
        }
    }
}

#[derive(Serialize)]
struct SetData<'a> {
    signal: &'a str,
    /// What it is said of.
    #[serde(skip_serializing_if = "Option::is_none")]
    of: Option<OfData<'a>>,
    expires_at: Timestamp,
    /// When it would have ended, if it was set already.
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<Timestamp>,
    reason: &'a Text,
    revision: u64,
}

fn set_entry<'a>(signal: &'a Signal, before: Option<&Signal>, policy: PolicyId) -> Entry<SetData<'a>> {
    let data = SetData {
        signal: &signal.name,
        of: signal.about.as_ref().map(OfData::from),
        expires_at: signal.expires_at,
        before: before.filter(|before| !before.is_over(signal.set_at)).map(|before| before.expires_at),
        reason: &signal.reason,
        revision: signal.revision,
    };
    let ids = EntryIds { policy: Some(policy), ..EntryIds::default() };
    Entry { kind: EntryKind::SignalSet, actor: ActorField::User(signal.set_by.clone()), ids, data }
}

#[derive(Serialize)]
struct EndedData<'a> {
    signal: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    of: Option<OfData<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Text>,
    revision: u64,
}

fn ended_entry(signal: &Signal, how: SignalEnd, revision: u64) -> Entry<EndedData<'_>> {
    let (kind, actor, reason) = match how {
        SignalEnd::Cleared(by, reason) => (EntryKind::SignalCleared, ActorField::User(by), reason),
        SignalEnd::Expired => (EntryKind::SignalExpired, ActorField::System, None),
        SignalEnd::Undeclared(by) => (EntryKind::SignalUndeclared, ActorField::User(by), None),
    };
    let of = signal.about.as_ref().map(OfData::from);
    Entry { kind, actor, ids: EntryIds::default(), data: EndedData { signal: &signal.name, of, reason, revision } }
}
