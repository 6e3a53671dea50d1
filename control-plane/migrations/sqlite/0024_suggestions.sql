-- Who is suggested to review a pending request. Only adds. A row is gone when the request is decided or the person has
-- reviewed it, so that their number is how many wait for somebody.

CREATE TABLE suggestions (
    request TEXT NOT NULL REFERENCES requests (id),
    place   INTEGER NOT NULL,
    issuer  TEXT NOT NULL,
    subject TEXT NOT NULL,
    PRIMARY KEY (request, place)
) STRICT;

CREATE INDEX suggestions_by_person ON suggestions (subject, issuer);
