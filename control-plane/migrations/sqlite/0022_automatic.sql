-- What the rule of a request decided about it by itself when it was filed. Only adds.

-- JSON: which of its decisions, what that was, and the policy version.
ALTER TABLE requests ADD COLUMN automatic TEXT;
