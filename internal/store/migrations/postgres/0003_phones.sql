-- Safe to undo: wished numbers, names of sessions and counters go.

-- Each statement is a transaction by itself and may run again: to change a
-- table nobody else may be at it, and whoever kept one so while waiting for the
-- other would soon wait for those who hold that and wait for the first.
-- +goose NO TRANSACTION

-- +goose Up
ALTER TABLE users ADD COLUMN IF NOT EXISTS new_phone TEXT NOT NULL DEFAULT '', -- wanted, not yet proved
	ADD COLUMN IF NOT EXISTS phone_change_sent_at BIGINT NOT NULL DEFAULT 0,
	ADD COLUMN IF NOT EXISTS verified_factors SMALLINT NOT NULL DEFAULT 0; -- second factors in use

ALTER TABLE sessions ADD COLUMN IF NOT EXISTS name TEXT NOT NULL DEFAULT '', -- the user's own word for it
	ADD COLUMN IF NOT EXISTS device TEXT NOT NULL DEFAULT ''; -- browser and system that opened it

-- How often something happened within a window of time, to limit it.
CREATE TABLE IF NOT EXISTS counters (
	tenant_id BYTEA  NOT NULL,
	name      TEXT   COLLATE "C" NOT NULL,
	subject   BYTEA  NOT NULL, -- a keyed hash, or an id
	n         BIGINT NOT NULL,
	ends_at   BIGINT NOT NULL, -- of the window
	PRIMARY KEY (tenant_id, name, subject)
);

CREATE INDEX IF NOT EXISTS counters_ends ON counters (ends_at);

-- +goose Down
DROP TABLE IF EXISTS counters;
ALTER TABLE sessions DROP COLUMN IF EXISTS device, DROP COLUMN IF EXISTS name;
ALTER TABLE users DROP COLUMN IF EXISTS verified_factors, DROP COLUMN IF EXISTS phone_change_sent_at, DROP COLUMN IF EXISTS new_phone;
