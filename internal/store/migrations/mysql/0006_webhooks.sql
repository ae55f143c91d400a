-- Not to be undone: endpoints would go, with their secrets and what was not
-- delivered.

-- +goose Up
-- Where a tenant's events are sent. Each row is also the head of its queue:
-- whoever adds, takes or ends a delivery holds it until the commit.
CREATE TABLE IF NOT EXISTS webhook_endpoints (
	tenant_id        BINARY(16)      NOT NULL,
	id               BINARY(16)      NOT NULL,
	url              VARBINARY(2048) NOT NULL,
	events           MEDIUMTEXT      NOT NULL, -- a JSON list of names and patterns such as user.*; empty: all
	secret           MEDIUMBLOB      NOT NULL, -- sealed
	old_secret       MEDIUMBLOB      NOT NULL, -- sealed; signs too until then
	old_secret_until BIGINT          NOT NULL,
	disabled         BOOLEAN         NOT NULL,
	description      MEDIUMTEXT      NOT NULL,
	created_at       BIGINT          NOT NULL,
	updated_at       BIGINT          NOT NULL,
	dropped          BOOLEAN         NOT NULL, -- goes when its deliveries have gone
	failures         INTEGER         NOT NULL, -- tries that failed, in a row
	rest_until       BIGINT          NOT NULL, -- above 0: it failed too often, and is tried with one delivery at a time, from then on
	next_at          BIGINT          NOT NULL, -- when it has something due; 0: nothing, below: it is disabled or dropped
	PRIMARY KEY (tenant_id, id),
	KEY webhook_endpoints_next (next_at)
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Events on their way, which are in the table of events. The earliest of an
-- endpoint and a user is due, the others wait for it.
CREATE TABLE IF NOT EXISTS webhook_deliveries (
	tenant_id   BINARY(16)    NOT NULL,
	endpoint_id BINARY(16)    NOT NULL,
	event_id    BINARY(16)    NOT NULL,
	seq         BIGINT        NOT NULL, -- the event's place in the trail
	user_id     BINARY(16)    NOT NULL,
	state       VARBINARY(16) NOT NULL, -- waiting, due, delivered, dead
	due_at      BIGINT        NOT NULL, -- or, by the state, since when it waits, when it ended
	tries       INTEGER       NOT NULL,
	status      INTEGER       NOT NULL, -- of the last answer; 0: none
	last_error  MEDIUMTEXT    NOT NULL,
	created_at  BIGINT        NOT NULL, -- or asked for again
	ended_at    BIGINT        NOT NULL,
	PRIMARY KEY (tenant_id, endpoint_id, event_id),
	KEY webhook_deliveries_queue (tenant_id, endpoint_id, state, due_at),
	KEY webhook_deliveries_user (tenant_id, endpoint_id, user_id, state, seq),
	KEY webhook_deliveries_age (state, due_at)
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- +goose Down
DROP TABLE IF EXISTS webhook_deliveries;
DROP TABLE IF EXISTS webhook_endpoints;
