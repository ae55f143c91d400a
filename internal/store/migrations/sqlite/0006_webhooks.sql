-- Not to be undone: endpoints would go, with their secrets and what was not
-- delivered.

-- +goose Up
-- Where a tenant's events are sent. Each row is also the head of its queue:
-- whoever adds, takes or ends a delivery holds it until the commit.
CREATE TABLE webhook_endpoints (
	tenant_id        BLOB    NOT NULL,
	id               BLOB    NOT NULL,
	url              TEXT    NOT NULL,
	events           TEXT    NOT NULL, -- a JSON list of names and patterns such as user.*; empty: all
	secret           BLOB    NOT NULL, -- sealed
	old_secret       BLOB    NOT NULL, -- sealed; signs too until then
	old_secret_until BIGINT  NOT NULL,
	disabled         BOOLEAN NOT NULL,
	description      TEXT    NOT NULL,
	created_at       BIGINT  NOT NULL,
	updated_at       BIGINT  NOT NULL,
	dropped          BOOLEAN NOT NULL, -- goes when its deliveries have gone
	failures         INTEGER NOT NULL, -- tries that failed, in a row
	rest_until       BIGINT  NOT NULL, -- above 0: it failed too often, and is tried with one delivery at a time, from then on
	next_at          BIGINT  NOT NULL, -- when it has something due; 0: nothing, below: it is disabled or dropped
	PRIMARY KEY (tenant_id, id)
) WITHOUT ROWID;

CREATE INDEX webhook_endpoints_next ON webhook_endpoints (next_at);

-- Events on their way, which are in the table of events. The earliest of an
-- endpoint and a user is due, the others wait for it.
CREATE TABLE webhook_deliveries (
	tenant_id   BLOB    NOT NULL,
	endpoint_id BLOB    NOT NULL,
	event_id    BLOB    NOT NULL,
	seq         BIGINT  NOT NULL, -- the event's place in the trail
	user_id     BLOB    NOT NULL,
	state       TEXT    NOT NULL, -- waiting, due, delivered, dead
	due_at      BIGINT  NOT NULL, -- or, by the state, since when it waits, when it ended
	tries       INTEGER NOT NULL,
	status      INTEGER NOT NULL, -- of the last answer; 0: none
	last_error  TEXT    NOT NULL,
	created_at  BIGINT  NOT NULL, -- or asked for again
	ended_at    BIGINT  NOT NULL,
	PRIMARY KEY (tenant_id, endpoint_id, event_id)
) WITHOUT ROWID;

CREATE INDEX webhook_deliveries_queue ON webhook_deliveries (tenant_id, endpoint_id, state, due_at);
CREATE INDEX webhook_deliveries_user  ON webhook_deliveries (tenant_id, endpoint_id, user_id, state, seq);
CREATE INDEX webhook_deliveries_age   ON webhook_deliveries (state, due_at);

-- +goose Down
DROP TABLE webhook_deliveries;
DROP TABLE webhook_endpoints;
