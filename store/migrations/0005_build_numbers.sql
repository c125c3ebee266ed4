-- Which build came after which: a clock that was set back says otherwise. Builds from before have 0 and go by their time among themselves.
ALTER TABLE builds ADD COLUMN number BIGINT NOT NULL DEFAULT 0;
CREATE INDEX builds_number ON builds (app_id, number);
