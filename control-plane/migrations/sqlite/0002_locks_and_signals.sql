-- Locks, and signals with their declarations. Only adds tables.

CREATE TABLE locks (
    id                 TEXT PRIMARY KEY,
    state              TEXT NOT NULL CHECK (state IN ('active', 'expired', 'removed')),
    -- What it blocks: every stated part must fit; with none, everything. The subject is JSON, as filters receive it.
    subject            TEXT,
    service            TEXT,
    action             TEXT,
    reason             TEXT NOT NULL,
    created_by_issuer  TEXT NOT NULL,
    created_by_subject TEXT NOT NULL,
    created_at         INTEGER NOT NULL,
    expires_at         INTEGER CHECK (expires_at > created_at),
    revision           INTEGER NOT NULL,
    ended_at           INTEGER,
    ended_by_issuer    TEXT,
    ended_by_subject   TEXT,
    end_reason         TEXT,
    CHECK (action IS NULL OR service IS NOT NULL),
    CHECK ((state = 'active') = (ended_at IS NULL)),
    CHECK (state <> 'expired' OR expires_at IS NOT NULL),
    CHECK ((state = 'removed') = (ended_by_issuer IS NOT NULL)),
    CHECK ((state = 'removed') = (ended_by_subject IS NOT NULL)),
    CHECK (state = 'removed' OR end_reason IS NULL)
) STRICT;

CREATE INDEX locks_due ON locks (expires_at) WHERE state = 'active' AND expires_at IS NOT NULL;

-- The signals that each version of the policy declares.
CREATE TABLE policy_signals (
    policy          TEXT NOT NULL REFERENCES policies (id),
    name            TEXT NOT NULL,
    description     TEXT,
    -- JSON, as filters receive subjects.
    setters         TEXT NOT NULL,
    max_duration_ms INTEGER NOT NULL CHECK (max_duration_ms > 0),
    PRIMARY KEY (policy, name)
) STRICT;

-- The signals that are set. One that ended has no row: its story is in the log.
CREATE TABLE signals (
    name           TEXT PRIMARY KEY,
    reason         TEXT NOT NULL,
    set_by_issuer  TEXT NOT NULL,
    set_by_subject TEXT NOT NULL,
    set_at         INTEGER NOT NULL,
    expires_at     INTEGER NOT NULL CHECK (expires_at > set_at),
    revision       INTEGER NOT NULL
) STRICT;

CREATE INDEX signals_due ON signals (expires_at);
