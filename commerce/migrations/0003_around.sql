-- What stands around orders: idempotency, alarms for people, news for merchants, and who did what.
CREATE TABLE idempotency_keys (
    merchant_id     TEXT NOT NULL,
    route           TEXT NOT NULL,
    idem_key        TEXT NOT NULL,
    body_sha256     TEXT NOT NULL,
    state           TEXT NOT NULL CHECK (state IN ('running', 'done')),
    response_status BIGINT,
    response_body   TEXT,
    resource_id     TEXT,
    created_at      BIGINT NOT NULL,
    expires_at      BIGINT NOT NULL,
    PRIMARY KEY (merchant_id, route, idem_key)
);
CREATE INDEX idempotency_to_forget ON idempotency_keys (expires_at);
CREATE INDEX idempotency_by_resource ON idempotency_keys (resource_id);

CREATE TABLE issues (
    id         TEXT PRIMARY KEY,
    kind       TEXT NOT NULL,
    order_id   TEXT,
    attempt_id TEXT,
    refund_id  TEXT,
    -- What makes it one thing: as long as it is open, the same is not raised again.
    subject    TEXT NOT NULL,
    -- JSON, contact data masked.
    detail     TEXT NOT NULL,
    opened_at  BIGINT NOT NULL,
    closed_at  BIGINT,
    resolution TEXT
);
CREATE UNIQUE INDEX issues_open_once ON issues (kind, subject) WHERE closed_at IS NULL;
CREATE INDEX issues_by_time ON issues (opened_at, id);
CREATE INDEX issues_by_order ON issues (order_id, opened_at);

CREATE TABLE outbox (
    id          TEXT PRIMARY KEY,
    merchant_id TEXT NOT NULL,
    order_id    TEXT NOT NULL,
    event       TEXT NOT NULL,
    payload     TEXT NOT NULL,
    created_at  BIGINT NOT NULL,
    tries       BIGINT NOT NULL DEFAULT 0,
    next_try_at BIGINT,
    sent_at     BIGINT
);
CREATE INDEX outbox_to_send ON outbox (next_try_at) WHERE sent_at IS NULL;

-- Only ever added to.
CREATE TABLE audit (
    id           TEXT PRIMARY KEY,
    at           BIGINT NOT NULL,
    who          TEXT NOT NULL,
    -- order, attempt, refund, issue: and which.
    what         TEXT NOT NULL,
    what_id      TEXT NOT NULL,
    order_id     TEXT,
    state_before TEXT NOT NULL,
    state_after  TEXT NOT NULL,
    cause        TEXT NOT NULL
);
CREATE INDEX audit_by_order ON audit (order_id, at, id);
CREATE INDEX audit_by_thing ON audit (what_id, at, id);
