-- Not to be undone: what operators have added would go, with its secrets, and
-- nobody could sign in by it any more.

-- +goose Up
-- What operators add at run time: providers of accounts, and companies' own
-- identity providers.
CREATE TABLE IF NOT EXISTS connections (
	tenant_id  BINARY(16)      NOT NULL,
	id         BINARY(16)      NOT NULL,
	kind       VARBINARY(16)   NOT NULL, -- custom, saml
	name       VARBINARY(1024) NOT NULL, -- the provider's; the entity id of an identity provider
	alias      VARBINARY(255)  NULL,     -- what an administrator's own system calls it
	data       MEDIUMBLOB      NOT NULL, -- sealed
	created_at BIGINT          NOT NULL,
	updated_at BIGINT          NOT NULL,
	PRIMARY KEY (tenant_id, id),
	UNIQUE KEY connections_name (tenant_id, kind, name),
	UNIQUE KEY connections_alias (tenant_id, kind, alias)
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Which company signs in those whose addresses are of a domain.
CREATE TABLE IF NOT EXISTS connection_domains (
	tenant_id     BINARY(16)     NOT NULL,
	domain        VARBINARY(255) NOT NULL,
	connection_id BINARY(16)     NOT NULL,
	PRIMARY KEY (tenant_id, domain),
	KEY connection_domains_of (tenant_id, connection_id)
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Names of custom providers are longer than those of ours.
ALTER TABLE identities MODIFY provider VARBINARY(128) NOT NULL;

-- +goose Down
DROP TABLE IF EXISTS connection_domains;
DROP TABLE IF EXISTS connections;
