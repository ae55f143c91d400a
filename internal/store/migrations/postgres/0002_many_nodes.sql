-- Safe to undo: what goes is counted and leased anew.

-- +goose Up
-- Jobs that one node at a time may do, and until when it may.
CREATE TABLE leases (
	name     TEXT COLLATE "C" NOT NULL PRIMARY KEY,
	holder   BYTEA            NOT NULL, -- a node, which names itself anew at each start
	until_at BIGINT           NOT NULL
);

INSERT INTO leases (name, holder, until_at) VALUES ('sweep', '', 0), ('keys', '', 0);

-- How many users a tenant has, in a few rows, so that those who sign up at one
-- instant need not wait for each other: n is the sum.
CREATE TABLE user_counts (
	tenant_id BYTEA    NOT NULL,
	slot      SMALLINT NOT NULL,
	n         BIGINT   NOT NULL,
	PRIMARY KEY (tenant_id, slot)
) WITH (fillfactor = 50);

INSERT INTO user_counts (tenant_id, slot, n) SELECT tenant_id, 0, COUNT(*) FROM users GROUP BY tenant_id;

-- +goose Down
DROP TABLE user_counts;
DROP TABLE leases;
