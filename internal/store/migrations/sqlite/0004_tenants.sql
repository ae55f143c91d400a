-- Not to be undone: the root keys of tenants, under which everything is sealed,
-- would be gone, and with them all that is sealed.

-- +goose Up
ALTER TABLE tenants ADD COLUMN external_id TEXT;                        -- what another system calls it (Netlify's uuid)
ALTER TABLE tenants ADD COLUMN root_key    BLOB   NOT NULL DEFAULT x''; -- sealed under the master key
ALTER TABLE tenants ADD COLUMN settings    BLOB;                        -- sealed under the root key; they hold secrets
ALTER TABLE tenants ADD COLUMN deleted_at  BIGINT NOT NULL DEFAULT 0;   -- its rows are being cleared away

CREATE UNIQUE INDEX tenants_external ON tenants (external_id);
CREATE INDEX        tenants_updated  ON tenants (updated_at);

-- The host names requests for a tenant come to.
CREATE TABLE tenant_hosts (
	host      TEXT NOT NULL PRIMARY KEY,
	tenant_id BLOB NOT NULL REFERENCES tenants (id)
) WITHOUT ROWID;

CREATE INDEX tenant_hosts_tenant ON tenant_hosts (tenant_id);

-- +goose Down
DROP TABLE tenant_hosts;
DROP INDEX tenants_updated;
DROP INDEX tenants_external;
ALTER TABLE tenants DROP COLUMN deleted_at;
ALTER TABLE tenants DROP COLUMN settings;
ALTER TABLE tenants DROP COLUMN root_key;
ALTER TABLE tenants DROP COLUMN external_id;
