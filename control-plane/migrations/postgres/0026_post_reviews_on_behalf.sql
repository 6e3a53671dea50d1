-- In whose place a post-review was decided, if not by one's own right. Only adds.

ALTER TABLE post_reviews ADD COLUMN delegation TEXT COLLATE "C" REFERENCES delegations (id);
ALTER TABLE post_reviews ADD COLUMN on_behalf_of_issuer TEXT COLLATE "C";
ALTER TABLE post_reviews ADD COLUMN on_behalf_of_subject TEXT COLLATE "C";
ALTER TABLE post_reviews ADD COLUMN on_behalf_of_groups TEXT;
