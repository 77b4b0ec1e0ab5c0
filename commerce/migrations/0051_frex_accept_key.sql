-- The key under which the agency accepted what was asked for, where that is another request's ("billed already", or found by the order
-- or the transaction): the outcome is asked for under it. Empty = under its own.
ALTER TABLE frex_request ADD COLUMN accept_key TEXT NOT NULL DEFAULT '';
