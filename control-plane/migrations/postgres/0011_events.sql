-- What people and other programs are told: one row for each event, written with the change that it tells of, and how far
-- each endpoint has been told. Only adds.

CREATE TABLE events (
    -- In the order of commits, never used twice: the row of the last place is never removed.
    place         BIGINT PRIMARY KEY CHECK (place > 0),
    id            TEXT COLLATE "C" NOT NULL UNIQUE,
    kind          TEXT COLLATE "C" NOT NULL,
    at            BIGINT NOT NULL,
    -- The request that it is about; events of one request are told in their order.
    request       TEXT COLLATE "C" NOT NULL,
    -- Who may see it: whose it is, and who reviews the rule.
    owner_issuer  TEXT COLLATE "C" NOT NULL,
    owner_subject TEXT COLLATE "C" NOT NULL,
    service       TEXT COLLATE "C" NOT NULL,
    rule          TEXT COLLATE "C" NOT NULL,
    -- What is told, in these bytes.
    body          TEXT NOT NULL
);

CREATE INDEX events_by_age ON events (at);

CREATE TABLE endpoints (
    name  TEXT COLLATE "C" PRIMARY KEY,
    -- Events up to here have their deliveries, or are from before the endpoint.
    place BIGINT NOT NULL CHECK (place >= 0)
);

CREATE TABLE deliveries (
    id       TEXT COLLATE "C" PRIMARY KEY,
    endpoint TEXT COLLATE "C" NOT NULL,
    event    BIGINT NOT NULL REFERENCES events (place),
    request  TEXT COLLATE "C" NOT NULL,
    state    TEXT COLLATE "C" NOT NULL CHECK (state IN ('waiting', 'delivered', 'dead')),
    attempts BIGINT NOT NULL CHECK (attempts >= 0),
    -- When it is tried, or, while somebody is at it, when it is tried by somebody else.
    due_at   BIGINT NOT NULL,
    -- When it was delivered or given up.
    ended_at BIGINT,
    -- Why the last attempt failed.
    fault    TEXT,
    CONSTRAINT one_delivery_per_endpoint UNIQUE (endpoint, event),
    CHECK ((state = 'waiting') = (ended_at IS NULL))
);

CREATE INDEX deliveries_due ON deliveries (endpoint, due_at) WHERE state = 'waiting';
CREATE INDEX deliveries_in_order ON deliveries (endpoint, request, event) WHERE state = 'waiting';
CREATE INDEX deliveries_by_state ON deliveries (state, id);
CREATE INDEX deliveries_by_event ON deliveries (event);
