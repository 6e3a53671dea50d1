-- Reviews of what was done without an approval, afterwards.

CREATE TABLE post_reviews (
    id                 TEXT PRIMARY KEY,
    state              TEXT NOT NULL CHECK (state IN ('open', 'accepted', 'disputed')),
    grant_id           TEXT NOT NULL REFERENCES grants (id),
    request            TEXT NOT NULL REFERENCES requests (id),
    holder_issuer      TEXT NOT NULL,
    holder_subject     TEXT NOT NULL,
    service            TEXT NOT NULL,
    action             TEXT NOT NULL,
    resource           TEXT NOT NULL,
    -- The break-glass right.
    rule               TEXT NOT NULL,
    -- Why, as its holder said when it was done.
    said               TEXT NOT NULL,
    policy             TEXT NOT NULL REFERENCES policies (id),
    opened_at          INTEGER NOT NULL,
    due_at             INTEGER NOT NULL CHECK (due_at > opened_at),
    -- When it was told that it is overdue.
    overdue_at         INTEGER,
    decided_at         INTEGER,
    decided_by_issuer  TEXT,
    decided_by_subject TEXT,
    reason             TEXT,
    CONSTRAINT one_post_review_per_grant UNIQUE (grant_id),
    CHECK ((state = 'open') = (decided_at IS NULL)),
    CHECK ((state = 'open') = (decided_by_issuer IS NULL)),
    CHECK ((state = 'open') = (decided_by_subject IS NULL)),
    CHECK (state <> 'disputed' OR reason IS NOT NULL),
    -- Nobody decides what they did themselves.
    CHECK (decided_by_issuer IS NULL OR decided_by_issuer <> holder_issuer OR decided_by_subject <> holder_subject)
) STRICT;

CREATE INDEX post_reviews_due ON post_reviews (due_at) WHERE state = 'open';
CREATE INDEX post_reviews_by_holder ON post_reviews (holder_issuer, holder_subject, id);
CREATE INDEX post_reviews_by_rule ON post_reviews (service, rule, id);
-- The rest of what lists are narrowed to, as for requests and grants.
CREATE INDEX post_reviews_by_state ON post_reviews (state, id);
CREATE INDEX post_reviews_by_holder_state ON post_reviews (holder_issuer, holder_subject, state, id);
CREATE INDEX post_reviews_by_rule_state ON post_reviews (service, rule, state, id);
CREATE INDEX post_reviews_by_service ON post_reviews (service, id);
CREATE INDEX post_reviews_by_service_state ON post_reviews (service, state, id);
CREATE INDEX post_reviews_by_action ON post_reviews (service, action, id);
CREATE INDEX post_reviews_by_action_state ON post_reviews (service, action, state, id);

-- What is escalated is a list of its own for those who review it then.
CREATE INDEX requests_escalated ON requests (service, rule, id) WHERE escalated_at IS NOT NULL;
CREATE INDEX requests_escalated_state ON requests (service, rule, state, id) WHERE escalated_at IS NOT NULL;
