-- The first schema. Times are milliseconds since 1970 UTC, texts of several values are JSON, hashes of the log are 32 bytes.
-- A state that the CHECKs below do not allow cannot be written, whoever writes.

-- One row. Every write locks it first and moves it last, so commits are in the order of revisions and of log places.
CREATE TABLE head (
    one         BIGINT PRIMARY KEY CHECK (one = 1),
    epoch       BIGINT NOT NULL CHECK (epoch >= 0),
    revision    BIGINT NOT NULL CHECK (revision >= 0),
    log_size    BIGINT NOT NULL CHECK (log_size >= 0),
    log_root    BYTEA NOT NULL CHECK (length(log_root) = 32),
    -- Tombstones up to this revision are gone: a delta from before it would miss removals.
    delta_floor BIGINT NOT NULL CHECK (delta_floor >= 0 AND delta_floor <= revision)
);

-- The audit log: each entry in exactly the bytes that were hashed.
CREATE TABLE log_entries (
    seq   BIGINT PRIMARY KEY CHECK (seq >= 0),
    entry BYTEA NOT NULL CHECK (length(entry) BETWEEN 2 AND 16384)
);

-- Its Merkle tree, leaf and node hashes in the order of C2SP's stored hashes.
CREATE TABLE log_hashes (
    idx  BIGINT PRIMARY KEY CHECK (idx >= 0),
    hash BYTEA NOT NULL CHECK (length(hash) = 32)
);

-- Texts of policies under their SHA-256, so that versions share what they have in common.
CREATE TABLE policy_texts (
    hash TEXT COLLATE "C" PRIMARY KEY CHECK (length(hash) = 64),
    body TEXT NOT NULL
);

CREATE TABLE policies (
    id             TEXT COLLATE "C" PRIMARY KEY,
    -- One successor each: the history does not fork.
    previous       TEXT COLLATE "C" UNIQUE REFERENCES policies (id),
    author_issuer  TEXT COLLATE "C" NOT NULL,
    author_subject TEXT COLLATE "C" NOT NULL,
    message        TEXT,
    applied_at     BIGINT NOT NULL,
    revision       BIGINT NOT NULL UNIQUE
);

-- The files as they were given.
CREATE TABLE policy_files (
    policy TEXT COLLATE "C" NOT NULL REFERENCES policies (id),
    place  BIGINT NOT NULL CHECK (place >= 0),
    name   TEXT COLLATE "C" NOT NULL,
    hash   TEXT COLLATE "C" NOT NULL REFERENCES policy_texts (hash),
    PRIMARY KEY (policy, place)
);

-- What they compile to: the item of each service.
CREATE TABLE policy_services (
    policy TEXT COLLATE "C" NOT NULL REFERENCES policies (id),
    name   TEXT COLLATE "C" NOT NULL,
    hash   TEXT COLLATE "C" NOT NULL REFERENCES policy_texts (hash),
    PRIMARY KEY (policy, name)
);

CREATE TABLE requests (
    id                TEXT COLLATE "C" PRIMARY KEY,
    state             TEXT COLLATE "C" NOT NULL CHECK (state IN ('pending', 'approved', 'denied', 'timed_out', 'withdrawn')),
    requester_issuer  TEXT COLLATE "C" NOT NULL,
    requester_subject TEXT COLLATE "C" NOT NULL,
    requester_groups  TEXT NOT NULL,
    service           TEXT COLLATE "C" NOT NULL,
    action            TEXT COLLATE "C" NOT NULL,
    resource          TEXT COLLATE "C" NOT NULL,
    rule              TEXT COLLATE "C" NOT NULL,
    justification     TEXT NOT NULL,
    duration_ms       BIGINT NOT NULL CHECK (duration_ms > 0),
    approvals_needed  BIGINT NOT NULL CHECK (approvals_needed > 0),
    policy            TEXT COLLATE "C" NOT NULL REFERENCES policies (id),
    -- The hash over what reviewers decide on; compared with the columns whenever the row is read.
    digest            TEXT COLLATE "C" NOT NULL CHECK (length(digest) = 64),
    created_at        BIGINT NOT NULL,
    times_out_at      BIGINT NOT NULL CHECK (times_out_at > created_at),
    decided_at        BIGINT,
    grant_id          TEXT COLLATE "C" UNIQUE,
    CHECK ((state = 'pending') = (decided_at IS NULL)),
    CHECK ((state = 'approved') = (grant_id IS NOT NULL))
);

