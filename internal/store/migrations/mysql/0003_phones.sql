-- Safe to undo: wished numbers, names of sessions and counters go.

-- +goose Up
-- MariaDB alone can add a column «if not exists». The comment before a table's
-- name has the namespace put before it, as after the word TABLE.
SET @change = IF((SELECT COUNT(*) FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = /* TABLE */ 'users' AND column_name = 'new_phone') > 0, 'DO 0',
	'ALTER TABLE users ADD COLUMN new_phone VARBINARY(32) NOT NULL DEFAULT '''', ADD COLUMN phone_change_sent_at BIGINT NOT NULL DEFAULT 0, ADD COLUMN verified_factors SMALLINT NOT NULL DEFAULT 0');
PREPARE change_users FROM @change;
EXECUTE change_users;
DEALLOCATE PREPARE change_users;

SET @change = IF((SELECT COUNT(*) FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = /* TABLE */ 'sessions' AND column_name = 'device') > 0, 'DO 0',
	'ALTER TABLE sessions ADD COLUMN name VARBINARY(400) NOT NULL DEFAULT '''', ADD COLUMN device VARBINARY(400) NOT NULL DEFAULT ''''');
PREPARE change_sessions FROM @change;
EXECUTE change_sessions;
DEALLOCATE PREPARE change_sessions;

-- How often something happened within a window of time, to limit it.
CREATE TABLE IF NOT EXISTS counters (
	tenant_id BINARY(16)     NOT NULL,
	name      VARBINARY(64)  NOT NULL,
	subject   VARBINARY(255) NOT NULL, -- a keyed hash, or an id
	n         BIGINT         NOT NULL,
	ends_at   BIGINT         NOT NULL, -- of the window
	PRIMARY KEY (tenant_id, name, subject),
	KEY counters_ends (ends_at)
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- +goose Down
DROP TABLE IF EXISTS counters;

SET @change = IF((SELECT COUNT(*) FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = /* TABLE */ 'sessions' AND column_name = 'device') = 0, 'DO 0',
	'ALTER TABLE sessions DROP COLUMN device, DROP COLUMN name');
PREPARE change_sessions FROM @change;
EXECUTE change_sessions;
DEALLOCATE PREPARE change_sessions;

SET @change = IF((SELECT COUNT(*) FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = /* TABLE */ 'users' AND column_name = 'new_phone') = 0, 'DO 0',
	'ALTER TABLE users DROP COLUMN verified_factors, DROP COLUMN phone_change_sent_at, DROP COLUMN new_phone');
PREPARE change_users FROM @change;
EXECUTE change_users;
DEALLOCATE PREPARE change_users;
