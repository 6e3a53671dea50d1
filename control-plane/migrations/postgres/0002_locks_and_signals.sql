-- Locks, and signals with their declarations. Only adds tables.

CREATE TABLE locks (
    id                 TEXT COLLATE "C" PRIMARY KEY,
    state              TEXT COLLATE "C" NOT NULL CHECK (state IN ('active', 'expired', 'removed')),
    -- What it blocks: every stated part must fit; with none, everything. The subject is JSON, as filters receive it.
    subject            TEXT COLLATE "C",
    service            TEXT COLLATE "C",
    action             TEXT COLLATE "C",
    reason             TEXT COLLATE "C" NOT NULL,
    created_by_issuer  TEXT COLLATE "C" NOT NULL,
    created_by_subject TEXT COLLATE "C" NOT NULL,
    created_at         BIGINT NOT NULL,
    expires_at         BIGINT CHECK (expires_at > created_at),
    revision           BIGINT NOT NULL,
    ended_at           BIGINT,
    ended_by_issuer    TEXT COLLATE "C",
    ended_by_subject   TEXT COLLATE "C",
    end_reason         TEXT COLLATE "C",
    CHECK (action IS NULL OR service IS NOT NULL),
    CHECK ((state = 'active') = (ended_at IS NULL)),
    CHECK (state <> 'expired' OR expires_at IS NOT NULL),
    CHECK ((state = 'removed') = (ended_by_issuer IS NOT NULL)),
    CHECK ((state = 'removed') = (ended_by_subject IS NOT NULL)),
    CHECK (state = 'removed' OR end_reason IS NULL)
);

CREATE INDEX locks_due ON locks (expires_at) WHERE state = 'active' AND expires_at IS NOT NULL;

-- The signals that each version of the policy declares.
CREATE TABLE policy_signals (
    policy          TEXT COLLATE "C" NOT NULL REFERENCES policies (id),
    name            TEXT COLLATE "C" NOT NULL,
    description     TEXT COLLATE "C",
    -- JSON, as filters receive subjects.
    setters         TEXT COLLATE "C" NOT NULL,
    max_duration_ms BIGINT NOT NULL CHECK (max_duration_ms > 0),
    PRIMARY KEY (policy, name)
);

-- The signals that are set. One that ended has no row: its story is in the log.
CREATE TABLE signals (
    name           TEXT COLLATE "C" PRIMARY KEY,
    reason         TEXT COLLATE "C" NOT NULL,
    set_by_issuer  TEXT COLLATE "C" NOT NULL,
    set_by_subject TEXT COLLATE "C" NOT NULL,
    set_at         BIGINT NOT NULL,
    expires_at     BIGINT NOT NULL CHECK (expires_at > set_at),
    revision       BIGINT NOT NULL
);

CREATE INDEX signals_due ON signals (expires_at);
