-- Whom else an event concerns besides its owner: who was given a delegation. Only adds. Of such an event `request` is the
-- delegation, and `service` and `rule` are empty, since it is nobody's business by what they review.

ALTER TABLE events ADD COLUMN other_issuer TEXT;
ALTER TABLE events ADD COLUMN other_subject TEXT;
