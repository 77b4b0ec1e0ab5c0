-- The operators' list of deferred-payment orders, newest first.
CREATE INDEX frex_order_time ON frex_order (created_at, order_no);
