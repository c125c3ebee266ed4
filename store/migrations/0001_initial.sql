-- Types are TEXT and BIGINT only: they mean the same on SQLite and PostgreSQL. Ids are hyphenated UUIDs, times microseconds since 1970.
CREATE TABLE counters (name TEXT PRIMARY KEY, value BIGINT NOT NULL);
INSERT INTO counters (name, value) VALUES ('user_block', 0), ('domain', 0), ('audit', 0), ('setup', 0);

CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);

CREATE TABLE accounts (
    id TEXT PRIMARY KEY,
    email TEXT NOT NULL,
    name TEXT,
    password_hash TEXT NOT NULL,
    admin BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX accounts_email ON accounts (email);

CREATE TABLE authorizations (
    id TEXT PRIMARY KEY,
    account_id TEXT NOT NULL REFERENCES accounts (id),
    description TEXT NOT NULL,
    token_hash TEXT NOT NULL,
    expires_at BIGINT,
    created_at BIGINT NOT NULL,
    last_used_at BIGINT
);
CREATE UNIQUE INDEX authorizations_token_hash ON authorizations (token_hash);
CREATE INDEX authorizations_account ON authorizations (account_id);

CREATE TABLE ssh_keys (
    id TEXT PRIMARY KEY,
    account_id TEXT NOT NULL REFERENCES accounts (id),
    fingerprint TEXT NOT NULL,
    public_key TEXT NOT NULL,
    comment TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX ssh_keys_fingerprint ON ssh_keys (fingerprint);

-- A destroyed app stays as a tombstone, holding its user block, until the reconcile loop has cleaned up and purges it.
CREATE TABLE apps (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    owner_id TEXT NOT NULL REFERENCES accounts (id),
    stack TEXT NOT NULL,
    maintenance BIGINT NOT NULL,
    user_block BIGINT NOT NULL,
    last_version BIGINT NOT NULL,
    last_restart BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    destroyed_at BIGINT
);
CREATE UNIQUE INDEX apps_name_live ON apps (name) WHERE destroyed_at IS NULL;
CREATE UNIQUE INDEX apps_user_block ON apps (user_block);
CREATE INDEX apps_owner ON apps (owner_id);

CREATE TABLE collaborators (
    id TEXT PRIMARY KEY,
    app_id TEXT NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    account_id TEXT NOT NULL REFERENCES accounts (id),
    created_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX collaborators_app_account ON collaborators (app_id, account_id);
CREATE INDEX collaborators_account ON collaborators (account_id);

-- One row per distinct set of config vars; releases share it. Sealed with XChaCha20-Poly1305, bound to the app's id.
CREATE TABLE configs (
    id TEXT PRIMARY KEY,
    app_id TEXT NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    sealed TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX configs_app ON configs (app_id);

CREATE TABLE slugs (
    id TEXT PRIMARY KEY,
    app_id TEXT NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    image TEXT NOT NULL,
    process_types TEXT NOT NULL,
    has_release_phase BIGINT NOT NULL,
    buildpacks TEXT NOT NULL,
    source TEXT NOT NULL,
    stack TEXT NOT NULL,
    size_bytes BIGINT NOT NULL,
    formation TEXT NOT NULL,
    app_json TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX slugs_app ON slugs (app_id);

CREATE TABLE builds (
    id TEXT PRIMARY KEY,
    app_id TEXT NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    status TEXT NOT NULL CHECK (status IN ('pending', 'succeeded', 'failed')),
    user_id TEXT NOT NULL REFERENCES accounts (id),
    source TEXT NOT NULL,
    stack TEXT NOT NULL,
    worker TEXT NOT NULL,
    slug_id TEXT REFERENCES slugs (id) ON DELETE CASCADE,
    failure TEXT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE INDEX builds_app ON builds (app_id, created_at);

CREATE TABLE releases (
    id TEXT PRIMARY KEY,
    app_id TEXT NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    version BIGINT NOT NULL CHECK (version > 0),
    status TEXT NOT NULL CHECK (status IN ('pending', 'succeeded', 'failed', 'expired')),
    description TEXT NOT NULL,
    user_id TEXT NOT NULL REFERENCES accounts (id),
    slug_id TEXT REFERENCES slugs (id) ON DELETE CASCADE,
    build_id TEXT REFERENCES builds (id) ON DELETE CASCADE,
    config_id TEXT NOT NULL REFERENCES configs (id) ON DELETE CASCADE,
    output_id TEXT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX releases_app_version ON releases (app_id, version);
CREATE INDEX releases_build ON releases (build_id);

CREATE TABLE formation (
    id TEXT PRIMARY KEY,
    app_id TEXT NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    process_type TEXT NOT NULL,
    quantity BIGINT NOT NULL,
    size TEXT NOT NULL,
    command TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX formation_app_type ON formation (app_id, process_type);

-- target: '' = the app, 'web' = a type, 'web.1' = a dyno (a process type holds no dot).
CREATE TABLE restarts (
    app_id TEXT NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    target TEXT NOT NULL,
    generation BIGINT NOT NULL,
    PRIMARY KEY (app_id, target)
);

CREATE TABLE domains (
    id TEXT PRIMARY KEY,
    app_id TEXT NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    hostname TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('heroku', 'custom')),
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX domains_hostname ON domains (hostname);
CREATE INDEX domains_app ON domains (app_id);

CREATE TABLE audit (
    sequence BIGINT PRIMARY KEY,
    at BIGINT NOT NULL,
    actor_id TEXT,
    action TEXT NOT NULL,
    app_id TEXT,
    detail TEXT NOT NULL,
    address TEXT
);
