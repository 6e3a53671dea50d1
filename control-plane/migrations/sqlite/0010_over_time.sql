-- What happens to requests and grants over time: grants that start later, requests for more time and for grants at once,
-- reminders and escalations, warnings before an end. Both tables are made anew, since their states are named in CHECKs.

CREATE TABLE requests_anew (
    id                TEXT PRIMARY KEY,
    state             TEXT NOT NULL CHECK (state IN ('pending', 'approved', 'denied', 'timed_out', 'withdrawn')),
    kind              TEXT NOT NULL CHECK (kind IN ('grant', 'extension', 'break_glass')),
    -- The grant that is to last longer.
    extends           TEXT REFERENCES grants (id),
    requester_issuer  TEXT NOT NULL,
    requester_subject TEXT NOT NULL,
    requester_groups  TEXT NOT NULL,
    service           TEXT NOT NULL,
    action            TEXT NOT NULL,
    resource          TEXT NOT NULL,
    rule              TEXT NOT NULL,
    justification     TEXT NOT NULL,
    duration_ms       INTEGER NOT NULL CHECK (duration_ms > 0),
    uses              INTEGER CHECK (uses > 0),
    shown             TEXT,
    -- From when on; NULL for from the approval on.
    starts_at         INTEGER,
    approvals_needed  INTEGER NOT NULL CHECK (approvals_needed >= 0),
    policy            TEXT NOT NULL REFERENCES policies (id),
    -- The hash over what reviewers decide on; compared with the columns whenever the row is read.
    digest            TEXT NOT NULL CHECK (length(digest) = 64),
    created_at        INTEGER NOT NULL,
    times_out_at      INTEGER NOT NULL CHECK (times_out_at > created_at),
    -- When its reviewers are reminded and others review it, too, and when they were and do.
    remind_at         INTEGER,
    escalate_at       INTEGER,
    reminded_at       INTEGER,
    escalated_at      INTEGER,
    decided_at        INTEGER,
    -- The grant that came of it, or that it made last longer.
    grant_id          TEXT,
    CHECK ((kind = 'extension') = (extends IS NOT NULL)),
    CHECK (approvals_needed > 0 OR kind = 'break_glass'),
    CHECK ((state = 'pending') = (decided_at IS NULL)),
    CHECK ((state = 'approved') = (grant_id IS NOT NULL)),
    CHECK (grant_id IS NULL OR extends IS NULL OR grant_id = extends),
    CHECK (reminded_at IS NULL OR remind_at IS NOT NULL),
    CHECK (escalated_at IS NULL OR escalate_at IS NOT NULL)
) STRICT;

INSERT INTO requests_anew (id, state, kind, requester_issuer, requester_subject, requester_groups, service, action, resource,
                           rule, justification, duration_ms, uses, shown, approvals_needed, policy, digest, created_at,
                           times_out_at, decided_at, grant_id)
    SELECT id, state, 'grant', requester_issuer, requester_subject, requester_groups, service, action, resource,
           rule, justification, duration_ms, uses, shown, approvals_needed, policy, digest, created_at,
           times_out_at, decided_at, grant_id FROM requests;
DROP TABLE requests;
ALTER TABLE requests_anew RENAME TO requests;

CREATE INDEX requests_due ON requests (times_out_at) WHERE state = 'pending';
CREATE INDEX requests_to_remind ON requests (remind_at) WHERE state = 'pending' AND reminded_at IS NULL;
CREATE INDEX requests_to_escalate ON requests (escalate_at) WHERE state = 'pending' AND escalated_at IS NULL;
CREATE INDEX requests_by_requester ON requests (requester_issuer, requester_subject, id);
CREATE INDEX requests_by_rule ON requests (service, rule, id);
CREATE UNIQUE INDEX requests_by_grant ON requests (grant_id) WHERE extends IS NULL;
CREATE INDEX requests_by_extended ON requests (extends) WHERE extends IS NOT NULL;

CREATE TABLE grants_anew (
    id               TEXT PRIMARY KEY,
    state            TEXT NOT NULL CHECK (state IN ('scheduled', 'active', 'expired', 'revoked', 'released', 'exhausted')),
    request          TEXT NOT NULL REFERENCES requests (id),
    holder_issuer    TEXT NOT NULL,
    holder_subject   TEXT NOT NULL,
    service          TEXT NOT NULL,
    action           TEXT NOT NULL,
    resource         TEXT NOT NULL,
    rule             TEXT NOT NULL,
    starts_at        INTEGER NOT NULL,
    expires_at       INTEGER NOT NULL CHECK (expires_at > starts_at),
    revision         INTEGER NOT NULL,
    ended_at         INTEGER,
    -- NULL, too, for one that the policy did not let start.
    ended_by_issuer  TEXT,
    ended_by_subject TEXT,
    reason           TEXT,
    terms            TEXT NOT NULL DEFAULT '{}',
    -- How many it is for; NULL for any number.
    uses             INTEGER CHECK (uses > 0),
    claimed          INTEGER NOT NULL DEFAULT 0 CHECK (claimed >= 0),
    -- Whether it is exhausted and filters still hold it, because its last calls may run.
    lingers          INTEGER NOT NULL DEFAULT 0 CHECK (lingers IN (0, 1)),
    -- Whether it was given at once, without an approval.
    break_glass      INTEGER NOT NULL DEFAULT 0 CHECK (break_glass IN (0, 1)),
    -- When its holder is told that it is about to end; NULL if that is not, or has been.
    warn_at          INTEGER,
    CONSTRAINT one_grant_per_request UNIQUE (request),
    CONSTRAINT no_more_than_approved CHECK (claimed <= COALESCE(uses, 0)),
    CHECK (state <> 'exhausted' OR claimed = uses),
    CHECK (lingers = 0 OR state = 'exhausted'),
    CHECK ((state IN ('scheduled', 'active')) = (ended_at IS NULL)),
    CHECK (state = 'revoked' OR ended_by_issuer IS NULL),
    CHECK ((ended_by_issuer IS NULL) = (ended_by_subject IS NULL)),
    CHECK ((state = 'revoked') = (reason IS NOT NULL))
) STRICT;

INSERT INTO grants_anew (id, state, request, holder_issuer, holder_subject, service, action, resource, rule, starts_at,
                         expires_at, revision, ended_at, ended_by_issuer, ended_by_subject, reason, terms, uses, claimed,
                         lingers)
    SELECT id, state, request, holder_issuer, holder_subject, service, action, resource, rule, starts_at,
           expires_at, revision, ended_at, ended_by_issuer, ended_by_subject, reason, terms, uses, claimed,
           lingers FROM grants;
DROP TABLE grants;
ALTER TABLE grants_anew RENAME TO grants;

CREATE INDEX grants_due ON grants (expires_at) WHERE state = 'active' OR lingers = 1;
CREATE INDEX grants_to_start ON grants (starts_at) WHERE state = 'scheduled';
CREATE INDEX grants_to_warn ON grants (warn_at) WHERE state = 'active' AND warn_at IS NOT NULL;
CREATE INDEX grants_by_holder ON grants (holder_issuer, holder_subject, id);
CREATE INDEX grants_by_rule ON grants (service, rule, id);
