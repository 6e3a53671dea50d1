-- Grants for a number of uses: how many they are for, how many were taken, and each of them with what came of it.

ALTER TABLE grants DROP CONSTRAINT grants_state_check;
ALTER TABLE grants ADD CONSTRAINT grants_state_check
    CHECK (state IN ('active', 'expired', 'revoked', 'released', 'exhausted'));
-- How many it is for; NULL for any number.
ALTER TABLE grants ADD COLUMN uses BIGINT CHECK (uses > 0);
ALTER TABLE grants ADD COLUMN claimed BIGINT NOT NULL DEFAULT 0 CHECK (claimed >= 0);
-- Whether it is exhausted and filters still hold it, because its last calls may run.
ALTER TABLE grants ADD COLUMN lingers BIGINT NOT NULL DEFAULT 0 CHECK (lingers IN (0, 1));
ALTER TABLE grants ADD CONSTRAINT no_more_than_approved CHECK (claimed <= COALESCE(uses, 0));
ALTER TABLE grants ADD CHECK (state <> 'exhausted' OR claimed = uses);
ALTER TABLE grants ADD CHECK (lingers = 0 OR state = 'exhausted');

DROP INDEX grants_due;
CREATE INDEX grants_due ON grants (expires_at) WHERE state = 'active' OR lingers = 1;

CREATE TABLE uses (
    id         TEXT COLLATE "C" PRIMARY KEY,
    grant_id   TEXT COLLATE "C" NOT NULL REFERENCES grants (id),
    number     BIGINT NOT NULL CHECK (number > 0),
    -- The claim: one that is asked again is this one.
    decision   TEXT COLLATE "C" NOT NULL,
    vm         TEXT COLLATE "C" NOT NULL,
    node       TEXT COLLATE "C" NOT NULL,
    claimed_at BIGINT NOT NULL,
    outcome    TEXT COLLATE "C" CHECK (outcome IN ('answered', 'failed', 'unknown', 'unused')),
    status     BIGINT,
    told_at    BIGINT,
    CONSTRAINT one_use_per_call UNIQUE (decision),
    CONSTRAINT one_call_per_use UNIQUE (grant_id, number),
    CHECK ((outcome IS NULL) = (told_at IS NULL)),
    CHECK (outcome IS NOT NULL OR status IS NULL)
);

-- For how many calls a request asks, and a review narrows it to.
ALTER TABLE requests ADD COLUMN uses BIGINT CHECK (uses > 0);
ALTER TABLE reviews ADD COLUMN uses BIGINT CHECK (uses > 0);
