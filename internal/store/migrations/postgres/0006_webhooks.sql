-- Not to be undone: endpoints would go, with their secrets and what was not
-- delivered.

-- Each statement is a transaction by itself and may run again, as in 0003.
-- +goose NO TRANSACTION

-- +goose Up
-- Where a tenant's events are sent. Each row is also the head of its queue:
-- whoever adds, takes or ends a delivery holds it until the commit.
CREATE TABLE IF NOT EXISTS webhook_endpoints (
	tenant_id        BYTEA            NOT NULL,
	id               BYTEA            NOT NULL,
	url              TEXT COLLATE "C" NOT NULL,
	events           TEXT             NOT NULL, -- a JSON list of names and patterns such as user.*; empty: all
	secret           BYTEA            NOT NULL, -- sealed
	old_secret       BYTEA            NOT NULL, -- sealed; signs too until then
	old_secret_until BIGINT           NOT NULL,
	disabled         BOOLEAN          NOT NULL,
	description      TEXT             NOT NULL,
	created_at       BIGINT           NOT NULL,
	updated_at       BIGINT           NOT NULL,
	dropped          BOOLEAN          NOT NULL, -- goes when its deliveries have gone
	failures         INTEGER          NOT NULL, -- tries that failed, in a row
	rest_until       BIGINT           NOT NULL, -- above 0: it failed too often, and is tried with one delivery at a time, from then on
	next_at          BIGINT           NOT NULL, -- when it has something due; 0: nothing, below: it is disabled or dropped
	PRIMARY KEY (tenant_id, id)
) WITH (fillfactor = 50);

CREATE INDEX IF NOT EXISTS webhook_endpoints_next ON webhook_endpoints (next_at);

-- Events on their way, which are in the table of events. The earliest of an
-- endpoint and a user is due, the others wait for it.
CREATE TABLE IF NOT EXISTS webhook_deliveries (
	tenant_id   BYTEA            NOT NULL,
	endpoint_id BYTEA            NOT NULL,
	event_id    BYTEA            NOT NULL,
	seq         BIGINT           NOT NULL, -- the event's place in the trail
	user_id     BYTEA            NOT NULL,
	state       TEXT COLLATE "C" NOT NULL, -- waiting, due, delivered, dead
	due_at      BIGINT           NOT NULL, -- or, by the state, since when it waits, when it ended
	tries       INTEGER          NOT NULL,
	status      INTEGER          NOT NULL, -- of the last answer; 0: none
	last_error  TEXT             NOT NULL,
	created_at  BIGINT           NOT NULL, -- or asked for again
	ended_at    BIGINT           NOT NULL,
	PRIMARY KEY (tenant_id, endpoint_id, event_id)
) WITH (fillfactor = 70);

CREATE INDEX IF NOT EXISTS webhook_deliveries_queue ON webhook_deliveries (tenant_id, endpoint_id, state, due_at);
CREATE INDEX IF NOT EXISTS webhook_deliveries_user  ON webhook_deliveries (tenant_id, endpoint_id, user_id, state, seq);
CREATE INDEX IF NOT EXISTS webhook_deliveries_age   ON webhook_deliveries (state, due_at);

-- +goose Down
DROP TABLE IF EXISTS webhook_deliveries;
DROP TABLE IF EXISTS webhook_endpoints;
