-- What signals are said of: of everything, or of a user or ticket each. Only adds. The name of one that is said of a user or
-- ticket has that in it; `said_of` is then the name that the policy declares.

ALTER TABLE policy_signals ADD COLUMN said_of TEXT CHECK (said_of IN ('user', 'ticket'));

ALTER TABLE signals ADD COLUMN said_of TEXT;

CREATE INDEX signals_said ON signals (said_of, name);
