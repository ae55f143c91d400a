-- Safe to undo: who waited for the end of a delay waits no more.

-- Each statement is a transaction by itself and may run again, as in 0003.
-- +goose NO TRANSACTION

-- +goose Up
ALTER TABLE counters ADD COLUMN IF NOT EXISTS due_at BIGINT NOT NULL DEFAULT 0; -- of failures: no other try before

-- +goose Down
ALTER TABLE counters DROP COLUMN IF EXISTS due_at;
