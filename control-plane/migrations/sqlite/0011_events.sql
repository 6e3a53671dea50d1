-- What people and other programs are told: one row for each event, written with the change that it tells of, and how far
-- each endpoint has been told. Only adds.

CREATE TABLE events (
    -- In the order of commits, never used twice: the row of the last place is never removed.
    place         INTEGER PRIMARY KEY CHECK (place > 0),
    id            TEXT NOT NULL UNIQUE,
    kind          TEXT NOT NULL,
    at            INTEGER NOT NULL,
    -- The request that it is about; events of one request are told in their order.
    request       TEXT NOT NULL,
    -- Who may see it: whose it is, and who reviews the rule.
    owner_issuer  TEXT NOT NULL,
    owner_subject TEXT NOT NULL,
    service       TEXT NOT NULL,
    rule          TEXT NOT NULL,
    -- What is told, in these bytes.
    body          TEXT NOT NULL
) STRICT;

CREATE INDEX events_by_age ON events (at);

CREATE TABLE endpoints (
    name  TEXT PRIMARY KEY,
    -- Events up to here have their deliveries, or are from before the endpoint.
    place INTEGER NOT NULL CHECK (place >= 0)
) STRICT;

CREATE TABLE deliveries (
    id       TEXT PRIMARY KEY,
    endpoint TEXT NOT NULL,
    event    INTEGER NOT NULL REFERENCES events (place),
    request  TEXT NOT NULL,
    state    TEXT NOT NULL CHECK (state IN ('waiting', 'delivered', 'dead')),
    attempts INTEGER NOT NULL CHECK (attempts >= 0),
    -- When it is tried, or, while somebody is at it, when it is tried by somebody else.
    due_at   INTEGER NOT NULL,
    -- When it was delivered or given up.
    ended_at INTEGER,
    -- Why the last attempt failed.
    fault    TEXT,
    CONSTRAINT one_delivery_per_endpoint UNIQUE (endpoint, event),
    CHECK ((state = 'waiting') = (ended_at IS NULL))
) STRICT;

CREATE INDEX deliveries_due ON deliveries (endpoint, due_at) WHERE state = 'waiting';
CREATE INDEX deliveries_in_order ON deliveries (endpoint, request, event) WHERE state = 'waiting';
CREATE INDEX deliveries_by_state ON deliveries (state, id);
CREATE INDEX deliveries_by_event ON deliveries (event);
