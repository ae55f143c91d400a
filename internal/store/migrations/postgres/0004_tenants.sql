-- Not to be undone: the root keys of tenants, under which everything is sealed,
-- would be gone, and with them all that is sealed.

-- Each statement is a transaction by itself and may run again, as in 0003.
-- +goose NO TRANSACTION

-- +goose Up
ALTER TABLE tenants ADD COLUMN IF NOT EXISTS external_id TEXT COLLATE "C", -- what another system calls it (Netlify's uuid)
	ADD COLUMN IF NOT EXISTS root_key   BYTEA  NOT NULL DEFAULT '', -- sealed under the master key
	ADD COLUMN IF NOT EXISTS settings   BYTEA,                      -- sealed under the root key; they hold secrets
	ADD COLUMN IF NOT EXISTS deleted_at BIGINT NOT NULL DEFAULT 0;  -- its rows are being cleared away

CREATE UNIQUE INDEX IF NOT EXISTS tenants_external ON tenants (external_id);
CREATE INDEX IF NOT EXISTS tenants_updated ON tenants (updated_at);

-- The host names requests for a tenant come to.
CREATE TABLE IF NOT EXISTS tenant_hosts (
	host      TEXT  COLLATE "C" NOT NULL PRIMARY KEY,
	tenant_id BYTEA NOT NULL REFERENCES tenants (id)
);

CREATE INDEX IF NOT EXISTS tenant_hosts_tenant ON tenant_hosts (tenant_id);

-- +goose Down
DROP TABLE IF EXISTS tenant_hosts;
-- tenants_updated stays: it is named without its schema, and harms nobody.
ALTER TABLE tenants DROP COLUMN IF EXISTS deleted_at, DROP COLUMN IF EXISTS settings, DROP COLUMN IF EXISTS root_key, DROP COLUMN IF EXISTS external_id;
