-- Safe to undo: wished numbers, names of sessions and counters go.

-- +goose Up
ALTER TABLE users ADD COLUMN new_phone            TEXT    NOT NULL DEFAULT ''; -- wanted, not yet proved
ALTER TABLE users ADD COLUMN phone_change_sent_at BIGINT  NOT NULL DEFAULT 0;
ALTER TABLE users ADD COLUMN verified_factors     INTEGER NOT NULL DEFAULT 0;  -- second factors in use

ALTER TABLE sessions ADD COLUMN name   TEXT NOT NULL DEFAULT ''; -- the user's own word for it
ALTER TABLE sessions ADD COLUMN device TEXT NOT NULL DEFAULT ''; -- browser and system that opened it

-- How often something happened within a window of time, to limit it.
CREATE TABLE counters (
	tenant_id BLOB    NOT NULL,
	name      TEXT    NOT NULL,
	subject   BLOB    NOT NULL, -- a keyed hash, or an id
	n         BIGINT  NOT NULL,
	ends_at   BIGINT  NOT NULL, -- of the window
	PRIMARY KEY (tenant_id, name, subject)
) WITHOUT ROWID;

CREATE INDEX counters_ends ON counters (ends_at);

-- +goose Down
DROP TABLE counters;
ALTER TABLE sessions DROP COLUMN device;
ALTER TABLE sessions DROP COLUMN name;
ALTER TABLE users DROP COLUMN verified_factors;
ALTER TABLE users DROP COLUMN phone_change_sent_at;
ALTER TABLE users DROP COLUMN new_phone;
