-- Whether an item was put for the first time, so that no filter can hold an earlier state of it. Of those that are there nobody
-- knows any more.

ALTER TABLE table_items ADD COLUMN is_first BIGINT NOT NULL DEFAULT 0 CHECK (is_first IN (0, 1));
