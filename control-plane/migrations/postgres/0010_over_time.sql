-- What happens to requests and grants over time: grants that start later, requests for more time and for grants at once,
-- reminders and escalations, warnings before an end.

ALTER TABLE requests ADD COLUMN kind TEXT COLLATE "C" NOT NULL DEFAULT 'grant'
    CHECK (kind IN ('grant', 'extension', 'break_glass'));
-- The grant that is to last longer.
ALTER TABLE requests ADD COLUMN extends TEXT COLLATE "C" REFERENCES grants (id);
-- From when on; NULL for from the approval on.
ALTER TABLE requests ADD COLUMN starts_at BIGINT;
-- When its reviewers are reminded and others review it, too, and when they were and do.
ALTER TABLE requests ADD COLUMN remind_at BIGINT;
ALTER TABLE requests ADD COLUMN escalate_at BIGINT;
ALTER TABLE requests ADD COLUMN reminded_at BIGINT;
ALTER TABLE requests ADD COLUMN escalated_at BIGINT;
ALTER TABLE requests DROP CONSTRAINT requests_approvals_needed_check;
ALTER TABLE requests ADD CHECK (approvals_needed >= 0 AND (approvals_needed > 0 OR kind = 'break_glass'));
ALTER TABLE requests ADD CHECK ((kind = 'extension') = (extends IS NOT NULL));
ALTER TABLE requests ADD CHECK (grant_id IS NULL OR extends IS NULL OR grant_id = extends);
ALTER TABLE requests ADD CHECK (reminded_at IS NULL OR remind_at IS NOT NULL);
ALTER TABLE requests ADD CHECK (escalated_at IS NULL OR escalate_at IS NOT NULL);

ALTER TABLE requests DROP CONSTRAINT requests_grant_id_key;
CREATE UNIQUE INDEX requests_by_grant ON requests (grant_id) WHERE extends IS NULL;
CREATE INDEX requests_by_extended ON requests (extends) WHERE extends IS NOT NULL;
CREATE INDEX requests_to_remind ON requests (remind_at) WHERE state = 'pending' AND reminded_at IS NULL;
CREATE INDEX requests_to_escalate ON requests (escalate_at) WHERE state = 'pending' AND escalated_at IS NULL;

-- The conditions on how a grant ends have names that PostgreSQL chose.
DO $$
DECLARE
    named TEXT;
BEGIN
    FOR named IN
        SELECT conname FROM pg_constraint
        WHERE conrelid = 'grants'::regclass AND contype = 'c'
          AND (pg_get_constraintdef(oid) LIKE '%ended_%' OR pg_get_constraintdef(oid) LIKE '%reason%')
    LOOP
        EXECUTE format('ALTER TABLE grants DROP CONSTRAINT %I', named);
    END LOOP;
END
$$;
ALTER TABLE grants DROP CONSTRAINT grants_state_check;
ALTER TABLE grants ADD CONSTRAINT grants_state_check
    CHECK (state IN ('scheduled', 'active', 'expired', 'revoked', 'released', 'exhausted'));
ALTER TABLE grants ADD CHECK ((state IN ('scheduled', 'active')) = (ended_at IS NULL));
-- Nobody, too, has ended one that the policy did not let start.
ALTER TABLE grants ADD CHECK (state = 'revoked' OR ended_by_issuer IS NULL);
ALTER TABLE grants ADD CHECK ((ended_by_issuer IS NULL) = (ended_by_subject IS NULL));
ALTER TABLE grants ADD CHECK ((state = 'revoked') = (reason IS NOT NULL));
-- Whether it was given at once, without an approval.
ALTER TABLE grants ADD COLUMN break_glass BIGINT NOT NULL DEFAULT 0 CHECK (break_glass IN (0, 1));
-- When its holder is told that it is about to end; NULL if that is not, or has been.
ALTER TABLE grants ADD COLUMN warn_at BIGINT;

CREATE INDEX grants_to_start ON grants (starts_at) WHERE state = 'scheduled';
CREATE INDEX grants_to_warn ON grants (warn_at) WHERE state = 'active' AND warn_at IS NOT NULL;
