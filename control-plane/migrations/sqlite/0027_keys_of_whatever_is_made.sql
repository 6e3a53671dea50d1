-- A client's key stands for whatever a send has made, not only for a request. Only adds: `made` is the id of that, with its
-- kind in it. `request` is filled by replicas of the release before alone, and goes with a later step, once there are none.
-- What is hashed has changed, too: a send that is repeated over the change of release is refused, and makes nothing twice.

-- A column cannot lose its NOT NULL, so the table is made anew; nothing refers to it.
CREATE TABLE idempotency_keys_anew (
    issuer     TEXT NOT NULL,
    subject    TEXT NOT NULL,
    client_key TEXT NOT NULL,
    -- The hash of what was sent with it.
    sent       TEXT NOT NULL,
    request    TEXT REFERENCES requests (id),
    created_at INTEGER NOT NULL,
    made       TEXT,
    PRIMARY KEY (issuer, subject, client_key),
    CONSTRAINT keys_stand_for_one_thing CHECK ((made IS NULL) <> (request IS NULL))
) STRICT;

INSERT INTO idempotency_keys_anew (issuer, subject, client_key, sent, request, created_at)
    SELECT issuer, subject, client_key, sent, request, created_at FROM idempotency_keys;
DROP TABLE idempotency_keys;
ALTER TABLE idempotency_keys_anew RENAME TO idempotency_keys;

CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at);
