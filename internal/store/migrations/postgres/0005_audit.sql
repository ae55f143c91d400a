-- Not to be undone: what shows that nothing in the trail was changed would be
-- gone.

-- Each statement is a transaction by itself and may run again, as in 0003.
-- +goose NO TRANSACTION

-- +goose Up
-- Events that are not in the trail yet.
CREATE TABLE IF NOT EXISTS audit_queue (
	tenant_id BYTEA NOT NULL,
	event_id  BYTEA NOT NULL,
	PRIMARY KEY (tenant_id, event_id)
);

-- The trail: each row holds its event, and by its hash all rows before it.
CREATE TABLE IF NOT EXISTS audit_trail (
	tenant_id BYTEA  NOT NULL,
	seq       BIGINT NOT NULL, -- from 1, without a gap
	event_id  BYTEA  NOT NULL,
	digest    BYTEA  NOT NULL, -- SHA-256 of the event
	hash      BYTEA  NOT NULL, -- SHA-256 of the hash before, seq and digest
	PRIMARY KEY (tenant_id, seq)
);

CREATE UNIQUE INDEX IF NOT EXISTS audit_trail_event ON audit_trail (tenant_id, event_id);

-- Where each trail ends.
CREATE TABLE IF NOT EXISTS audit_heads (
	tenant_id      BYTEA  NOT NULL PRIMARY KEY,
	seq            BIGINT NOT NULL,
	hash           BYTEA  NOT NULL,
	mac            BYTEA  NOT NULL, -- keyed, of all else in the row: nobody moves the end back
	checkpoint_seq BIGINT NOT NULL, -- of the last checkpoint
	checkpoint_at  BIGINT NOT NULL
) WITH (fillfactor = 50);

-- Signed statements about a trail: from when on it is kept (begin), what it was
-- at a row (checkpoint), up to which row it was swept away (pruned).
CREATE TABLE IF NOT EXISTS audit_checkpoints (
	tenant_id BYTEA            NOT NULL,
	seq       BIGINT           NOT NULL,
	kind      TEXT COLLATE "C" NOT NULL,
	hash      BYTEA            NOT NULL, -- of the row seq
	made_at   BIGINT           NOT NULL, -- of a begin: events from then on are in the trail
	key_id    TEXT COLLATE "C" NOT NULL,
	signature BYTEA            NOT NULL, -- Ed25519
	PRIMARY KEY (tenant_id, seq, kind)
);

INSERT INTO leases (name, holder, until_at) SELECT 'seal', '', 0 WHERE NOT EXISTS (SELECT 1 FROM leases WHERE name = 'seal');

-- +goose Down
DELETE FROM leases WHERE name = 'seal';
DROP TABLE IF EXISTS audit_checkpoints;
DROP TABLE IF EXISTS audit_heads;
DROP TABLE IF EXISTS audit_trail;
DROP TABLE IF EXISTS audit_queue;
