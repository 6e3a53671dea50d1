-- When the last commit was, so that time does not go back with the clock of a machine, whichever replica is asked.

ALTER TABLE head ADD COLUMN told_at BIGINT NOT NULL DEFAULT 0 CHECK (told_at >= 0);
