-- The B2B deferred-payment worker: orders, buyer data, state, requests, answers, alerts, runs and the lease (spec/frex.md 2).
-- Times are unix milliseconds, 0 = not yet; booleans 0 or 1; JSON, and sealed buyer data, are text.

CREATE TABLE frex_joiner (
    joiner_id TEXT PRIMARY KEY,
    use_frex BIGINT NOT NULL
);

CREATE TABLE frex_order (
    order_no TEXT PRIMARY KEY,
    joiner_id TEXT NOT NULL REFERENCES frex_joiner (joiner_id),
    str_state TEXT NOT NULL,
    str_order_state TEXT NOT NULL,
    str_money_input TEXT NOT NULL,
    str_pay_type TEXT NOT NULL,
    order_complete_amount BIGINT NOT NULL,
    goods TEXT NOT NULL,
    order_date TEXT NOT NULL,
    order_end_at BIGINT NOT NULL,
    content_digest TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    version BIGINT NOT NULL
);
CREATE INDEX frex_order_unregistered ON frex_order (created_at, order_no)
    WHERE str_state = 'REG' AND str_money_input = 'SBPAYMENT';
CREATE INDEX frex_order_cancelled ON frex_order (created_at, order_no) WHERE str_state = 'DEL';

CREATE TABLE frex_user_info (
    order_no TEXT PRIMARY KEY REFERENCES frex_order (order_no),
    sealed TEXT NOT NULL,
    valid BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);

CREATE TABLE frex_state_info (
    order_no TEXT PRIMARY KEY REFERENCES frex_order (order_no),
    np_transaction_id TEXT NOT NULL,
    accept_no TEXT NOT NULL,
    reg_state TEXT NOT NULL,
    result_state TEXT NOT NULL,
    authorize_state TEXT NOT NULL,
    billing_state TEXT NOT NULL,
    billed_amount BIGINT NOT NULL,
    rejected_amount BIGINT,
    delete_rejected BIGINT NOT NULL,
    close_reason TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    reg_at BIGINT NOT NULL,
    authorized_at BIGINT NOT NULL,
    billed_at BIGINT NOT NULL,
    closed_at BIGINT NOT NULL,
    version BIGINT NOT NULL
);
CREATE UNIQUE INDEX frex_state_np ON frex_state_info (np_transaction_id) WHERE np_transaction_id <> '';
CREATE INDEX frex_state_open ON frex_state_info (reg_state, result_state, billing_state, created_at, order_no)
    WHERE result_state <> 'CANCEL';

CREATE TABLE frex_request (
    id TEXT PRIMARY KEY,
    order_no TEXT NOT NULL REFERENCES frex_order (order_no),
    type TEXT NOT NULL,
    seq BIGINT NOT NULL,
    request_key TEXT NOT NULL UNIQUE,
    state TEXT NOT NULL,
    amount BIGINT NOT NULL,
    safe_info TEXT NOT NULL,
    payload_digest TEXT NOT NULL,
    response TEXT NOT NULL,
    accept_no TEXT NOT NULL,
    attempt_count BIGINT NOT NULL,
    tries BIGINT NOT NULL,
    misses BIGINT NOT NULL,
    faults BIGINT NOT NULL,
    unclear BIGINT NOT NULL,
    sent_at BIGINT NOT NULL,
    next_attempt_at BIGINT NOT NULL,
    last_error TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    done_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX frex_request_of_order ON frex_request (order_no, type, seq);
-- Constraint 2: at most one open mutation per order.
CREATE UNIQUE INDEX frex_request_one_mutation ON frex_request (order_no)
    WHERE type IN ('ORDER_REG', 'UPDATE_REG', 'DELETE_REG', 'BILLING_REG') AND state IN ('STANDBY', 'SENDING', 'UNKNOWN');
-- Constraint 3: at most one live billing request per order.
CREATE UNIQUE INDEX frex_request_one_billing ON frex_request (order_no)
    WHERE type = 'BILLING_REG' AND state IN ('STANDBY', 'SENDING', 'UNKNOWN', 'COMPLETE');
CREATE INDEX frex_request_open ON frex_request (type, created_at, request_key) WHERE state IN ('STANDBY', 'SENDING', 'UNKNOWN');

CREATE TABLE frex_response_detail (
    id TEXT PRIMARY KEY,
    request_key TEXT NOT NULL,
    request_type TEXT NOT NULL,
    accept_no TEXT NOT NULL,
    np_transaction_id TEXT NOT NULL,
    shop_transaction_id TEXT NOT NULL,
    authori_result TEXT NOT NULL,
    authori_word TEXT NOT NULL,
    codes TEXT NOT NULL,
    received_at BIGINT NOT NULL
);
CREATE INDEX frex_response_detail_key ON frex_response_detail (request_key);

CREATE TABLE frex_alert (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    severity TEXT NOT NULL,
    order_no TEXT NOT NULL,
    request_key TEXT NOT NULL,
    codes TEXT NOT NULL,
    detail TEXT NOT NULL,
    first_seen BIGINT NOT NULL,
    last_seen BIGINT NOT NULL,
    count BIGINT NOT NULL,
    resolved_at BIGINT NOT NULL,
    resolved_by TEXT NOT NULL
);
-- Repeated alerts fold into the open one.
CREATE UNIQUE INDEX frex_alert_open ON frex_alert (kind, order_no, request_key) WHERE resolved_at = 0;
CREATE INDEX frex_alert_of_order ON frex_alert (order_no) WHERE resolved_at = 0;

-- What people did by hand, and what waits for a second operator (note = proposal of the first).
CREATE TABLE frex_decision (
    id TEXT PRIMARY KEY,
    subject TEXT NOT NULL,
    action TEXT NOT NULL,
    operator TEXT NOT NULL,
    note TEXT NOT NULL,
    state TEXT NOT NULL,
    decided_at BIGINT NOT NULL
);
CREATE INDEX frex_decision_subject ON frex_decision (subject, action);
CREATE UNIQUE INDEX frex_decision_pending ON frex_decision (subject, action) WHERE state = 'PROPOSED';

CREATE TABLE frex_run (
    id TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    fence BIGINT NOT NULL,
    cause TEXT NOT NULL,
    state TEXT NOT NULL,
    started_at BIGINT NOT NULL,
    ended_at BIGINT NOT NULL,
    report TEXT NOT NULL
);
CREATE INDEX frex_run_time ON frex_run (started_at, id);

CREATE TABLE frex_lease (
    name TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    fence BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    next_run_at BIGINT NOT NULL,
    paused BIGINT NOT NULL,
    paused_by TEXT NOT NULL
);
INSERT INTO frex_lease (name, owner, fence, expires_at, next_run_at, paused, paused_by) VALUES ('batch', '', 0, 0, 0, 0, '');
