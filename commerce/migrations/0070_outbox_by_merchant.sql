-- What is to be told is looked for by merchant: one with a long backlog, or without an address, is in nobody's way.
DROP INDEX outbox_to_send;
CREATE INDEX outbox_to_send ON outbox (merchant_id, next_try_at) WHERE sent_at IS NULL;
