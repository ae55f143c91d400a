-- Instants are microseconds since 1970 UTC, 0 for never. Ids are 16 bytes.
-- Every key starts with the tenant; the default tenant is 16 zero bytes.
-- VARBINARY compares byte-wise, as the other engines do: the collations would
-- let abc, ABC and "abc " meet. MySQL cannot take a half-made change of tables
-- back, so that each statement here may be run again.

-- +goose Up
CREATE TABLE IF NOT EXISTS tenants (
	id         BINARY(16)     NOT NULL PRIMARY KEY,
	name       VARBINARY(100) NOT NULL UNIQUE,
	created_at BIGINT         NOT NULL,
	updated_at BIGINT         NOT NULL
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

INSERT IGNORE INTO tenants (id, name, created_at, updated_at) VALUES (x'00000000000000000000000000000000', 'default', 0, 0);

-- Single values the server keeps about itself.
CREATE TABLE IF NOT EXISTS server_values (
	name  VARBINARY(100) NOT NULL PRIMARY KEY,
	value MEDIUMBLOB     NOT NULL
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS users (
	tenant_id                BINARY(16)     NOT NULL,
	id                       BINARY(16)     NOT NULL,
	number                   BIGINT, -- for clients that need a small integer
	aud                      VARBINARY(255) NOT NULL,
	role                     VARBINARY(255) NOT NULL,
	username                 VARBINARY(255),
	email                    VARBINARY(320), -- canonical, or NULL
	email_verified_at        BIGINT         NOT NULL,
	phone                    VARBINARY(32),
	phone_verified_at        BIGINT         NOT NULL,
	new_email                VARBINARY(320) NOT NULL, -- wanted, not yet proved
	email_change_proved      SMALLINT       NOT NULL, -- 1 the old address said yes, 2 the new one did
	email_change_sent_at     BIGINT         NOT NULL,
	confirmation_sent_at     BIGINT         NOT NULL,
	recovery_sent_at         BIGINT         NOT NULL,
	reauthentication_sent_at BIGINT         NOT NULL,
	invited_at               BIGINT         NOT NULL,
	last_sign_in_at          BIGINT         NOT NULL,
	banned_until             BIGINT         NOT NULL,
	deleted_at               BIGINT         NOT NULL,
	is_anonymous             BOOLEAN        NOT NULL,
	app_metadata             MEDIUMTEXT     NOT NULL, -- a JSON object, the server's
	user_metadata            MEDIUMTEXT     NOT NULL, -- a JSON object, the user's
	created_at               BIGINT         NOT NULL,
	updated_at               BIGINT         NOT NULL,
	PRIMARY KEY (tenant_id, id),
	FOREIGN KEY (tenant_id) REFERENCES tenants (id),
	UNIQUE KEY users_email (tenant_id, email),
	UNIQUE KEY users_phone (tenant_id, phone),
	UNIQUE KEY users_username (tenant_id, username),
	UNIQUE KEY users_number (tenant_id, number),
	KEY users_created (tenant_id, created_at, id)
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS identities (
	tenant_id       BINARY(16)     NOT NULL,
	provider        VARBINARY(64)  NOT NULL,
	issuer          VARBINARY(255) NOT NULL,
	subject         VARBINARY(255) NOT NULL,
	id              BINARY(16)     NOT NULL,
	user_id         BINARY(16)     NOT NULL,
	email           VARBINARY(320) NOT NULL,
	data            MEDIUMTEXT     NOT NULL, -- a JSON object
	last_sign_in_at BIGINT         NOT NULL,
	created_at      BIGINT         NOT NULL,
	updated_at      BIGINT         NOT NULL,
	PRIMARY KEY (tenant_id, provider, issuer, subject),
	FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id) ON DELETE CASCADE,
	UNIQUE KEY identities_id (tenant_id, id),
	KEY identities_user (tenant_id, user_id, created_at)
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- data is read and written only by the way in named kind.
CREATE TABLE IF NOT EXISTS credentials (
	tenant_id  BINARY(16)      NOT NULL,
	kind       VARBINARY(64)   NOT NULL,
	lookup     VARBINARY(1024) NOT NULL, -- unique within kind: a passkey's id, for a password the user's
	id         BINARY(16)      NOT NULL,
	user_id    BINARY(16)      NOT NULL,
	data       MEDIUMBLOB      NOT NULL,
	created_at BIGINT          NOT NULL,
	updated_at BIGINT          NOT NULL,
	PRIMARY KEY (tenant_id, kind, lookup),
	FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id) ON DELETE CASCADE,
	KEY credentials_user (tenant_id, user_id, kind)
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- A session keeps one row for its whole life: a refresh moves its generation.
CREATE TABLE IF NOT EXISTS sessions (
	tenant_id         BINARY(16)      NOT NULL,
	id                BINARY(16)      NOT NULL,
	user_id           BINARY(16)      NOT NULL,
	generation        BIGINT          NOT NULL,
	rotated_at        BIGINT          NOT NULL, -- when generation-1 was traded for generation
	parent_rotated_at BIGINT          NOT NULL, -- when generation-2 was traded for generation-1
	aal               SMALLINT        NOT NULL,
	amr               MEDIUMTEXT      NOT NULL, -- JSON: [{"method","timestamp"}], newest first
	user_agent        VARBINARY(1024) NOT NULL,
	ip                VARBINARY(64)   NOT NULL,
	not_after         BIGINT          NOT NULL,
	created_at        BIGINT          NOT NULL,
	refreshed_at      BIGINT          NOT NULL,
	ended_at          BIGINT          NOT NULL,
	end_reason        VARBINARY(100)  NOT NULL,
	PRIMARY KEY (tenant_id, id),
	FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id) ON DELETE CASCADE,
	KEY sessions_user (tenant_id, user_id),
	KEY sessions_ended (ended_at)
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- A question waiting for its answer, at most one of a kind for each subject.
CREATE TABLE IF NOT EXISTS challenges (
	tenant_id       BINARY(16)     NOT NULL,
	kind            VARBINARY(64)  NOT NULL,
	subject         VARBINARY(255) NOT NULL, -- the user's id, or the question's own
	id              BINARY(16)     NOT NULL,
	user_id         BINARY(16), -- gone with the user
	token_hash      VARBINARY(64)  NOT NULL, -- keyed, of the long secret in the link
	code_hash       VARBINARY(64)  NOT NULL, -- keyed, of the short one to type; empty: none
	sent_to         VARBINARY(320) NOT NULL,
	data            MEDIUMTEXT     NOT NULL, -- a JSON object
	tries           INTEGER        NOT NULL, -- wrong codes, also of the codes before this one
	tries_since     BIGINT         NOT NULL,
	code_expires_at BIGINT         NOT NULL,
	expires_at      BIGINT         NOT NULL,
	used_at         BIGINT         NOT NULL,
	created_at      BIGINT         NOT NULL,
	PRIMARY KEY (tenant_id, kind, subject),
	FOREIGN KEY (tenant_id, user_id) REFERENCES users (tenant_id, id) ON DELETE CASCADE,
	UNIQUE KEY challenges_token (tenant_id, token_hash),
	KEY challenges_user (tenant_id, user_id),
	KEY challenges_sent (tenant_id, sent_to, kind),
	KEY challenges_expires (expires_at)
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS events (
	tenant_id  BINARY(16)     NOT NULL,
	id         BINARY(16)     NOT NULL,
	name       VARBINARY(100) NOT NULL,
	actor      VARBINARY(255) NOT NULL, -- a user's id, or what acted: operator, cli, system
	user_id    BINARY(16)     NOT NULL, -- whom it happened to; kept when the user is gone
	session_id BINARY(16)     NOT NULL,
	ip         VARBINARY(64)  NOT NULL,
	request_id VARBINARY(255) NOT NULL,
	data       MEDIUMTEXT     NOT NULL, -- a JSON object
	created_at BIGINT         NOT NULL,
	PRIMARY KEY (tenant_id, id),
	KEY events_user (tenant_id, user_id, id)
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- What a commit promised to send. The body is sealed: it holds codes.
CREATE TABLE IF NOT EXISTS outbox (
	id         BINARY(16)    NOT NULL PRIMARY KEY,
	tenant_id  BINARY(16)    NOT NULL,
	kind       VARBINARY(64) NOT NULL,
	body       MEDIUMBLOB    NOT NULL,
	due_at     BIGINT        NOT NULL,
	tries      INTEGER       NOT NULL,
	expires_at BIGINT        NOT NULL,
	dead_at    BIGINT        NOT NULL,
	last_error MEDIUMTEXT    NOT NULL,
	created_at BIGINT        NOT NULL,
	KEY outbox_due (dead_at, due_at)
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Signing keys. private is sealed. A key is published from created_at, signs
-- from signs_at, and is published until retires_at (0: no end yet).
CREATE TABLE IF NOT EXISTS signing_keys (
	tenant_id  BINARY(16)     NOT NULL,
	id         VARBINARY(128) NOT NULL, -- the kid, an RFC 7638 thumbprint
	alg        VARBINARY(16)  NOT NULL,
	private    MEDIUMBLOB     NOT NULL,
	created_at BIGINT         NOT NULL,
	signs_at   BIGINT         NOT NULL,
	retires_at BIGINT         NOT NULL,
	PRIMARY KEY (tenant_id, id)
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- +goose Down
DROP TABLE IF EXISTS signing_keys;
DROP TABLE IF EXISTS outbox;
DROP TABLE IF EXISTS events;
DROP TABLE IF EXISTS challenges;
DROP TABLE IF EXISTS sessions;
DROP TABLE IF EXISTS credentials;
DROP TABLE IF EXISTS identities;
DROP TABLE IF EXISTS users;
DROP TABLE IF EXISTS server_values;
DROP TABLE IF EXISTS tenants;
