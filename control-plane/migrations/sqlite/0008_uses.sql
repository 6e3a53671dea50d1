-- Grants for a number of uses: how many they are for, how many were taken, and each of them with what came of it.
-- The table of grants is made anew, since its states are named in a CHECK.

CREATE TABLE grants_anew (
    id               TEXT PRIMARY KEY,
    state            TEXT NOT NULL CHECK (state IN ('active', 'expired', 'revoked', 'released', 'exhausted')),
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
    ended_by_issuer  TEXT,
    ended_by_subject TEXT,
    reason           TEXT,
    terms            TEXT NOT NULL DEFAULT '{}',
    -- How many it is for; NULL for any number.
    uses             INTEGER CHECK (uses > 0),
    claimed          INTEGER NOT NULL DEFAULT 0 CHECK (claimed >= 0),
    -- Whether it is exhausted and filters still hold it, because its last calls may run.
    lingers          INTEGER NOT NULL DEFAULT 0 CHECK (lingers IN (0, 1)),
    CONSTRAINT one_grant_per_request UNIQUE (request),
    CONSTRAINT no_more_than_approved CHECK (claimed <= COALESCE(uses, 0)),
    CHECK (state <> 'exhausted' OR claimed = uses),
    CHECK (lingers = 0 OR state = 'exhausted'),
    CHECK ((state = 'active') = (ended_at IS NULL)),
    CHECK ((state = 'revoked') = (ended_by_issuer IS NOT NULL)),
    CHECK ((state = 'revoked') = (ended_by_subject IS NOT NULL)),
    CHECK ((state = 'revoked') = (reason IS NOT NULL))
) STRICT;

INSERT INTO grants_anew (id, state, request, holder_issuer, holder_subject, service, action, resource, rule, starts_at,
                         expires_at, revision, ended_at, ended_by_issuer, ended_by_subject, reason, terms)
    SELECT id, state, request, holder_issuer, holder_subject, service, action, resource, rule, starts_at,
           expires_at, revision, ended_at, ended_by_issuer, ended_by_subject, reason, terms FROM grants;
DROP TABLE grants;
ALTER TABLE grants_anew RENAME TO grants;

CREATE INDEX grants_due ON grants (expires_at) WHERE state = 'active' OR lingers = 1;
CREATE INDEX grants_by_holder ON grants (holder_issuer, holder_subject, id);
CREATE INDEX grants_by_rule ON grants (service, rule, id);

CREATE TABLE uses (
    id         TEXT PRIMARY KEY,
    grant_id   TEXT NOT NULL REFERENCES grants (id),
    number     INTEGER NOT NULL CHECK (number > 0),
    -- The claim: one that is asked again is this one.
    decision   TEXT NOT NULL,
    vm         TEXT NOT NULL,
    node       TEXT NOT NULL,
    claimed_at INTEGER NOT NULL,
    outcome    TEXT CHECK (outcome IN ('answered', 'failed', 'unknown', 'unused')),
    status     INTEGER,
    told_at    INTEGER,
    CONSTRAINT one_use_per_call UNIQUE (decision),
    CONSTRAINT one_call_per_use UNIQUE (grant_id, number),
    CHECK ((outcome IS NULL) = (told_at IS NULL)),
    CHECK (outcome IS NOT NULL OR status IS NULL)
) STRICT;

-- For how many calls a request asks, and a review narrows it to.
ALTER TABLE requests ADD COLUMN uses INTEGER CHECK (uses > 0);
ALTER TABLE reviews ADD COLUMN uses INTEGER CHECK (uses > 0);
