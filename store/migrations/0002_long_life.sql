-- How often which dyno crashed of late, in the reconcile loop's own words: a restarted server goes on with the back-off.
CREATE TABLE crashes (
    app_id TEXT NOT NULL REFERENCES apps (id) ON DELETE CASCADE,
    dyno TEXT NOT NULL,
    record TEXT NOT NULL,
    PRIMARY KEY (app_id, dyno)
);

-- For letting go of config vars that no release can go back to.
CREATE INDEX releases_config ON releases (config_id);
