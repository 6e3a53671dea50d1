//! Signals as they are kept: what each version of the policy declares, and which are set, together with the item that
//! filters load. A change is guarded by the revision of the one before.

use grantmesh_shared::engine::{Subject, User};
use grantmesh_shared::id::PolicyId;
use grantmesh_shared::time::Timestamp;
use grantmesh_shared::wire::policy::OfWord;
use grantmesh_shared::wire::table::SubjectItem;
use sqlx::AssertSqlSafe;

use super::tx::{Row, Tx, Value, args};
use super::{StoreError, WriteTx};
use crate::audit::AuditError;
use crate::domain::{Signal, SignalDeclaration, Text, signal_of_key};

const SIGNALS: (&str, &str) = ("signals", "name");
const DECLARED: (&str, &str) = ("policy_signals", "name");

/// So many signals are looked up by one statement, well below both databases' limit of placeholders.
const MOST_KEYS: usize = 1_000;

macro_rules! select {
    ($rest:literal) => {
        concat!("SELECT name, reason, set_by_issuer, set_by_subject, set_at, expires_at, revision FROM signals", $rest)
    };
}

macro_rules! declared {
    ($rest:literal) => {
        concat!(
            "SELECT name, description, said_of, setters, max_duration_ms FROM policy_signals WHERE policy = $1",
            $rest
        )
    };
}

impl TryFrom<Row> for Signal {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let key = row.text("name")?;
        let (name, about) = signal_of_key(&key).ok_or_else(|| row.bad("name", "it is no key of a signal"))?;
        Ok(Self {
            name: name.to_owned(),
            about,
            reason: Text::kept(&row.text("reason")?, "reason").map_err(|error| row.bad("reason", error))?,
            set_by: User { issuer: row.text("set_by_issuer")?.into(), subject: row.text("set_by_subject")?.into() },
            set_at: row.time("set_at")?,
            expires_at: row.time("expires_at")?,
            revision: row.unsigned("revision")?,
        })
    }
}

impl TryFrom<Row> for SignalDeclaration {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let setters: Vec<SubjectItem> = row.json("setters")?;
        let setters: Result<Vec<Subject>, _> = setters.into_iter().map(Subject::try_from).collect();
        let of = row.opt_text("said_of")?;
        let word =
            |word: String| OfWord::parse(&word).ok_or_else(|| row.bad("said_of", "a signal is said of no such thing"));
        Ok(Self {
            name: row.text("name")?,
            description: row.opt_text("description")?,
            of: of.map(word).transpose()?,
            setters: setters.map_err(|error| row.bad("setters", error))?,
            max_duration: row.span("max_duration_ms")?,
        })
    }
}

impl Tx {
    /// The signals that a version of the policy declares, by name.
    pub(crate) async fn declared_signals(&mut self, policy: &PolicyId) -> Result<Vec<SignalDeclaration>, StoreError> {
        let rows = self.rows(DECLARED, declared!(" ORDER BY name"), args![policy.as_str()]).await?;
        rows.into_iter().map(SignalDeclaration::try_from).collect()
    }

    /// One signal as a version of the policy declares it.
    pub(crate) async fn declared_signal(
        &mut self,
        policy: &PolicyId,
        name: &str,
    ) -> Result<Option<SignalDeclaration>, StoreError> {
        let row = self.row(DECLARED, declared!(" AND name = $2"), args![policy.as_str(), name]).await?;
        row.map(SignalDeclaration::try_from).transpose()
    }

    /// The signals that are set of everything, by name.
    pub(crate) async fn signals(&mut self) -> Result<Vec<Signal>, StoreError> {
        let sql = select!(" WHERE said_of IS NULL ORDER BY name");
        self.rows(SIGNALS, sql, args![]).await?.into_iter().map(Signal::try_from).collect()
    }

    /// Of what users or tickets a signal is said, so many of them.
    pub(crate) async fn said(&mut self, name: &str, limit: u32) -> Result<Vec<Signal>, StoreError> {
        let sql = select!(" WHERE said_of = $1 ORDER BY name LIMIT $2");
        self.rows(SIGNALS, sql, args![name, limit]).await?.into_iter().map(Signal::try_from).collect()
    }

    /// Of how many users or tickets a signal is said.
    pub(crate) async fn times_said(&mut self, name: &str) -> Result<u64, StoreError> {
        let sql = "SELECT said_of AS name, COUNT(*) AS times FROM signals WHERE said_of = $1 GROUP BY said_of";
        let row = self.row(SIGNALS, sql, args![name]).await?;
        row.map_or(Ok(0), |row| row.unsigned("times"))
    }

