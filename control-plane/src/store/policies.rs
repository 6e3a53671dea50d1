//! Policy versions as they are kept: only ever added. Files and compiled services are texts under their hash.

use grantmesh_shared::engine::User;
use grantmesh_shared::id::PolicyId;
use grantmesh_shared::wire::policy::PolicyFile;
use grantmesh_shared::wire::signature::Sha256Hash;

use super::tx::{Row, Tx, args};
use super::{StoreError, WriteTx};
use crate::domain::{PolicyAbout, PolicyVersion, Text};

/// The compiled services of a new policy: name and exact body, sorted by name.
pub(crate) type PolicyTexts = Vec<(String, String)>;

const TABLE: (&str, &str) = ("policies", "id");

/// A statement for versions.
macro_rules! versions {
    ($which:literal) => {
        concat!(
            "SELECT id, previous, digest, author_issuer, author_subject, message, applied_at, revision FROM policies ",
            $which
        )
    };
}

impl Tx {
    /// The policy in force.
    pub(crate) async fn current_policy(&mut self) -> Result<Option<PolicyId>, StoreError> {
        let sql = "SELECT id FROM policies ORDER BY revision DESC LIMIT 1";
        self.row(TABLE, sql, args![]).await?.map(|row| row.parsed("id")).transpose()
    }

    /// Names and body hashes of a policy's services, sorted by name.
    pub(crate) async fn policy_services(&mut self, id: &PolicyId) -> Result<Vec<(String, String)>, StoreError> {
        let sql = "SELECT name, hash FROM policy_services WHERE policy = $1 ORDER BY name";
        let rows = self.rows(("policy_services", "name"), sql, args![id.as_str()]).await?;
        rows.iter().map(|row| Ok((row.text("name")?, row.text("hash")?))).collect()
    }

    /// The hash of what a policy says about people, if it says something.
    pub(crate) async fn policy_people(&mut self, id: &PolicyId) -> Result<Option<String>, StoreError> {
        let row = self.row(TABLE, "SELECT id, people FROM policies WHERE id = $1", args![id.as_str()]).await?;
        row.map_or(Ok(None), |row| row.opt_text("people"))
    }

    /// The body hash of one service of a policy.
    pub(crate) async fn policy_service(&mut self, id: &PolicyId, name: &str) -> Result<Option<String>, StoreError> {
        let sql = "SELECT name, hash FROM policy_services WHERE policy = $1 AND name = $2";
        let row = self.row(("policy_services", "name"), sql, args![id.as_str(), name]).await?;
        row.map(|row| row.text("hash")).transpose()
    }

    /// A text by its hash; one that is missing or another is an impossible row.
    pub(crate) async fn policy_text(&mut self, hash: &str) -> Result<String, StoreError> {
        let sql = "SELECT hash, body FROM policy_texts WHERE hash = $1";
        let row = self.row(("policy_texts", "hash"), sql, args![hash]).await?;
        let impossible = |why: &str| StoreError::Impossible {
            table: "policy_texts",
            column: "body",
            row: hash.to_owned(),
            why: why.to_owned(),
        };
        let body = row.ok_or_else(|| impossible("there is no such row"))?.text("body")?;
        if Sha256Hash::of(body.as_bytes()).to_string() != hash {
            return Err(impossible("it is not the text of that hash"));
        }
        Ok(body)
    }

    /// The policy that was in force at a revision.
    pub(crate) async fn policy_at(&mut self, revision: u64) -> Result<Option<PolicyId>, StoreError> {
        let sql = "SELECT id FROM policies WHERE revision <= $1 ORDER BY revision DESC LIMIT 1";
        self.row(TABLE, sql, args![revision]).await?.map(|row| row.parsed("id")).transpose()
    }

    /// A policy version without its files.
    pub(crate) async fn policy_about(&mut self, id: &PolicyId) -> Result<Option<PolicyAbout>, StoreError> {
        let row = self.row(TABLE, versions!("WHERE id = $1"), args![id.as_str()]).await?;
        match row {
            Some(row) => self.about(&row).await.map(Some),
            None => Ok(None),
        }
    }

