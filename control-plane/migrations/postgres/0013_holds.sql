-- Refused calls that wait in proxies for what becomes of their requests.

CREATE TABLE holds (
    -- The decision that holds it: one that is filed again is this one.
    decision TEXT COLLATE "C" PRIMARY KEY,
    request  TEXT COLLATE "C" NOT NULL REFERENCES requests (id),
    -- Whether the request was filed for it.
    filed    BIGINT NOT NULL CHECK (filed IN (0, 1)),
    vm       TEXT COLLATE "C" NOT NULL,
    node     TEXT COLLATE "C" NOT NULL,
    since    BIGINT NOT NULL,
    until    BIGINT NOT NULL CHECK (until > since),
    ended    TEXT COLLATE "C" CHECK (ended IN ('over', 'gone')),
    ended_at BIGINT,
    CHECK ((ended IS NULL) = (ended_at IS NULL))
);

CREATE INDEX holds_by_request ON holds (request);
CREATE INDEX holds_that_wait ON holds (vm, until) WHERE ended IS NULL;