    /// Those of these signals that are set.
    pub(crate) async fn signals_of_keys(&mut self, keys: &[String]) -> Result<Vec<Signal>, StoreError> {
        let mut found = Vec::new();
        for part in keys.chunks(MOST_KEYS) {
            let places: Vec<String> = (1..=part.len()).map(|place| format!("${place}")).collect();
            let sql = format!("{} WHERE name IN ({}) ORDER BY name", select!(""), places.join(", "));
            let keys = part.iter().map(|key| Value::from(key.as_str())).collect();
            for row in self.rows(SIGNALS, AssertSqlSafe(sql), keys).await? {
                found.push(Signal::try_from(row)?);
            }
        }
        Ok(found)
    }

    /// All signals that are set, whatever they are said of.
    pub(crate) async fn all_signals(&mut self) -> Result<Vec<Signal>, StoreError> {
        self.rows(SIGNALS, select!(" ORDER BY name"), args![]).await?.into_iter().map(Signal::try_from).collect()
    }

    /// The signal of a key, if it is set.
    pub(crate) async fn signal(&mut self, name: &str) -> Result<Option<Signal>, StoreError> {
        self.row(SIGNALS, select!(" WHERE name = $1"), args![name]).await?.map(Signal::try_from).transpose()
    }

    /// Signals whose time is over.
    pub(crate) async fn overdue_signals(&mut self, now: Timestamp, limit: u32) -> Result<Vec<Signal>, StoreError> {
        let sql = select!(" WHERE expires_at <= $1 ORDER BY expires_at, name LIMIT $2");
        self.rows(SIGNALS, sql, args![now, limit]).await?.into_iter().map(Signal::try_from).collect()
    }

    /// When the next signal ends by its time.
    pub(crate) async fn next_signal_expiry(&mut self) -> Result<Option<Timestamp>, StoreError> {
        let sql = "SELECT name, expires_at FROM signals ORDER BY expires_at LIMIT 1";
        self.row(SIGNALS, sql, args![]).await?.map(|row| row.time("expires_at")).transpose()
    }
}

impl WriteTx {
    /// Keeps what a new version of the policy declares.
    pub(crate) async fn insert_declared_signals(
        &mut self,
        policy: &PolicyId,
        declared: &[SignalDeclaration],
    ) -> Result<(), StoreError> {
        for SignalDeclaration { name, description, of, setters, max_duration } in declared {
            let setters: Vec<SubjectItem> = setters.iter().cloned().map(SubjectItem::from).collect();
            let setters = serde_json::to_string(&setters).map_err(AuditError::Json)?;
            let sql = "INSERT INTO policy_signals (policy, name, description, said_of, setters, max_duration_ms) \
                       VALUES ($1, $2, $3, $4, $5, $6)";
            let of = of.map(OfWord::as_str);
            let values = args![policy.as_str(), name.as_str(), description.as_deref(), of, setters, *max_duration];
            self.execute(sql, values).await?;
        }
        Ok(())
    }

    /// Keeps a signal in the place of the one before, if there was one, and gives it to filters.
    pub(crate) async fn put_signal(&mut self, signal: &Signal, before: Option<&Signal>) -> Result<(), StoreError> {
        self.change();
        let key = signal.key();
        let said_of = signal.about.as_ref().map(|_| signal.name.as_str());
        let sql = "INSERT INTO signals (name, reason, set_by_issuer, set_by_subject, set_at, expires_at, revision, said_of) \
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $9) ON CONFLICT (name) DO UPDATE SET reason = excluded.reason, \
                   set_by_issuer = excluded.set_by_issuer, set_by_subject = excluded.set_by_subject, \
                   set_at = excluded.set_at, expires_at = excluded.expires_at, revision = excluded.revision \
                   WHERE signals.revision = $8";
        let values = args![
            key.as_str(),
            signal.reason.as_str(),
            &*signal.set_by.issuer,
            &*signal.set_by.subject,
            signal.set_at,
            signal.expires_at,
            signal.revision,
            // No row has this revision: where none is expected, one that is there refuses the write.
            before.map_or(0, |before| before.revision),
            said_of,
        ];
        self.execute_one("signals", &key, sql, values).await?;
        if signal.about.is_some() {
            return Ok(());
        }
        let item = signal.body().into_item().map_err(AuditError::Json)?;
        self.put_item(&item.key, None, item.body.get()).await
    }

    /// Forgets a signal that ended and takes it from filters.
    pub(crate) async fn end_signal(&mut self, signal: &Signal) -> Result<(), StoreError> {
        self.change();
        let sql = "DELETE FROM signals WHERE name = $1 AND revision = $2";
        let key = signal.key();
        self.execute_one("signals", &key, sql, args![key.as_str(), signal.revision]).await?;
        if signal.about.is_some() {
            return Ok(());
        }
        self.remove_item(&signal.body()).await
    }
}
