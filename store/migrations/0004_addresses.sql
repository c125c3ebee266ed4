-- Where each token was used from: a first use from a new place is worth an entry in the audit log.
CREATE TABLE authorization_addresses (
    authorization_id TEXT NOT NULL REFERENCES authorizations (id) ON DELETE CASCADE,
    address TEXT NOT NULL,
    first_used_at BIGINT NOT NULL,
    PRIMARY KEY (authorization_id, address)
);
