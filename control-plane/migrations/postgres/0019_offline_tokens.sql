-- Tokens that were signed for times without a control plane. The token itself is not kept.

CREATE TABLE offline_tokens (
    -- The grant that its use comes to.
    grant_id       TEXT COLLATE "C" PRIMARY KEY,
    holder_issuer  TEXT COLLATE "C" NOT NULL,
    holder_subject TEXT COLLATE "C" NOT NULL,
    holder_groups  TEXT NOT NULL,
    service        TEXT COLLATE "C" NOT NULL,
    -- The break-glass right.
    rule           TEXT COLLATE "C" NOT NULL,
    actions        TEXT NOT NULL,
    said           TEXT NOT NULL,
    policy         TEXT COLLATE "C" NOT NULL REFERENCES policies (id),
    max_duration_ms  BIGINT NOT NULL,
    review_within_ms BIGINT NOT NULL,
    issued_at      BIGINT NOT NULL,
    expires_at     BIGINT NOT NULL CHECK (expires_at > issued_at),
    -- When its use was told.
    used_at        BIGINT
);

CREATE INDEX offline_tokens_by_holder ON offline_tokens (holder_issuer, holder_subject, expires_at);
