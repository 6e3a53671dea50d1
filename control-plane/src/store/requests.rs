//! Requests as they are kept. A change of state is guarded by `state = 'pending'`.

use grantmesh_shared::engine::User;
use grantmesh_shared::id::{GrantId, RequestId};
use grantmesh_shared::time::Timestamp;
use sqlx::AssertSqlSafe;

use super::select::Select;
use super::tx::{Row, Tx, args};
use super::{StoreError, WriteTx};
use crate::domain::{
    Ask, AskKind, Event, EventKind, Request, RequestState, RequestStateWord, Standing, Text, Timers, Waited,
};

const TABLE: (&str, &str) = ("requests", "id");

macro_rules! columns {
    () => {
        concat!(
            "id, state, kind, extends, starts_at, remind_at, escalate_at, reminded_at, escalated_at, requester_issuer, ",
            "requester_subject, requester_groups, service, action, resource, rule, ",
            "justification, duration_ms, approvals_needed, policy, digest, created_at, times_out_at, decided_at, ",
            "grant_id, shown, uses, ticket, automatic"
        )
    };
}

const COLUMNS: &str = columns!();

macro_rules! select {
    ($rest:literal) => {
        concat!("SELECT ", columns!(), " FROM requests", $rest)
    };
}

/// The request of a row, still without its reviews.
impl TryFrom<Row> for Request {
    type Error = StoreError;

    fn try_from(row: Row) -> Result<Self, StoreError> {
        let justification = row.text("justification")?;
        let ticket = row.opt_text("ticket")?;
        let ask = Ask {
            requester: User {
                issuer: row.text("requester_issuer")?.into(),
                subject: row.text("requester_subject")?.into(),
            },
            requester_groups: row.json("requester_groups")?,
            service: row.text("service")?,
            action: row.text("action")?,
            resource: row.text("resource")?,
            rule: row.text("rule")?,
            justification: Text::kept(&justification, "justification")
                .map_err(|error| row.bad("justification", error))?,
            ticket: ticket
                .map(|ticket| Text::kept(&ticket, "ticket"))
                .transpose()
                .map_err(|error| row.bad("ticket", error))?,
            duration: row.span("duration_ms")?,
            shown: row.opt_json("shown")?,
            uses: row.opt_unsigned("uses")?,
            kind: kind(&row)?,
            starts_at: row.opt_time("starts_at")?,
            timers: Timers { remind_at: row.opt_time("remind_at")?, escalate_at: row.opt_time("escalate_at")? },
            policy: row.parsed("policy")?,
            created_at: row.time("created_at")?,
            times_out_at: row.time("times_out_at")?,
        };
        if row.text("digest")? != ask.digest().to_string() {
            return Err(row.bad("digest", "it is not the digest of the row's other columns"));
        }
        Ok(Self {
            id: row.parsed("id")?,
            ask,
            approvals_needed: row.unsigned("approvals_needed")?,
            reviews: Vec::new(),
            waited: Waited { reminded_at: row.opt_time("reminded_at")?, escalated_at: row.opt_time("escalated_at")? },
            automatic: row.opt_json("automatic")?,
            state: state(&row)?,
        })
    }
}

fn kind(row: &Row) -> Result<AskKind, StoreError> {
    let word = row.text("kind")?;
    match (word.as_str(), row.opt_parsed("extends")?) {
        ("grant", None) => Ok(AskKind::Grant),
        ("extension", Some(grant)) => Ok(AskKind::Extension(grant)),
        ("break_glass", None) => Ok(AskKind::BreakGlass),
        _ => Err(row.bad("kind", format!("`{word}` is no kind of such a request"))),
    }
}

fn state(row: &Row) -> Result<RequestState, StoreError> {
    let word = row.text("state")?;
    let word = RequestStateWord::parse(&word).ok_or_else(|| row.bad("state", format!("`{word}` is no state")))?;
    let at = row.opt_time("decided_at")?;
    let at = || at.ok_or_else(|| row.bad("decided_at", format!("the request is {word} without a time")));
    Ok(match word {
        RequestStateWord::Pending => RequestState::Pending,
        RequestStateWord::Approved => {
            let grant =
                row.opt_parsed("grant_id")?.ok_or_else(|| row.bad("grant_id", "it is approved without a grant"))?;
            RequestState::Approved { at: at()?, grant }
        }
        RequestStateWord::Denied => RequestState::Denied { at: at()? },
        RequestStateWord::TimedOut => RequestState::TimedOut { at: at()? },
        RequestStateWord::Withdrawn => RequestState::Withdrawn { at: at()? },
    })
}

