-- Not to be undone: whom a company has sign in could sign in by other ways, too.

-- +goose Up
SET @change = IF((SELECT COUNT(*) FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = /* TABLE */ 'users' AND column_name = 'sso') > 0, 'DO 0',
	'ALTER TABLE users ADD COLUMN sso SMALLINT NOT NULL DEFAULT 0');
PREPARE change_users FROM @change;
EXECUTE change_users;
DEALLOCATE PREPARE change_users;

SET @change = IF((SELECT COUNT(*) FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = /* TABLE */ 'sessions' AND column_name = 'checked_at') > 0, 'DO 0',
	'ALTER TABLE sessions ADD COLUMN identity_id BINARY(16) NULL, ADD COLUMN checked_at BIGINT NOT NULL DEFAULT 0');
PREPARE change_sessions FROM @change;
EXECUTE change_sessions;
DEALLOCATE PREPARE change_sessions;

-- +goose Down
SET @change = IF((SELECT COUNT(*) FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = /* TABLE */ 'sessions' AND column_name = 'checked_at') = 0, 'DO 0',
	'ALTER TABLE sessions DROP COLUMN checked_at, DROP COLUMN identity_id');
PREPARE change_sessions FROM @change;
EXECUTE change_sessions;
DEALLOCATE PREPARE change_sessions;

SET @change = IF((SELECT COUNT(*) FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = /* TABLE */ 'users' AND column_name = 'sso') = 0, 'DO 0',
	'ALTER TABLE users DROP COLUMN sso');
PREPARE change_users FROM @change;
EXECUTE change_users;
DEALLOCATE PREPARE change_users;
