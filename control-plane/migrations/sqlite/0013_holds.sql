-- Refused calls that wait in proxies for what becomes of their requests.

CREATE TABLE holds (
    -- The decision that holds it: one that is filed again is this one.
    decision TEXT PRIMARY KEY,
    request  TEXT NOT NULL REFERENCES requests (id),
    -- Whether the request was filed for it.
    filed    INTEGER NOT NULL CHECK (filed IN (0, 1)),
    vm       TEXT NOT NULL,
    node     TEXT NOT NULL,
    since    INTEGER NOT NULL,
    until    INTEGER NOT NULL CHECK (until > since),
    ended    TEXT CHECK (ended IN ('over', 'gone')),
    ended_at INTEGER,
    CHECK ((ended IS NULL) = (ended_at IS NULL))
) STRICT;

CREATE INDEX holds_by_request ON holds (request);
CREATE INDEX holds_that_wait ON holds (vm, until) WHERE ended IS NULL;
