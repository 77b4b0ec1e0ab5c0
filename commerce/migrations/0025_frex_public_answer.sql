-- What the public interface of the agency answered, which it does only once (spec/frex.md 6.8). No buyer data.

CREATE TABLE frex_public_answer (
    accept_no TEXT PRIMARY KEY,
    request_key TEXT NOT NULL UNIQUE,
    request_type TEXT NOT NULL,
    np_transaction_id TEXT NOT NULL,
    billed_amount BIGINT NOT NULL,
    authori_result TEXT NOT NULL,
    authori_ng TEXT NOT NULL
);
CREATE UNIQUE INDEX frex_public_answer_registration ON frex_public_answer (np_transaction_id)
    WHERE request_type = 'ORDER_REG';
