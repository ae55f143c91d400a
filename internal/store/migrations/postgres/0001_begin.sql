-- Instants are microseconds since 1970 UTC, 0 for never. Ids are 16 bytes.
-- Every key starts with the tenant; the default tenant is 16 zero bytes.
-- COLLATE "C" compares byte-wise, as the other engines do. A fill factor leaves
-- room on the page, so that a row which changes needs no new index entries.

-- +goose Up
CREATE TABLE tenants (
	id         BYTEA            NOT NULL PRIMARY KEY,
	name       TEXT COLLATE "C" NOT NULL UNIQUE,
	created_at BIGINT           NOT NULL,
	updated_at BIGINT           NOT NULL
);

INSERT INTO tenants (id, name, created_at, updated_at) VALUES ('\x00000000000000000000000000000000', 'default', 0, 0);

-- Single values the server keeps about itself.
CREATE TABLE server_values (
	name  TEXT COLLATE "C" NOT NULL PRIMARY KEY,
	value BYTEA            NOT NULL
);

CREATE TABLE users (
	tenant_id                BYTEA            NOT NULL REFERENCES tenants (id),
	id                       BYTEA            NOT NULL,
	number                   BIGINT, -- for clients that need a small integer
	aud                      TEXT COLLATE "C" NOT NULL,
	role                     TEXT COLLATE "C" NOT NULL,
	username                 TEXT COLLATE "C",
	email                    TEXT COLLATE "C", -- canonical, or NULL
	email_verified_at        BIGINT           NOT NULL,
	phone                    TEXT COLLATE "C",
	phone_verified_at        BIGINT           NOT NULL,
	new_email                TEXT COLLATE "C" NOT NULL, -- wanted, not yet proved
	email_change_proved      SMALLINT         NOT NULL, -- 1 the old address said yes, 2 the new one did
	email_change_sent_at     BIGINT           NOT NULL,
	confirmation_sent_at     BIGINT           NOT NULL,
	recovery_sent_at         BIGINT           NOT NULL,
	reauthentication_sent_at BIGINT           NOT NULL,
	invited_at               BIGINT           NOT NULL,
	last_sign_in_at          BIGINT           NOT NULL,
	banned_until             BIGINT           NOT NULL,
	deleted_at               BIGINT           NOT NULL,
	is_anonymous             BOOLEAN          NOT NULL,
	app_metadata             TEXT             NOT NULL, -- a JSON object, the server's
	user_metadata            TEXT             NOT NULL, -- a JSON object, the user's
	created_at               BIGINT           NOT NULL,
	updated_at               BIGINT           NOT NULL,
	PRIMARY KEY (tenant_id, id)
) WITH (fillfactor = 85);

CREATE UNIQUE INDEX users_email    ON users (tenant_id, email);
CREATE UNIQUE INDEX users_phone    ON users (tenant_id, phone) WHERE phone IS NOT NULL;
CREATE UNIQUE INDEX users_username ON users (tenant_id, username) WHERE username IS NOT NULL;
CREATE UNIQUE INDEX users_number   ON users (tenant_id, number) WHERE number IS NOT NULL;
CREATE INDEX        users_created  ON users (tenant_id, created_at, id);

CREATE TABLE identities (
	tenant_id       BYTEA            NOT NULL,
	provider        TEXT COLLATE "C" NOT NULL,
	issuer          TEXT COLLATE "C" NOT NULL,
	subject         TEXT COLLATE "C" NOT NULL,
	id              BYTEA            NOT NULL,
	user_id         BYTEA            NOT NULL,
	email           TEXT COLLATE "C" NOT NULL,
	data            TEXT             NOT NULL, -- a JSON object
	last_sign_in_at BIGINT           NOT NULL,
	created_at      BIGINT           NOT NULL,
	updated_at      BIGINT           NOT NULL,
	PRIMARY KEY (tenant_id, provider, issuer, subject),
	FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id) ON DELETE CASCADE
) WITH (fillfactor = 90);

CREATE UNIQUE INDEX identities_id   ON identities (tenant_id, id);
CREATE INDEX        identities_user ON identities (tenant_id, user_id, created_at);

-- data is read and written only by the way in named kind.
CREATE TABLE credentials (
	tenant_id  BYTEA            NOT NULL,
	kind       TEXT COLLATE "C" NOT NULL,
	lookup     BYTEA            NOT NULL, -- unique within kind: a passkey's id, for a password the user's
	id         BYTEA            NOT NULL,
	user_id    BYTEA            NOT NULL,
	data       BYTEA            NOT NULL,
	created_at BIGINT           NOT NULL,
	updated_at BIGINT           NOT NULL,
	PRIMARY KEY (tenant_id, kind, lookup),
	FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id) ON DELETE CASCADE
);

CREATE INDEX credentials_user ON credentials (tenant_id, user_id, kind);

