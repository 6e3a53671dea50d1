-- Acknowledgements that cross replicas: who waits for a change to arrive, and how far each filter VM is known to be.
-- Only adds.

-- All that this VM acts on is of this point or later. Kept when it begins with nothing, and while another replica waits;
-- nothing if neither was so.
ALTER TABLE vms ADD COLUMN reached_epoch BIGINT CHECK (reached_epoch >= 0);
ALTER TABLE vms ADD COLUMN reached_revision BIGINT CHECK (reached_revision >= 0);

-- One row for each wait that is open, so that other replicas keep what their VMs acknowledge. Without a service: of all.
CREATE TABLE waits (
    wait     TEXT COLLATE "C" PRIMARY KEY,
    replica  TEXT COLLATE "C" NOT NULL,
    service  TEXT COLLATE "C",
    epoch    BIGINT NOT NULL CHECK (epoch >= 0),
    revision BIGINT NOT NULL CHECK (revision >= 0),
    ends_at  BIGINT NOT NULL
);
