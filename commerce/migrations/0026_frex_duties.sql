-- What one of the processes does at a time beside the batch (checks, reconciliation, clean-up, messages), and which alerts were
-- told by which way.

CREATE TABLE frex_duty (
    name TEXT PRIMARY KEY,
    due_at BIGINT NOT NULL,
    tries BIGINT NOT NULL,
    last_error TEXT NOT NULL
);
INSERT INTO frex_duty (name, due_at, tries, last_error) VALUES
    ('invariants', 0, 0, ''), ('reconcile', 0, 0, ''), ('purge', 0, 0, ''), ('webhook', 0, 0, ''), ('mail', 0, 0, '');

CREATE TABLE frex_notice (
    alert_id TEXT NOT NULL REFERENCES frex_alert (id),
    channel TEXT NOT NULL,
    told_at BIGINT NOT NULL,
    times BIGINT NOT NULL,
    PRIMARY KEY (alert_id, channel)
);
CREATE INDEX frex_alert_untold ON frex_alert (first_seen, id) WHERE resolved_at = 0;