-- A session keeps one row for its whole life: a refresh moves its generation.
CREATE TABLE sessions (
	tenant_id         BYTEA            NOT NULL,
	id                BYTEA            NOT NULL,
	user_id           BYTEA            NOT NULL,
	generation        BIGINT           NOT NULL,
	rotated_at        BIGINT           NOT NULL, -- when generation-1 was traded for generation
	parent_rotated_at BIGINT           NOT NULL, -- when generation-2 was traded for generation-1
	aal               SMALLINT         NOT NULL,
	amr               TEXT             NOT NULL, -- JSON: [{"method","timestamp"}], newest first
	user_agent        TEXT COLLATE "C" NOT NULL,
	ip                TEXT COLLATE "C" NOT NULL,
	not_after         BIGINT           NOT NULL,
	created_at        BIGINT           NOT NULL,
	refreshed_at      BIGINT           NOT NULL,
	ended_at          BIGINT           NOT NULL,
	end_reason        TEXT COLLATE "C" NOT NULL,
	PRIMARY KEY (tenant_id, id),
	FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id) ON DELETE CASCADE
) WITH (fillfactor = 75);

CREATE INDEX sessions_user  ON sessions (tenant_id, user_id);
CREATE INDEX sessions_ended ON sessions (ended_at) WHERE ended_at > 0;

-- A question waiting for its answer, at most one of a kind for each subject.
CREATE TABLE challenges (
	tenant_id       BYTEA            NOT NULL,
	kind            TEXT COLLATE "C" NOT NULL,
	subject         BYTEA            NOT NULL, -- the user's id, or the question's own
	id              BYTEA            NOT NULL,
	user_id         BYTEA, -- gone with the user
	token_hash      BYTEA            NOT NULL, -- keyed, of the long secret in the link
	code_hash       BYTEA            NOT NULL, -- keyed, of the short one to type; empty: none
	sent_to         TEXT COLLATE "C" NOT NULL,
	data            TEXT             NOT NULL, -- a JSON object
	tries           INTEGER          NOT NULL, -- wrong codes, also of the codes before this one
	tries_since     BIGINT           NOT NULL,
	code_expires_at BIGINT           NOT NULL,
	expires_at      BIGINT           NOT NULL,
	used_at         BIGINT           NOT NULL,
	created_at      BIGINT           NOT NULL,
	PRIMARY KEY (tenant_id, kind, subject),
	FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id) ON DELETE CASCADE
);

CREATE UNIQUE INDEX challenges_token   ON challenges (tenant_id, token_hash);
CREATE INDEX        challenges_user    ON challenges (tenant_id, user_id);
CREATE INDEX        challenges_sent    ON challenges (tenant_id, sent_to, kind);
CREATE INDEX        challenges_expires ON challenges (expires_at);

CREATE TABLE events (
	tenant_id  BYTEA            NOT NULL,
	id         BYTEA            NOT NULL,
	name       TEXT COLLATE "C" NOT NULL,
	actor      TEXT COLLATE "C" NOT NULL, -- a user's id, or what acted: operator, cli, system
	user_id    BYTEA            NOT NULL, -- whom it happened to; kept when the user is gone
	session_id BYTEA            NOT NULL,
	ip         TEXT COLLATE "C" NOT NULL,
	request_id TEXT COLLATE "C" NOT NULL,
	data       TEXT             NOT NULL, -- a JSON object
	created_at BIGINT           NOT NULL,
	PRIMARY KEY (tenant_id, id)
);

CREATE INDEX events_user ON events (tenant_id, user_id, id);

-- What a commit promised to send. The body is sealed: it holds codes.
CREATE TABLE outbox (
	id         BYTEA            NOT NULL PRIMARY KEY,
	tenant_id  BYTEA            NOT NULL,
	kind       TEXT COLLATE "C" NOT NULL,
	body       BYTEA            NOT NULL,
	due_at     BIGINT           NOT NULL,
	tries      INTEGER          NOT NULL,
	expires_at BIGINT           NOT NULL,
	dead_at    BIGINT           NOT NULL,
	last_error TEXT COLLATE "C" NOT NULL,
	created_at BIGINT           NOT NULL
) WITH (fillfactor = 70);

CREATE INDEX outbox_due ON outbox (dead_at, due_at);

-- Signing keys. private is sealed. A key is published from created_at, signs
-- from signs_at, and is published until retires_at (0: no end yet).
CREATE TABLE signing_keys (
	tenant_id  BYTEA            NOT NULL,
	id         TEXT COLLATE "C" NOT NULL, -- the kid, an RFC 7638 thumbprint
	alg        TEXT COLLATE "C" NOT NULL,
	private    BYTEA            NOT NULL,
	created_at BIGINT           NOT NULL,
	signs_at   BIGINT           NOT NULL,
	retires_at BIGINT           NOT NULL,
	PRIMARY KEY (tenant_id, id)
);

-- +goose Down
DROP TABLE signing_keys;
DROP TABLE outbox;
DROP TABLE events;
DROP TABLE challenges;
DROP TABLE sessions;
DROP TABLE credentials;
DROP TABLE identities;
DROP TABLE users;
DROP TABLE server_values;
DROP TABLE tenants;
