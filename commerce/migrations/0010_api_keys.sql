-- Who may call: only the SHA-256 of a key is here, the key itself is shown once when it is made.
CREATE TABLE api_keys (
    id          TEXT PRIMARY KEY,
    key_sha256  TEXT NOT NULL UNIQUE,
    role        TEXT NOT NULL CHECK (role IN ('merchant', 'operator')),
    merchant_id TEXT,
    label       TEXT NOT NULL,
    created_at  BIGINT NOT NULL,
    revoked_at  BIGINT,
    CHECK ((role = 'merchant') = (merchant_id IS NOT NULL))
);
