-- A refund that one operator asked for and a second one has to ask for as well.
ALTER TABLE orders ADD COLUMN proposed_action TEXT;
ALTER TABLE orders ADD COLUMN proposed_by TEXT;