impl Tx {
    /// A request with its reviews.
    pub(crate) async fn request(&mut self, id: &RequestId) -> Result<Option<Request>, StoreError> {
        let found = self.row(TABLE, select!(" WHERE id = $1"), args![id.as_str()]).await?;
        let mut found: Vec<Request> = found.map(Request::try_from).transpose()?.into_iter().collect();
        self.load_reviews(&mut found).await?;
        Ok(found.pop())
    }

    /// A page of requests with their reviews.
    pub(crate) async fn requests(&mut self, which: &Select) -> Result<Vec<Request>, StoreError> {
        let (sql, values) = which.statement(COLUMNS, ("requests", "requester"), self.is_sqlite());
        let rows = self.rows(TABLE, AssertSqlSafe(sql), values).await?;
        let mut found = rows.into_iter().map(Request::try_from).collect::<Result<Vec<_>, _>>()?;
        self.load_reviews(&mut found).await?;
        Ok(found)
    }

    /// Pending requests whose time is over.
    pub(crate) async fn overdue_requests(&mut self, now: Timestamp, limit: u32) -> Result<Vec<Request>, StoreError> {
        let sql = select!(" WHERE state = 'pending' AND times_out_at <= $1 ORDER BY times_out_at, id LIMIT $2");
        let rows = self.rows(TABLE, sql, args![now, limit]).await?;
        rows.into_iter().map(Request::try_from).collect()
    }

    /// The pending request for more time for a grant; there is one at most.
    pub(crate) async fn pending_extension(&mut self, grant: &GrantId) -> Result<Option<Request>, StoreError> {
        let sql = select!(" WHERE extends = $1 AND state = 'pending'");
        self.row(TABLE, sql, args![grant.as_str()]).await?.map(Request::try_from).transpose()
    }

    /// Pending requests whose reviewers are to be reminded.
    pub(crate) async fn requests_to_remind(&mut self, now: Timestamp, limit: u32) -> Result<Vec<Request>, StoreError> {
        let sql = select!(
            " WHERE state = 'pending' AND reminded_at IS NULL AND remind_at <= $1 AND times_out_at > $1 ORDER BY remind_at, id LIMIT $2"
        );
        self.rows(TABLE, sql, args![now, limit]).await?.into_iter().map(Request::try_from).collect()
    }

    /// Pending requests that others are to review, too.
    pub(crate) async fn requests_to_escalate(
        &mut self,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<Request>, StoreError> {
        let sql = select!(
            " WHERE state = 'pending' AND escalated_at IS NULL AND escalate_at <= $1 AND times_out_at > $1 ORDER BY escalate_at, id LIMIT $2"
        );
        self.rows(TABLE, sql, args![now, limit]).await?.into_iter().map(Request::try_from).collect()
    }

    /// When the next request is to be reminded of or escalated.
    pub(crate) async fn next_wait(&mut self) -> Result<Option<Timestamp>, StoreError> {
        let remind = "SELECT id, remind_at AS at FROM requests WHERE state = 'pending' AND reminded_at IS NULL \
                      AND remind_at IS NOT NULL ORDER BY remind_at LIMIT 1";
        let remind = self.row(TABLE, remind, args![]).await?.map(|row| row.time("at")).transpose()?;
        let escalate = "SELECT id, escalate_at AS at FROM requests WHERE state = 'pending' AND escalated_at IS NULL \
                        AND escalate_at IS NOT NULL ORDER BY escalate_at LIMIT 1";
        let escalate = self.row(TABLE, escalate, args![]).await?.map(|row| row.time("at")).transpose()?;
        Ok(remind.into_iter().chain(escalate).min())
    }

    /// When the next pending request times out.
    pub(crate) async fn next_time_out(&mut self) -> Result<Option<Timestamp>, StoreError> {
        let sql = "SELECT id, times_out_at FROM requests WHERE state = 'pending' ORDER BY times_out_at LIMIT 1";
        self.row(TABLE, sql, args![]).await?.map(|row| row.time("times_out_at")).transpose()
    }
}

impl WriteTx {
    /// Keeps a new request with who is suggested to review it, and tells of it.
    pub(crate) async fn insert_request(&mut self, request: &Request, suggested: &[User]) -> Result<(), StoreError> {
        self.change();
        let ask = &request.ask;
        let sql = "INSERT INTO requests (id, requester_issuer, requester_subject, requester_groups, service, action, \
                   resource, rule, justification, duration_ms, approvals_needed, policy, digest, created_at, times_out_at, shown, \
                   uses, kind, extends, starts_at, remind_at, escalate_at, state, decided_at, grant_id, ticket, \
                   automatic, escalated_at) VALUES \
                   ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, \
                   $24, $25, $26, $27, $28)";
        let shown = ask.shown.as_ref().map(|shown| serde_json::json!(shown).to_string());
        let automatic = request.automatic.as_ref().map(|automatic| serde_json::json!(automatic).to_string());
        let values = args![
            request.id.as_str(),
            &*ask.requester.issuer,
            &*ask.requester.subject,
            serde_json::json!(ask.requester_groups).to_string(),
            &*ask.service,
            &*ask.action,
            &*ask.resource,
            &*ask.rule,
            ask.justification.as_str(),
            ask.duration,
            request.approvals_needed,
            ask.policy.as_str(),
            ask.digest().to_string(),
            ask.created_at,
            ask.times_out_at,
            shown.as_deref(),
            ask.uses,
            ask.kind.as_str(),
            ask.kind.extended().map(GrantId::as_str),
            ask.starts_at,
            ask.timers.remind_at,
            ask.timers.escalate_at,
            request.state.word().as_str(),
            request.state.decided_at(),
            request.state.grant().map(GrantId::as_str),
            ask.ticket.as_ref().map(Text::as_str),
            automatic.as_deref(),
            request.waited.escalated_at,
        ];
        self.execute(sql, values).await?;
        // Nobody is asked by one that only stands for broken glass, which is told as that.
        if ask.kind == AskKind::BreakGlass {
            return Ok(());
        }
        self.suggest(&request.id, suggested).await?;
        self.tell(&Event::of_request(EventKind::RequestFiled, request).to(suggested)).await?;
        if request.waited.escalated_at.is_some() {
            self.tell(&Event::of_request(EventKind::RequestEscalated, request).to(suggested)).await?;
        }
        self.tell_end(request).await
    }

