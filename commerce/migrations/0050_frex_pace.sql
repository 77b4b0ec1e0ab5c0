-- Every select of the worker walks what it selects, not everything that is open. Copies of a few facts stand where an index can
-- use them; each is written in the transaction that writes the fact (commerce/src/frex/tables.rs, batch.rs).

-- Whether the order has a row in frex_state_info.
ALTER TABLE frex_order ADD COLUMN has_state BIGINT NOT NULL DEFAULT 0;
UPDATE frex_order SET has_state = 1 WHERE order_no IN (SELECT order_no FROM frex_state_info);

-- When the shop cancelled the order: what is older than some runs must be cancelled at the agency too.
ALTER TABLE frex_order ADD COLUMN cancelled_at BIGINT NOT NULL DEFAULT 0;

-- The order's str_state and order_complete_amount; how many questions about screening and about outcomes are open. A question
-- about screening on which our code failed again and again counts too: no new one is asked in its place.
ALTER TABLE frex_state_info ADD COLUMN order_state TEXT NOT NULL DEFAULT '';
ALTER TABLE frex_state_info ADD COLUMN order_amount BIGINT NOT NULL DEFAULT 0;
ALTER TABLE frex_state_info ADD COLUMN screening_open BIGINT NOT NULL DEFAULT 0;
ALTER TABLE frex_state_info ADD COLUMN outcome_open BIGINT NOT NULL DEFAULT 0;
UPDATE frex_state_info SET
    order_state = (SELECT o.str_state FROM frex_order o WHERE o.order_no = frex_state_info.order_no),
    order_amount = (SELECT o.order_complete_amount FROM frex_order o WHERE o.order_no = frex_state_info.order_no),
    screening_open = (SELECT COUNT(*) FROM frex_request r WHERE r.order_no = frex_state_info.order_no
        AND r.type = 'AUTHORIZE_RESULT' AND (r.state = 'STANDBY' OR (r.state = 'ERROR' AND r.faults > 0))),
    outcome_open = (SELECT COUNT(*) FROM frex_request r WHERE r.order_no = frex_state_info.order_no
        AND r.type IN ('ORDER_RESULT', 'UPDATE_RESULT', 'DELETE_RESULT', 'BILLING_RESULT') AND r.state = 'STANDBY');

-- Whether people were told that it waits too long, and did not resolve that.
ALTER TABLE frex_request ADD COLUMN overdue_told BIGINT NOT NULL DEFAULT 0;
UPDATE frex_request SET overdue_told = 1 WHERE request_key IN (SELECT a.request_key FROM frex_alert a
    WHERE a.resolved_at = 0 AND a.kind IN ('standby_overdue', 'result_overdue', 'delay_overdue'));

-- Whether an alert was told by each way; when and how often is in frex_notice.
ALTER TABLE frex_alert ADD COLUMN told_webhook BIGINT NOT NULL DEFAULT 0;
ALTER TABLE frex_alert ADD COLUMN told_mail BIGINT NOT NULL DEFAULT 0;
UPDATE frex_alert SET
    told_webhook = (SELECT COUNT(*) FROM frex_notice n WHERE n.alert_id = frex_alert.id AND n.channel = 'webhook'),
    told_mail = (SELECT COUNT(*) FROM frex_notice n WHERE n.alert_id = frex_alert.id AND n.channel = 'mail');

-- What the steps select.
DROP INDEX frex_order_unregistered;
CREATE INDEX frex_order_unregistered ON frex_order (created_at, order_no)
    WHERE str_state = 'REG' AND str_money_input = 'SBPAYMENT' AND has_state = 0;
DROP INDEX frex_order_cancelled;
CREATE INDEX frex_order_ended ON frex_order (order_end_at, order_no)
    WHERE str_state = 'REG' AND str_order_state = 'ORDEREND' AND str_money_input = 'TEMPPAYMENT';
DROP INDEX frex_state_open;
CREATE INDEX frex_state_unanswered ON frex_state_info (reg_state, result_state, created_at, order_no)
    WHERE result_state NOT IN ('COMPLETE', 'CANCEL') AND outcome_open = 0;
