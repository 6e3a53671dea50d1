-- The ticket that a request is about, and the fewer revealed fields that a review narrows it to (JSON). Only adds columns.

ALTER TABLE requests ADD COLUMN ticket TEXT;
ALTER TABLE reviews ADD COLUMN reveals TEXT;
