-- Tokens that were signed for times without a control plane. The token itself is not kept.

CREATE TABLE offline_tokens (
    -- The grant that its use comes to.
    grant_id       TEXT PRIMARY KEY,
    holder_issuer  TEXT NOT NULL,
    holder_subject TEXT NOT NULL,
    holder_groups  TEXT NOT NULL,
    service        TEXT NOT NULL,
    -- The break-glass right.
    rule           TEXT NOT NULL,
    actions        TEXT NOT NULL,
    said           TEXT NOT NULL,
    policy         TEXT NOT NULL REFERENCES policies (id),
    max_duration_ms  INTEGER NOT NULL,
    review_within_ms INTEGER NOT NULL,
    issued_at      INTEGER NOT NULL,
    expires_at     INTEGER NOT NULL CHECK (expires_at > issued_at),
    -- When its use was told.
    used_at        INTEGER
) STRICT;

CREATE INDEX offline_tokens_by_holder ON offline_tokens (holder_issuer, holder_subject, expires_at);
