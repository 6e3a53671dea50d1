-- Who reviews in whose place, and the reviews that were given so. Only adds. A delegation without a service is for all of
-- them, without a rule for all of its service. What it is by the clock is not kept.

CREATE TABLE delegations (
    id                TEXT PRIMARY KEY,
    delegator_issuer  TEXT NOT NULL,
    delegator_subject TEXT NOT NULL,
    -- JSON: the delegator's groups when they gave it.
    delegator_groups  TEXT NOT NULL,
    delegate_issuer   TEXT NOT NULL,
    delegate_subject  TEXT NOT NULL,
    service           TEXT,
    rule              TEXT,
    reason            TEXT NOT NULL,
    created_at        INTEGER NOT NULL,
    starts_at         INTEGER NOT NULL CHECK (starts_at >= created_at),
    ends_at           INTEGER NOT NULL CHECK (ends_at > starts_at),
    ended_at          INTEGER,
    ended_by_issuer   TEXT,
    ended_by_subject  TEXT,
    CHECK (rule IS NULL OR service IS NOT NULL),
    CHECK ((ended_at IS NULL) = (ended_by_issuer IS NULL)),
    CHECK ((ended_at IS NULL) = (ended_by_subject IS NULL))
) STRICT;

CREATE INDEX delegations_given ON delegations (delegator_issuer, delegator_subject, ends_at);
CREATE INDEX delegations_taken ON delegations (delegate_issuer, delegate_subject, ends_at);

ALTER TABLE reviews ADD COLUMN delegation TEXT REFERENCES delegations (id);
ALTER TABLE reviews ADD COLUMN on_behalf_of_issuer TEXT;
ALTER TABLE reviews ADD COLUMN on_behalf_of_subject TEXT;
ALTER TABLE reviews ADD COLUMN on_behalf_of_groups TEXT;

CREATE UNIQUE INDEX one_vote_for_one_person ON reviews (request, on_behalf_of_issuer, on_behalf_of_subject);
