-- Orders, attempts to pay them, and what came in about them (atom.md 9).
-- Times are unix milliseconds, amounts minor units, truth 0 or 1.
CREATE TABLE orders (
    id                   TEXT PRIMARY KEY,
    merchant_id          TEXT NOT NULL,
    merchant_order_ref   TEXT NOT NULL,
    user_id              TEXT,
    amount               BIGINT NOT NULL CHECK (amount > 0),
    currency             TEXT NOT NULL,
    -- Contact data, deleted after the dispute period.
    customer_email       TEXT NOT NULL,
    customer_mobile      TEXT NOT NULL,
    -- JSON: [{"product", "amount"}]; two and more make a split order.
    items                TEXT NOT NULL,
    return_page          TEXT,
    -- Digest of what the merchant ordered, to know a repeated reference with other content.
    content_sha256       TEXT NOT NULL,
    -- The customer's reading token is stored as its digest.
    read_token_sha256    TEXT NOT NULL,
    status               TEXT NOT NULL
        CHECK (status IN ('pending', 'paid', 'cancelled', 'shipped', 'delivered', 'refunded')),
    status_reason        TEXT,
    status_before_refund TEXT,
    paid_attempt_id      TEXT,
    payment_method       TEXT,
    paid_at              BIGINT,
    refunded_amount      BIGINT NOT NULL DEFAULT 0 CHECK (refunded_amount >= 0),
    refund_state         TEXT NOT NULL DEFAULT 'none' CHECK (refund_state IN ('none', 'partial', 'full')),
    -- When a status query agreed that it is paid.
    confirmed_at         BIGINT,
    expires_at           BIGINT NOT NULL,
    version              BIGINT NOT NULL,
    created_at           BIGINT NOT NULL,
    updated_at           BIGINT NOT NULL,
    UNIQUE (merchant_id, merchant_order_ref)
);
CREATE INDEX orders_by_time ON orders (created_at, id);
CREATE INDEX orders_by_status ON orders (status, created_at, id);
CREATE INDEX orders_to_expire ON orders (expires_at) WHERE status = 'pending';

CREATE TABLE payment_attempts (
    id                 TEXT PRIMARY KEY,
    order_id           TEXT NOT NULL REFERENCES orders (id),
    merch_txn_id       TEXT NOT NULL UNIQUE,
    -- YYYY-MM-DD hh:mm:ss in India, as AUTH carried it; a status query carries its day.
    merch_txn_date_ist TEXT NOT NULL,
    amount             BIGINT NOT NULL CHECK (amount > 0),
    currency           TEXT NOT NULL,
    -- The way to pay that was asked for; any if NULL.
    asked_channel      TEXT,
    phase              TEXT NOT NULL,
    outcome            TEXT NOT NULL CHECK (outcome IN ('none', 'pending', 'failed', 'success', 'reversed')),
    -- The kind of the issue that forbids paying, shipping and refunding by it.
    hold               TEXT,
    atom_token_id      TEXT,
    token_at           BIGINT,
    atom_txn_id        TEXT,
    total_amount       BIGINT,
    surcharge          BIGINT,
    sub_channel        TEXT,
    bank_txn_id        TEXT,
    otsbank_name       TEXT,
    status_code        TEXT,
    status_source      TEXT,
    recon_status       TEXT,
    txn_init_date      TEXT,
    txn_complete_date  TEXT,
    -- AUTH calls begun, when the last, whether it is under way, and what became of it.
    auth_calls         BIGINT NOT NULL DEFAULT 0,
    auth_at            BIGINT NOT NULL,
    auth_in_flight     BIGINT NOT NULL DEFAULT 0,
    auth_error         TEXT,
    -- The requery job: when next, how often, when last, who is at it until when.
    next_requery_at    BIGINT,
    requery_count      BIGINT NOT NULL DEFAULT 0,
    queried_at         BIGINT,
    lease_owner        TEXT,
    lease_until        BIGINT,
    -- When it became a success; when a status query agreed; when the query after T+2 saw no reversal.
    settled_at         BIGINT,
    confirmed_at       BIGINT,
    final_at           BIGINT,
    -- When a status query after the token's lifetime said failed or no data.
    cleared_at         BIGINT,
    refund_reserved    BIGINT NOT NULL DEFAULT 0 CHECK (refund_reserved >= 0),
    refund_done        BIGINT NOT NULL DEFAULT 0 CHECK (refund_done >= 0),
    version            BIGINT NOT NULL,
    created_at         BIGINT NOT NULL,
    updated_at         BIGINT NOT NULL
);
CREATE INDEX attempts_by_order ON payment_attempts (order_id, created_at, id);
CREATE INDEX attempts_by_atom_txn ON payment_attempts (atom_txn_id);
CREATE UNIQUE INDEX attempts_one_per_capture ON payment_attempts (atom_txn_id)
    WHERE outcome IN ('success', 'reversed');
CREATE INDEX attempts_to_query ON payment_attempts (next_requery_at) WHERE next_requery_at IS NOT NULL;
CREATE INDEX attempts_by_outcome ON payment_attempts (outcome, next_requery_at);

CREATE TABLE callback_inbox (
    id           TEXT PRIMARY KEY,
    sha256       TEXT NOT NULL UNIQUE,
    source       TEXT NOT NULL CHECK (source IN ('callback', 'return')),
    merch_txn_id TEXT NOT NULL,
    atom_txn_id  TEXT,
    status_code  TEXT NOT NULL,
    -- The encrypted message as it came; NULL after the dispute period.
    raw          TEXT,
    received_at  BIGINT NOT NULL,
    applied_at   BIGINT,
    result       TEXT,
    -- Tries to apply it that failed, and when the next one is due.
    tries        BIGINT NOT NULL DEFAULT 0,
    next_try_at  BIGINT
);
CREATE INDEX inbox_to_apply ON callback_inbox (next_try_at) WHERE applied_at IS NULL;
CREATE INDEX inbox_by_attempt ON callback_inbox (merch_txn_id, received_at);
