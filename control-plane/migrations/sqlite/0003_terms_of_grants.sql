-- What a grant holds beyond action, resource and time: conditions, revealed fields, the call it is bound to. JSON, fixed
-- when the grant is made. Only adds a column.

ALTER TABLE grants ADD COLUMN terms TEXT NOT NULL DEFAULT '{}';
