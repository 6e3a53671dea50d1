-- Who reviews in whose place, and the reviews that were given so. Only adds. A delegation without a service is for all of
-- them, without a rule for all of its service. What it is by the clock is not kept.

CREATE TABLE delegations (
    id                TEXT COLLATE "C" PRIMARY KEY,
    delegator_issuer  TEXT COLLATE "C" NOT NULL,
    delegator_subject TEXT COLLATE "C" NOT NULL,
    -- JSON: the delegator's groups when they gave it.
    delegator_groups  TEXT NOT NULL,
    delegate_issuer   TEXT COLLATE "C" NOT NULL,
    delegate_subject  TEXT COLLATE "C" NOT NULL,
    service           TEXT COLLATE "C",
    rule              TEXT COLLATE "C",
    reason            TEXT COLLATE "C" NOT NULL,
    created_at        BIGINT NOT NULL,
    starts_at         BIGINT NOT NULL CHECK (starts_at >= created_at),
    ends_at           BIGINT NOT NULL CHECK (ends_at > starts_at),
    ended_at          BIGINT,
    ended_by_issuer   TEXT COLLATE "C",
    ended_by_subject  TEXT COLLATE "C",
    CHECK (rule IS NULL OR service IS NOT NULL),
    CHECK ((ended_at IS NULL) = (ended_by_issuer IS NULL)),
    CHECK ((ended_at IS NULL) = (ended_by_subject IS NULL))
);

CREATE INDEX delegations_given ON delegations (delegator_issuer, delegator_subject, ends_at);
CREATE INDEX delegations_taken ON delegations (delegate_issuer, delegate_subject, ends_at);

ALTER TABLE reviews ADD COLUMN delegation TEXT COLLATE "C" REFERENCES delegations (id);
ALTER TABLE reviews ADD COLUMN on_behalf_of_issuer TEXT COLLATE "C";
ALTER TABLE reviews ADD COLUMN on_behalf_of_subject TEXT COLLATE "C";
ALTER TABLE reviews ADD COLUMN on_behalf_of_groups TEXT;

CREATE UNIQUE INDEX one_vote_for_one_person ON reviews (request, on_behalf_of_issuer, on_behalf_of_subject);
