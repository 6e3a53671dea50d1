-- Histories that were begun anew, and in which history each stream was last continued. Only adds.

-- One row for each epoch after the first: the database was restored, and somebody said to go on from what it has.
CREATE TABLE epochs (
    epoch    BIGINT PRIMARY KEY CHECK (epoch > 0),
    reason   TEXT COLLATE "C" NOT NULL,
    begun_at BIGINT NOT NULL
);

-- 0: before streams noted it.
ALTER TABLE streams ADD COLUMN epoch BIGINT NOT NULL DEFAULT 0 CHECK (epoch >= 0);
