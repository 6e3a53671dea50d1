-- What each version of the policy says about people: accounts, machines, who can edit groups. Nothing where it says nothing.
-- Only adds a column.

ALTER TABLE policies ADD COLUMN people TEXT COLLATE "C" REFERENCES policy_texts (hash);
