-- Not to be undone: what shows that nothing in the trail was changed would be
-- gone.

-- +goose Up
-- Events that are not in the trail yet.
CREATE TABLE IF NOT EXISTS audit_queue (
	tenant_id BINARY(16) NOT NULL,
	event_id  BINARY(16) NOT NULL,
	PRIMARY KEY (tenant_id, event_id)
) ENGINE = InnoDB;

-- The trail: each row holds its event, and by its hash all rows before it.
CREATE TABLE IF NOT EXISTS audit_trail (
	tenant_id BINARY(16)    NOT NULL,
	seq       BIGINT        NOT NULL, -- from 1, without a gap
	event_id  BINARY(16)    NOT NULL,
	digest    VARBINARY(64) NOT NULL, -- SHA-256 of the event
	hash      VARBINARY(64) NOT NULL, -- SHA-256 of the hash before, seq and digest
	PRIMARY KEY (tenant_id, seq),
	UNIQUE KEY audit_trail_event (tenant_id, event_id)
) ENGINE = InnoDB;

-- Where each trail ends.
CREATE TABLE IF NOT EXISTS audit_heads (
	tenant_id      BINARY(16)    NOT NULL PRIMARY KEY,
	seq            BIGINT        NOT NULL,
	hash           VARBINARY(64) NOT NULL,
	mac            VARBINARY(64) NOT NULL, -- keyed, of all else in the row: nobody moves the end back
	checkpoint_seq BIGINT        NOT NULL, -- of the last checkpoint
	checkpoint_at  BIGINT        NOT NULL
) ENGINE = InnoDB;

-- Signed statements about a trail: from when on it is kept (begin), what it was
-- at a row (checkpoint), up to which row it was swept away (pruned).
CREATE TABLE IF NOT EXISTS audit_checkpoints (
	tenant_id BINARY(16)     NOT NULL,
	seq       BIGINT         NOT NULL,
	kind      VARBINARY(16)  NOT NULL,
	hash      VARBINARY(64)  NOT NULL, -- of the row seq
	made_at   BIGINT         NOT NULL, -- of a begin: events from then on are in the trail
	key_id    VARBINARY(64)  NOT NULL,
	signature VARBINARY(128) NOT NULL, -- Ed25519
	PRIMARY KEY (tenant_id, seq, kind)
) ENGINE = InnoDB;

INSERT IGNORE INTO leases (name, holder, until_at) VALUES ('seal', x'', 0);

-- +goose Down
DELETE FROM leases WHERE name = 'seal';
DROP TABLE IF EXISTS audit_checkpoints;
DROP TABLE IF EXISTS audit_heads;
DROP TABLE IF EXISTS audit_trail;
DROP TABLE IF EXISTS audit_queue;
