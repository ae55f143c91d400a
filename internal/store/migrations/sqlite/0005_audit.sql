-- Not to be undone: what shows that nothing in the trail was changed would be
-- gone.

-- +goose Up
-- Events that are not in the trail yet.
CREATE TABLE audit_queue (
	tenant_id BLOB NOT NULL,
	event_id  BLOB NOT NULL,
	PRIMARY KEY (tenant_id, event_id)
) WITHOUT ROWID;

-- The trail: each row holds its event, and by its hash all rows before it.
CREATE TABLE audit_trail (
	tenant_id BLOB   NOT NULL,
	seq       BIGINT NOT NULL, -- from 1, without a gap
	event_id  BLOB   NOT NULL,
	digest    BLOB   NOT NULL, -- SHA-256 of the event
	hash      BLOB   NOT NULL, -- SHA-256 of the hash before, seq and digest
	PRIMARY KEY (tenant_id, seq)
) WITHOUT ROWID;

CREATE UNIQUE INDEX audit_trail_event ON audit_trail (tenant_id, event_id);

-- Where each trail ends.
CREATE TABLE audit_heads (
	tenant_id      BLOB   NOT NULL PRIMARY KEY,
	seq            BIGINT NOT NULL,
	hash           BLOB   NOT NULL,
	mac            BLOB   NOT NULL, -- keyed, of all else in the row: nobody moves the end back
	checkpoint_seq BIGINT NOT NULL, -- of the last checkpoint
	checkpoint_at  BIGINT NOT NULL
) WITHOUT ROWID;

-- Signed statements about a trail: from when on it is kept (begin), what it was
-- at a row (checkpoint), up to which row it was swept away (pruned).
CREATE TABLE audit_checkpoints (
	tenant_id BLOB   NOT NULL,
	seq       BIGINT NOT NULL,
	kind      TEXT   NOT NULL,
	hash      BLOB   NOT NULL, -- of the row seq
	made_at   BIGINT NOT NULL, -- of a begin: events from then on are in the trail
	key_id    TEXT   NOT NULL,
	signature BLOB   NOT NULL, -- Ed25519
	PRIMARY KEY (tenant_id, seq, kind)
) WITHOUT ROWID;

INSERT INTO leases (name, holder, until_at) VALUES ('seal', x'', 0);

-- +goose Down
DELETE FROM leases WHERE name = 'seal';
DROP TABLE audit_checkpoints;
DROP TABLE audit_heads;
DROP TABLE audit_trail;
DROP TABLE audit_queue;