    /// A policy version with its files.
    pub(crate) async fn policy(&mut self, id: &PolicyId) -> Result<Option<PolicyVersion>, StoreError> {
        let Some(about) = self.policy_about(id).await? else {
            return Ok(None);
        };
        let mut files = Vec::new();
        let sql = "SELECT name, hash FROM policy_files WHERE policy = $1 ORDER BY place";
        for row in self.rows(("policy_files", "name"), sql, args![id.as_str()]).await? {
            let text = self.policy_text(&row.text("hash")?).await?;
            files.push(PolicyFile { name: row.text("name")?, text });
        }
        Ok(Some(PolicyVersion { about, files }))
    }

    /// Versions without their files, newest first: those before a revision.
    pub(crate) async fn policies_before(&mut self, revision: u64, limit: u32) -> Result<Vec<PolicyAbout>, StoreError> {
        let sql = versions!("WHERE revision < $1 ORDER BY revision DESC LIMIT $2");
        let mut found = Vec::new();
        for row in self.rows(TABLE, sql, args![revision, limit]).await? {
            found.push(self.about(&row).await?);
        }
        Ok(found)
    }

    async fn about(&mut self, row: &Row) -> Result<PolicyAbout, StoreError> {
        let message = row.opt_text("message")?;
        let id: PolicyId = row.parsed("id")?;
        Ok(PolicyAbout {
            previous: row.opt_parsed("previous")?,
            digest: row.opt_parsed("digest")?,
            author: User { issuer: row.text("author_issuer")?.into(), subject: row.text("author_subject")?.into() },
            message: Text::optional_kept(message.as_deref(), "message").map_err(|error| row.bad("message", error))?,
            applied_at: row.time("applied_at")?,
            revision: row.unsigned("revision")?,
            services: self.policy_services(&id).await?.into_iter().map(|(name, _)| name.into()).collect(),
            id,
        })
    }
}

impl WriteTx {
    async fn keep_text(&mut self, body: &str) -> Result<String, StoreError> {
        let hash = Sha256Hash::of(body.as_bytes()).to_string();
        let sql = "INSERT INTO policy_texts (hash, body) VALUES ($1, $2) ON CONFLICT (hash) DO NOTHING";
        self.execute(sql, args![hash.as_str(), body]).await?;
        Ok(hash)
    }

    /// Keeps a new version of the policy.
    pub(crate) async fn insert_policy(
        &mut self,
        policy: &PolicyVersion,
        services: &PolicyTexts,
        people: Option<&str>,
    ) -> Result<(), StoreError> {
        self.change();
        let PolicyVersion { about, files } = policy;
        let people = match people {
            Some(body) => Some(self.keep_text(body).await?),
            None => None,
        };
        let sql = "INSERT INTO policies (id, previous, digest, author_issuer, author_subject, message, applied_at, revision, people) \
                   VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
        let digest = about.digest.map(|digest| digest.to_string());
        let values = args![
            about.id.as_str(),
            about.previous.as_ref().map(PolicyId::as_str),
            digest.as_deref(),
            &*about.author.issuer,
            &*about.author.subject,
            about.message.as_ref().map(Text::as_str),
            about.applied_at,
            about.revision,
            people.as_deref(),
        ];
        self.execute(sql, values).await?;
        for (place, file) in files.iter().enumerate() {
            let hash = self.keep_text(&file.text).await?;
            let sql = "INSERT INTO policy_files (policy, place, name, hash) VALUES ($1, $2, $3, $4)";
            let place = u64::try_from(place).unwrap_or(u64::MAX);
            self.execute(sql, args![about.id.as_str(), place, &*file.name, hash]).await?;
        }
        for (name, body) in services {
            let hash = self.keep_text(body).await?;
            let sql = "INSERT INTO policy_services (policy, name, hash) VALUES ($1, $2, $3)";
            self.execute(sql, args![about.id.as_str(), name.as_str(), hash]).await?;
        }
        Ok(())
    }
}
