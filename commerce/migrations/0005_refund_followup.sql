-- What following a refund up needs beyond the record of the request itself.
-- The payment it gives back: the attempt's own, or for a surplus capture the second one of the same attempt.
ALTER TABLE refunds ADD COLUMN atom_txn_id TEXT NOT NULL DEFAULT '';
-- 1 if atom_txn_id is not the attempt's own capture, so that the attempt's balance is not concerned.
ALTER TABLE refunds ADD COLUMN surplus BIGINT NOT NULL DEFAULT 0;
-- The issue that a system refund settles.
ALTER TABLE refunds ADD COLUMN issue_id TEXT;
-- What the last call sent: the characters of the total, and the digest of the encrypted body.
ALTER TABLE refunds ADD COLUMN amount_text TEXT;
ALTER TABLE refunds ADD COLUMN request_digest TEXT;
-- Calls made again with the same prodRefundId after an outcome that nobody knew.
ALTER TABLE refunds ADD COLUMN resends BIGINT NOT NULL DEFAULT 0;
-- Tries in a row that never left us.
ALTER TABLE refunds ADD COLUMN unsent BIGINT NOT NULL DEFAULT 0;
-- Definite answers since the last call that did not list it.
ALTER TABLE refunds ADD COLUMN misses BIGINT NOT NULL DEFAULT 0;
-- Why no call is made for it without an operator; NULL if none is needed.
ALTER TABLE refunds ADD COLUMN held TEXT;
-- Who is busy with it, and until when others keep their hands off.
ALTER TABLE refunds ADD COLUMN lease_owner TEXT;
ALTER TABLE refunds ADD COLUMN lease_until BIGINT;

-- A capture that nobody ordered is given back once.
CREATE UNIQUE INDEX refunds_one_per_surplus ON refunds (atom_txn_id)
    WHERE origin = 'system' AND state NOT IN ('rejected', 'failed');

-- Two people for what moves money: the action that one operator proposed, and who.
ALTER TABLE refunds ADD COLUMN proposed_action TEXT;
ALTER TABLE refunds ADD COLUMN proposed_by TEXT;
ALTER TABLE issues ADD COLUMN proposed_action TEXT;
ALTER TABLE issues ADD COLUMN proposed_by TEXT;