    /// Reminds the reviewers of a pending request, and keeps that they were.
    pub(crate) async fn reminded(
        &mut self,
        request: &Request,
        suggested: &[User],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let sql = "UPDATE requests SET reminded_at = $1 WHERE id = $2 AND state = 'pending' AND reminded_at IS NULL";
        let id = request.id.as_str();
        self.execute_one("requests", id, sql, args![now, id]).await?;
        self.suggest(&request.id, suggested).await?;
        self.tell(&Event::of_request(EventKind::RequestReminded, request).to(suggested)).await
    }

    /// Keeps that others review a pending request from now on, and tells them.
    pub(crate) async fn escalated(
        &mut self,
        request: &Request,
        suggested: &[User],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let sql = "UPDATE requests SET escalated_at = $1 WHERE id = $2 AND state = 'pending' AND escalated_at IS NULL";
        let id = request.id.as_str();
        self.execute_one("requests", id, sql, args![now, id]).await?;
        self.suggest(&request.id, suggested).await?;
        self.tell(&Event::of_request(EventKind::RequestEscalated, request).to(suggested)).await
    }

    /// Keeps whom a request that was reviewed waits for now, and tells them.
    pub(crate) async fn reviewed(
        &mut self,
        request: &Request,
        standing: &Standing,
        suggested: &[User],
    ) -> Result<(), StoreError> {
        self.suggest(&request.id, suggested).await?;
        self.tell(&Event::of_request(EventKind::RequestReviewed, request).at(standing).to(suggested)).await
    }

    /// Keeps what became of a pending request, and tells of its end.
    pub(crate) async fn update_request(&mut self, request: &Request) -> Result<(), StoreError> {
        self.change();
        let sql = "UPDATE requests SET state = $1, decided_at = $2, grant_id = $3, approvals_needed = $4 \
                   WHERE id = $5 AND state = 'pending'";
        let values = args![
            request.state.word().as_str(),
            request.state.decided_at(),
            request.state.grant().map(GrantId::as_str),
            request.approvals_needed,
            request.id.as_str(),
        ];
        self.execute_one("requests", request.id.as_str(), sql, values).await?;
        self.tell_end(request).await
    }

    /// Tells what became of a request, if it is decided.
    async fn tell_end(&mut self, request: &Request) -> Result<(), StoreError> {
        let kind = match request.state {
            RequestState::Pending => return Ok(()),
            RequestState::Approved { .. } => EventKind::RequestApproved,
            RequestState::Denied { .. } => EventKind::RequestDenied,
            RequestState::TimedOut { .. } => EventKind::RequestTimedOut,
            RequestState::Withdrawn { .. } => EventKind::RequestWithdrawn,
        };
        self.suggest_nobody(&request.id).await?;
        self.tell(&Event::of_request(kind, request)).await
    }
}
