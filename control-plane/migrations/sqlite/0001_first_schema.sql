-- The first schema. Times are milliseconds since 1970 UTC, texts of several values are JSON, hashes of the log are 32 bytes.
-- A state that the CHECKs below do not allow cannot be written, whoever writes.

-- One row. Every write locks it first and moves it last, so commits are in the order of revisions and of log places.
CREATE TABLE head (
    one         INTEGER PRIMARY KEY CHECK (one = 1),
    epoch       INTEGER NOT NULL CHECK (epoch >= 0),
    revision    INTEGER NOT NULL CHECK (revision >= 0),
    log_size    INTEGER NOT NULL CHECK (log_size >= 0),
    log_root    BLOB NOT NULL CHECK (length(log_root) = 32),
    -- Tombstones up to this revision are gone: a delta from before it would miss removals.
    delta_floor INTEGER NOT NULL CHECK (delta_floor >= 0 AND delta_floor <= revision)
) STRICT;

-- The audit log: each entry in exactly the bytes that were hashed.
CREATE TABLE log_entries (
    seq   INTEGER PRIMARY KEY CHECK (seq >= 0),
    entry BLOB NOT NULL CHECK (length(entry) BETWEEN 2 AND 16384)
) STRICT;

-- Its Merkle tree, leaf and node hashes in the order of C2SP's stored hashes.
CREATE TABLE log_hashes (
    idx  INTEGER PRIMARY KEY CHECK (idx >= 0),
    hash BLOB NOT NULL CHECK (length(hash) = 32)
) STRICT;

-- Texts of policies under their SHA-256, so that versions share what they have in common.
CREATE TABLE policy_texts (
    hash TEXT PRIMARY KEY CHECK (length(hash) = 64),
    body TEXT NOT NULL
) STRICT;

CREATE TABLE policies (
    id             TEXT PRIMARY KEY,
    -- One successor each: the history does not fork.
    previous       TEXT UNIQUE REFERENCES policies (id),
    author_issuer  TEXT NOT NULL,
    author_subject TEXT NOT NULL,
    message        TEXT,
    applied_at     INTEGER NOT NULL,
    revision       INTEGER NOT NULL UNIQUE
) STRICT;

-- The files as they were given.
CREATE TABLE policy_files (
    policy TEXT NOT NULL REFERENCES policies (id),
    place  INTEGER NOT NULL CHECK (place >= 0),
    name   TEXT NOT NULL,
    hash   TEXT NOT NULL REFERENCES policy_texts (hash),
    PRIMARY KEY (policy, place)
) STRICT;

-- What they compile to: the item of each service.
CREATE TABLE policy_services (
    policy TEXT NOT NULL REFERENCES policies (id),
    name   TEXT NOT NULL,
    hash   TEXT NOT NULL REFERENCES policy_texts (hash),
    PRIMARY KEY (policy, name)
) STRICT;

CREATE TABLE requests (
    id                TEXT PRIMARY KEY,
    state             TEXT NOT NULL CHECK (state IN ('pending', 'approved', 'denied', 'timed_out', 'withdrawn')),
    requester_issuer  TEXT NOT NULL,
    requester_subject TEXT NOT NULL,
    requester_groups  TEXT NOT NULL,
    service           TEXT NOT NULL,
    action            TEXT NOT NULL,
    resource          TEXT NOT NULL,
    rule              TEXT NOT NULL,
    justification     TEXT NOT NULL,
    duration_ms       INTEGER NOT NULL CHECK (duration_ms > 0),
    approvals_needed  INTEGER NOT NULL CHECK (approvals_needed > 0),
    policy            TEXT NOT NULL REFERENCES policies (id),
    -- The hash over what reviewers decide on; compared with the columns whenever the row is read.
    digest            TEXT NOT NULL CHECK (length(digest) = 64),
    created_at        INTEGER NOT NULL,
    times_out_at      INTEGER NOT NULL CHECK (times_out_at > created_at),
    decided_at        INTEGER,
    grant_id          TEXT UNIQUE,
    CHECK ((state = 'pending') = (decided_at IS NULL)),
    CHECK ((state = 'approved') = (grant_id IS NOT NULL))
) STRICT;

CREATE INDEX requests_due ON requests (times_out_at) WHERE state = 'pending';
CREATE INDEX requests_by_requester ON requests (requester_issuer, requester_subject, id);
CREATE INDEX requests_by_rule ON requests (service, rule, id);

CREATE TABLE reviews (
    id               TEXT PRIMARY KEY,
    request          TEXT NOT NULL REFERENCES requests (id),
    -- In the order in which they were given, from 0.
    place            INTEGER NOT NULL CHECK (place >= 0),
    reviewer_issuer  TEXT NOT NULL,
    reviewer_subject TEXT NOT NULL,
    reviewer_groups  TEXT NOT NULL,
    verdict          TEXT NOT NULL CHECK (verdict IN ('approve', 'deny')),
    reason           TEXT,
    duration_ms      INTEGER CHECK (duration_ms > 0),
    at               INTEGER NOT NULL,
    UNIQUE (request, place),
    CONSTRAINT one_person_one_vote UNIQUE (request, reviewer_issuer, reviewer_subject)
) STRICT;

CREATE TABLE grants (
    id               TEXT PRIMARY KEY,
    state            TEXT NOT NULL CHECK (state IN ('active', 'expired', 'revoked', 'released')),
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
    CONSTRAINT one_grant_per_request UNIQUE (request),
    CHECK ((state = 'active') = (ended_at IS NULL)),
    CHECK ((state = 'revoked') = (ended_by_issuer IS NOT NULL)),
    CHECK ((state = 'revoked') = (ended_by_subject IS NOT NULL)),
    CHECK ((state = 'revoked') = (reason IS NOT NULL))
) STRICT;

CREATE INDEX grants_due ON grants (expires_at) WHERE state = 'active';
CREATE INDEX grants_by_holder ON grants (holder_issuer, holder_subject, id);
CREATE INDEX grants_by_rule ON grants (service, rule, id);

-- What filters load. A removed item stays as a tombstone (no body) until its revision is under the delta floor.
CREATE TABLE table_items (
    item_key TEXT PRIMARY KEY,
    -- The service whose filters need it; NULL if all do.
    service  TEXT,
    revision INTEGER NOT NULL CHECK (revision > 0),
    body     TEXT
) STRICT;

CREATE INDEX table_items_by_revision ON table_items (revision, item_key);

-- A client's word for one request, kept for a day.
CREATE TABLE idempotency_keys (
    issuer     TEXT NOT NULL,
    subject    TEXT NOT NULL,
    client_key TEXT NOT NULL,
    -- The hash of what was sent with it.
    sent       TEXT NOT NULL,
    request    TEXT NOT NULL REFERENCES requests (id),
    created_at INTEGER NOT NULL,
    PRIMARY KEY (issuer, subject, client_key)
) STRICT;

CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at);

-- How far the stream of decision records of each filter VM is kept. Outlives the VM, so that no stream begins twice.
CREATE TABLE streams (
    vm        TEXT PRIMARY KEY,
    node      TEXT NOT NULL,
    next_seq  INTEGER NOT NULL CHECK (next_seq >= 0),
    last_hash TEXT NOT NULL CHECK (length(last_hash) = 64)
) STRICT;

-- Filter VMs that have been answered and not forgotten.
CREATE TABLE vms (
    vm         TEXT PRIMARY KEY,
    node       TEXT NOT NULL,
    services   TEXT NOT NULL,
    first_seen INTEGER NOT NULL,
    last_seen  INTEGER NOT NULL
) STRICT;
