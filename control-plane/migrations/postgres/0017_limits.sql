-- What is looked up whenever somebody asks: what of theirs is pending, and what was denied to them a short while ago.
-- Only adds.

CREATE INDEX requests_pending ON requests (requester_issuer, requester_subject, service, rule) WHERE state = 'pending';
CREATE INDEX requests_denied ON requests (requester_issuer, requester_subject, decided_at) WHERE state = 'denied';
