-- Safe to undo: what goes is counted and leased anew.

-- +goose Up
-- Jobs that one node at a time may do, and until when it may.
CREATE TABLE IF NOT EXISTS leases (
	name     VARBINARY(100) NOT NULL PRIMARY KEY,
	holder   VARBINARY(16)  NOT NULL, -- a node, which names itself anew at each start
	until_at BIGINT         NOT NULL
) ENGINE = InnoDB;

INSERT IGNORE INTO leases (name, holder, until_at) VALUES ('sweep', x'', 0), ('keys', x'', 0);

-- How many users a tenant has, in a few rows, so that those who sign up at one
-- instant need not wait for each other: n is the sum.
CREATE TABLE IF NOT EXISTS user_counts (
	tenant_id BINARY(16) NOT NULL,
	slot      SMALLINT   NOT NULL,
	n         BIGINT     NOT NULL,
	PRIMARY KEY (tenant_id, slot)
) ENGINE = InnoDB;

INSERT IGNORE INTO user_counts (tenant_id, slot, n)
	SELECT tenant_id, 0, COUNT(*) FROM users WHERE tenant_id NOT IN (SELECT tenant_id FROM user_counts) GROUP BY tenant_id;

-- +goose Down
DROP TABLE IF EXISTS user_counts;
DROP TABLE IF EXISTS leases;
