-- The call that a grant would be bound to, as a filter has shown it: its bound parts and their digest, JSON. Nothing where
-- the rule binds none. Only adds a column.

ALTER TABLE requests ADD COLUMN shown TEXT;
