-- Rows of the old table write '0' for "no transaction" (spec/frex.md 2.2, 16 #12): several may have it.
DROP INDEX frex_state_np;
CREATE UNIQUE INDEX frex_state_np ON frex_state_info (np_transaction_id) WHERE np_transaction_id NOT IN ('', '0');
