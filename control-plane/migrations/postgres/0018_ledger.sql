-- Which entries of the log tell of calls under a grant, so that what it was used for is found whenever somebody asks. What a
-- filter says of a grant that there is not is noted, too, and never looked at. Entries from before this are not in it.

CREATE TABLE grant_calls (
    grant_id TEXT COLLATE "C" NOT NULL,
    seq      BIGINT NOT NULL,
    PRIMARY KEY (grant_id, seq)
);
