-- Not to be undone: what operators have added would go, with its secrets, and
-- nobody could sign in by it any more.

-- +goose Up
-- What operators add at run time: providers of accounts, and companies' own
-- identity providers.
CREATE TABLE connections (
	tenant_id  BLOB   NOT NULL,
	id         BLOB   NOT NULL,
	kind       TEXT   NOT NULL, -- custom, saml
	name       TEXT   NOT NULL, -- the provider's; the entity id of an identity provider
	alias      TEXT,            -- what an administrator's own system calls it
	data       BLOB   NOT NULL, -- sealed
	created_at BIGINT NOT NULL,
	updated_at BIGINT NOT NULL,
	PRIMARY KEY (tenant_id, id)
) WITHOUT ROWID;

CREATE UNIQUE INDEX connections_name  ON connections (tenant_id, kind, name);
CREATE UNIQUE INDEX connections_alias ON connections (tenant_id, kind, alias);

-- Which company signs in those whose addresses are of a domain.
CREATE TABLE connection_domains (
	tenant_id     BLOB NOT NULL,
	domain        TEXT NOT NULL,
	connection_id BLOB NOT NULL,
	PRIMARY KEY (tenant_id, domain)
) WITHOUT ROWID;

CREATE INDEX connection_domains_of ON connection_domains (tenant_id, connection_id);

-- +goose Down
DROP TABLE connection_domains;
DROP TABLE connections;
