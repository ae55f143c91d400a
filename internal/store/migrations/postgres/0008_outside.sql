-- Not to be undone: whom a company has sign in could sign in by other ways, too.

-- Each statement is a transaction by itself and may run again, as in 0003.
-- +goose NO TRANSACTION

-- +goose Up
ALTER TABLE users ADD COLUMN IF NOT EXISTS sso BOOLEAN NOT NULL DEFAULT FALSE; -- a company keeps the account, and has its owner sign in

ALTER TABLE sessions ADD COLUMN IF NOT EXISTS identity_id BYTEA, -- it was opened by that account elsewhere
	ADD COLUMN IF NOT EXISTS checked_at BIGINT NOT NULL DEFAULT 0; -- when whoever keeps the account last vouched for it

-- +goose Down
ALTER TABLE sessions DROP COLUMN IF EXISTS checked_at, DROP COLUMN IF EXISTS identity_id;
ALTER TABLE users DROP COLUMN IF EXISTS sso;
