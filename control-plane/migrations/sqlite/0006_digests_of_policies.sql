-- What the documents of a policy say, as one hash, wherever they stand; none for versions from before. Only adds a column.

ALTER TABLE policies ADD COLUMN digest TEXT CHECK (length(digest) = 64);
