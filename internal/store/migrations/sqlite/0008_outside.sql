-- Not to be undone: whom a company has sign in could sign in by other ways, too.

-- +goose Up
ALTER TABLE users ADD COLUMN sso INTEGER NOT NULL DEFAULT 0; -- a company keeps the account, and has its owner sign in

ALTER TABLE sessions ADD COLUMN identity_id BLOB;                       -- it was opened by that account elsewhere
ALTER TABLE sessions ADD COLUMN checked_at  BIGINT NOT NULL DEFAULT 0;  -- when whoever keeps the account last vouched for it

-- +goose Down
ALTER TABLE sessions DROP COLUMN checked_at;
ALTER TABLE sessions DROP COLUMN identity_id;
ALTER TABLE users DROP COLUMN sso;
