-- Not to be undone: what operators have added would go, with its secrets, and
-- nobody could sign in by it any more.

-- Each statement is a transaction by itself and may run again, as in 0003.
-- +goose NO TRANSACTION

-- +goose Up
-- What operators add at run time: providers of accounts, and companies' own
-- identity providers.
CREATE TABLE IF NOT EXISTS connections (
	tenant_id  BYTEA            NOT NULL,
	id         BYTEA            NOT NULL,
	kind       TEXT COLLATE "C" NOT NULL, -- custom, saml
	name       TEXT COLLATE "C" NOT NULL, -- the provider's; the entity id of an identity provider
	alias      TEXT COLLATE "C",          -- what an administrator's own system calls it
	data       BYTEA            NOT NULL, -- sealed
	created_at BIGINT           NOT NULL,
	updated_at BIGINT           NOT NULL,
	PRIMARY KEY (tenant_id, id)
);

CREATE UNIQUE INDEX IF NOT EXISTS connections_name  ON connections (tenant_id, kind, name);
CREATE UNIQUE INDEX IF NOT EXISTS connections_alias ON connections (tenant_id, kind, alias);

-- Which company signs in those whose addresses are of a domain.
CREATE TABLE IF NOT EXISTS connection_domains (
	tenant_id     BYTEA            NOT NULL,
	domain        TEXT COLLATE "C" NOT NULL,
	connection_id BYTEA            NOT NULL,
	PRIMARY KEY (tenant_id, domain)
);

CREATE INDEX IF NOT EXISTS connection_domains_of ON connection_domains (tenant_id, connection_id);

-- +goose Down
DROP TABLE IF EXISTS connection_domains;
DROP TABLE IF EXISTS connections;
