-- Money given back (atom.md 9 and 11).
CREATE TABLE refunds (
    -- Also the basis of prodRefundId.
    id            TEXT PRIMARY KEY,
    order_id      TEXT NOT NULL REFERENCES orders (id),
    attempt_id    TEXT NOT NULL REFERENCES payment_attempts (id),
    amount        BIGINT NOT NULL CHECK (amount > 0),
    currency      TEXT NOT NULL,
    reason        TEXT NOT NULL,
    origin        TEXT NOT NULL CHECK (origin IN ('merchant', 'system')),
    state         TEXT NOT NULL
        CHECK (state IN ('requested', 'submitting', 'unknown', 'accepted', 'processed', 'rejected', 'failed')),
    refund_txn_id TEXT,
    gateway_code  TEXT,
    remarks       TEXT,
    attempts      BIGINT NOT NULL DEFAULT 0,
    next_check_at BIGINT,
    submitted_at  BIGINT,
    version       BIGINT NOT NULL,
    created_at    BIGINT NOT NULL,
    updated_at    BIGINT NOT NULL
);
CREATE INDEX refunds_by_order ON refunds (order_id, created_at, id);
CREATE INDEX refunds_by_attempt ON refunds (attempt_id);
CREATE INDEX refunds_to_check ON refunds (state, next_check_at);
CREATE INDEX refunds_due ON refunds (next_check_at) WHERE next_check_at IS NOT NULL;

CREATE TABLE refund_lines (
    refund_id      TEXT NOT NULL REFERENCES refunds (id),
    prod_name      TEXT NOT NULL,
    prod_refund_id TEXT NOT NULL UNIQUE,
    amount         BIGINT NOT NULL CHECK (amount > 0),
    state          TEXT NOT NULL,
    refund_txn_id  TEXT,
    PRIMARY KEY (refund_id, prod_refund_id)
);
