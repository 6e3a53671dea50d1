-- A client's key stands for whatever a send has made, not only for a request. Only adds: `made` is the id of that, with its
-- kind in it. `request` is filled by replicas of the release before alone, and goes with a later step, once there are none.
-- What is hashed has changed, too: a send that is repeated over the change of release is refused, and makes nothing twice.

ALTER TABLE idempotency_keys ALTER COLUMN request DROP NOT NULL;
ALTER TABLE idempotency_keys ADD COLUMN made TEXT COLLATE "C";
ALTER TABLE idempotency_keys ADD CONSTRAINT keys_stand_for_one_thing CHECK ((made IS NULL) <> (request IS NULL));
