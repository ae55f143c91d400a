-- Safe to undo: who waited for the end of a delay waits no more.

-- +goose Up
SET @change = IF((SELECT COUNT(*) FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = /* TABLE */ 'counters' AND column_name = 'due_at') > 0, 'DO 0',
	'ALTER TABLE counters ADD COLUMN due_at BIGINT NOT NULL DEFAULT 0');
PREPARE change_counters FROM @change;
EXECUTE change_counters;
DEALLOCATE PREPARE change_counters;

-- +goose Down
SET @change = IF((SELECT COUNT(*) FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = /* TABLE */ 'counters' AND column_name = 'due_at') = 0, 'DO 0',
	'ALTER TABLE counters DROP COLUMN due_at');
PREPARE change_counters FROM @change;
EXECUTE change_counters;
DEALLOCATE PREPARE change_counters;
