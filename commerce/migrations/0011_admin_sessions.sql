-- Who is logged in to the admin pages: the SHA-256 of the cookie's token, never the token itself.
CREATE TABLE admin_sessions (
    token_sha256 TEXT PRIMARY KEY,
    key_id       TEXT NOT NULL REFERENCES api_keys (id),
    created_at   BIGINT NOT NULL,
    expires_at   BIGINT NOT NULL
);
CREATE INDEX admin_sessions_expiry ON admin_sessions (expires_at);
