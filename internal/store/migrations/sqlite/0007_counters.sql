-- Safe to undo: who waited for the end of a delay waits no more.

-- +goose Up
ALTER TABLE counters ADD COLUMN due_at BIGINT NOT NULL DEFAULT 0; -- of failures: no other try before

-- +goose Down
ALTER TABLE counters DROP COLUMN due_at;
