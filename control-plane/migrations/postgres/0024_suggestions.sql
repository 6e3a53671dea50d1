-- Who is suggested to review a pending request. Only adds. A row is gone when the request is decided or the person has
-- reviewed it, so that their number is how many wait for somebody.

CREATE TABLE suggestions (
    request TEXT COLLATE "C" NOT NULL REFERENCES requests (id),
    place   BIGINT NOT NULL,
    issuer  TEXT COLLATE "C" NOT NULL,
    subject TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (request, place)
);

CREATE INDEX suggestions_by_person ON suggestions (subject, issuer);
