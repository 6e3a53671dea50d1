-- What became of each VM's decisions: received, told as dropped by the VM, or lost with it; together never more than made.
-- Only adds columns; of streams from before, every record counts as one decision.

ALTER TABLE streams ADD COLUMN made INTEGER NOT NULL DEFAULT 0 CHECK (made >= 0);
ALTER TABLE streams ADD COLUMN received INTEGER NOT NULL DEFAULT 0 CHECK (received >= 0);
ALTER TABLE streams ADD COLUMN dropped INTEGER NOT NULL DEFAULT 0 CHECK (dropped >= 0);
ALTER TABLE streams ADD COLUMN lost INTEGER NOT NULL DEFAULT 0 CHECK (lost >= 0);
UPDATE streams SET made = next_seq, received = next_seq;

-- The VM's own count, by its last word that was kept, and whose credential it came with.
ALTER TABLE vms ADD COLUMN made INTEGER NOT NULL DEFAULT 0 CHECK (made >= 0);
ALTER TABLE vms ADD COLUMN credential TEXT;
