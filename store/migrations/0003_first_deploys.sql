-- An app's first release with code that came up, and what became of its postdeploy script (app.json), which runs once, then.
CREATE TABLE first_deploys (
    app_id TEXT PRIMARY KEY REFERENCES apps (id) ON DELETE CASCADE,
    version BIGINT NOT NULL CHECK (version > 0),
    postdeploy TEXT NOT NULL CHECK (postdeploy IN ('none', 'begun', 'succeeded', 'failed', 'lost')),
    exit_status BIGINT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);

-- Apps that are there already had theirs, before anybody ran such scripts.
INSERT INTO first_deploys (app_id, version, postdeploy, exit_status, created_at, updated_at)
SELECT app_id, MIN(version), 'none', NULL, MIN(created_at), MIN(created_at)
FROM releases WHERE slug_id IS NOT NULL AND status IN ('succeeded', 'expired') GROUP BY app_id;