CREATE INDEX requests_due ON requests (times_out_at) WHERE state = 'pending';
CREATE INDEX requests_by_requester ON requests (requester_issuer, requester_subject, id);
CREATE INDEX requests_by_rule ON requests (service, rule, id);

CREATE TABLE reviews (
    id               TEXT COLLATE "C" PRIMARY KEY,
    request          TEXT COLLATE "C" NOT NULL REFERENCES requests (id),
    -- In the order in which they were given, from 0.
    place            BIGINT NOT NULL CHECK (place >= 0),
    reviewer_issuer  TEXT COLLATE "C" NOT NULL,
    reviewer_subject TEXT COLLATE "C" NOT NULL,
    reviewer_groups  TEXT NOT NULL,
    verdict          TEXT COLLATE "C" NOT NULL CHECK (verdict IN ('approve', 'deny')),
    reason           TEXT,
    duration_ms      BIGINT CHECK (duration_ms > 0),
    at               BIGINT NOT NULL,
    UNIQUE (request, place),
    CONSTRAINT one_person_one_vote UNIQUE (request, reviewer_issuer, reviewer_subject)
);

CREATE TABLE grants (
    id               TEXT COLLATE "C" PRIMARY KEY,
    state            TEXT COLLATE "C" NOT NULL CHECK (state IN ('active', 'expired', 'revoked', 'released')),
    request          TEXT COLLATE "C" NOT NULL REFERENCES requests (id),
    holder_issuer    TEXT COLLATE "C" NOT NULL,
    holder_subject   TEXT COLLATE "C" NOT NULL,
    service          TEXT COLLATE "C" NOT NULL,
    action           TEXT COLLATE "C" NOT NULL,
    resource         TEXT COLLATE "C" NOT NULL,
    rule             TEXT COLLATE "C" NOT NULL,
    starts_at        BIGINT NOT NULL,
    expires_at       BIGINT NOT NULL CHECK (expires_at > starts_at),
    revision         BIGINT NOT NULL,
    ended_at         BIGINT,
    ended_by_issuer  TEXT COLLATE "C",
    ended_by_subject TEXT COLLATE "C",
    reason           TEXT,
    CONSTRAINT one_grant_per_request UNIQUE (request),
    CHECK ((state = 'active') = (ended_at IS NULL)),
    CHECK ((state = 'revoked') = (ended_by_issuer IS NOT NULL)),
    CHECK ((state = 'revoked') = (ended_by_subject IS NOT NULL)),
    CHECK ((state = 'revoked') = (reason IS NOT NULL))
);

CREATE INDEX grants_due ON grants (expires_at) WHERE state = 'active';
CREATE INDEX grants_by_holder ON grants (holder_issuer, holder_subject, id);
CREATE INDEX grants_by_rule ON grants (service, rule, id);

-- What filters load. A removed item stays as a tombstone (no body) until its revision is under the delta floor.
CREATE TABLE table_items (
    item_key TEXT COLLATE "C" PRIMARY KEY,
    -- The service whose filters need it; NULL if all do.
    service  TEXT COLLATE "C",
    revision BIGINT NOT NULL CHECK (revision > 0),
    body     TEXT
);

CREATE INDEX table_items_by_revision ON table_items (revision, item_key);

-- A client's word for one request, kept for a day.
CREATE TABLE idempotency_keys (
    issuer     TEXT COLLATE "C" NOT NULL,
    subject    TEXT COLLATE "C" NOT NULL,
    client_key TEXT COLLATE "C" NOT NULL,
    -- The hash of what was sent with it.
    sent       TEXT COLLATE "C" NOT NULL,
    request    TEXT COLLATE "C" NOT NULL REFERENCES requests (id),
    created_at BIGINT NOT NULL,
    PRIMARY KEY (issuer, subject, client_key)
);

CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at);

-- How far the stream of decision records of each filter VM is kept. Outlives the VM, so that no stream begins twice.
CREATE TABLE streams (
    vm        TEXT COLLATE "C" PRIMARY KEY,
    node      TEXT COLLATE "C" NOT NULL,
    next_seq  BIGINT NOT NULL CHECK (next_seq >= 0),
    last_hash TEXT COLLATE "C" NOT NULL CHECK (length(last_hash) = 64)
);

-- Filter VMs that have been answered and not forgotten.
CREATE TABLE vms (
    vm         TEXT COLLATE "C" PRIMARY KEY,
    node       TEXT COLLATE "C" NOT NULL,
    services   TEXT NOT NULL,
    first_seen BIGINT NOT NULL,
    last_seen  BIGINT NOT NULL
);