CREATE INDEX frex_state_cancelling ON frex_state_info (reg_state, result_state, created_at, order_no)
    WHERE order_state = 'DEL' AND result_state <> 'CANCEL';
CREATE INDEX frex_state_changed ON frex_state_info (created_at, order_no)
    WHERE result_state = 'COMPLETE' AND billing_state = 'NONE' AND billed_amount <> order_amount;
CREATE INDEX frex_state_unscreened ON frex_state_info (created_at, order_no)
    WHERE result_state = 'COMPLETE' AND billing_state = 'NONE' AND authorize_state IN ('NONE', 'DELAY') AND screening_open = 0;
CREATE INDEX frex_state_approved ON frex_state_info (authorized_at, order_no)
    WHERE result_state = 'COMPLETE' AND billing_state = 'NONE' AND authorize_state = 'COMPLETE';

-- What is due, what waits, and what a run finds at its beginning and its end.
CREATE INDEX frex_request_due ON frex_request (type, next_attempt_at, request_key) WHERE state IN ('STANDBY', 'SENDING', 'UNKNOWN');
DROP INDEX frex_request_open;
CREATE INDEX frex_request_open ON frex_request (type, state, created_at) WHERE state IN ('STANDBY', 'SENDING', 'UNKNOWN');
CREATE INDEX frex_request_waiting ON frex_request (type, created_at, request_key) WHERE state = 'STANDBY' AND overdue_told = 0;
CREATE INDEX frex_request_sending ON frex_request (id) WHERE state = 'SENDING';
CREATE INDEX frex_request_unknown ON frex_request (sent_at, request_key) WHERE state = 'UNKNOWN';
CREATE INDEX frex_run_state ON frex_run (state, ended_at);
CREATE INDEX frex_run_running ON frex_run (fence) WHERE state = 'RUNNING';

-- What checks, comparison, clean-up and messages ask for.
CREATE INDEX frex_order_approved ON frex_order (order_no) WHERE str_state = 'REG' AND str_money_input = 'TEMPPAYMENT';
CREATE INDEX frex_state_billed ON frex_state_info (billed_at, order_no) WHERE billing_state = 'COMPLETE';
CREATE INDEX frex_state_unbilled ON frex_state_info (order_no) WHERE billing_state IN ('NONE', 'ERROR') AND authorized_at > 0;
CREATE INDEX frex_state_locked ON frex_state_info (order_no) WHERE result_state NOT IN ('COMPLETE', 'CANCEL');
CREATE INDEX frex_request_unnamed ON frex_request (order_no)
    WHERE state = 'COMPLETE' AND accept_no = '' AND type IN ('ORDER_REG', 'UPDATE_REG', 'DELETE_REG', 'BILLING_REG');
CREATE INDEX frex_user_info_age ON frex_user_info (updated_at);
CREATE INDEX frex_alert_by_order ON frex_alert (order_no, kind);
DROP INDEX frex_alert_untold;
CREATE INDEX frex_alert_webhook ON frex_alert (severity, first_seen, id) WHERE resolved_at = 0 AND told_webhook = 0;
CREATE INDEX frex_alert_mail ON frex_alert (severity, first_seen, id) WHERE resolved_at = 0 AND told_mail = 0;
CREATE INDEX frex_alert_critical ON frex_alert (first_seen, id) WHERE resolved_at = 0 AND severity = 'critical';

-- Lists for people.
CREATE INDEX frex_request_screening ON frex_request (created_at, order_no) WHERE type = 'AUTHORIZE_RESULT' AND state = 'STANDBY';
CREATE INDEX frex_request_unclear ON frex_request (id) WHERE state = 'UNKNOWN';
CREATE INDEX frex_request_failed ON frex_request (id) WHERE state = 'ERROR';
CREATE INDEX frex_alert_list ON frex_alert (id) WHERE resolved_at = 0;
CREATE INDEX frex_alert_kinds ON frex_alert (kind, severity) WHERE resolved_at = 0;
