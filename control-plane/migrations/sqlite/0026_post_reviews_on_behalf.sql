-- In whose place a post-review was decided, if not by one's own right. Only adds.

ALTER TABLE post_reviews ADD COLUMN delegation TEXT REFERENCES delegations (id);
ALTER TABLE post_reviews ADD COLUMN on_behalf_of_issuer TEXT;
ALTER TABLE post_reviews ADD COLUMN on_behalf_of_subject TEXT;
ALTER TABLE post_reviews ADD COLUMN on_behalf_of_groups TEXT;
