-- Not to be undone: the root keys of tenants, under which everything is sealed,
-- would be gone, and with them all that is sealed.

-- +goose Up
SET @change = IF((SELECT COUNT(*) FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = /* TABLE */ 'tenants' AND column_name = 'root_key') > 0, 'DO 0',
	'ALTER TABLE tenants ADD COLUMN external_id VARBINARY(64) NULL, ADD COLUMN root_key VARBINARY(255) NOT NULL DEFAULT '''', ADD COLUMN settings MEDIUMBLOB NULL, ADD COLUMN deleted_at BIGINT NOT NULL DEFAULT 0, ADD UNIQUE KEY tenants_external (external_id), ADD KEY tenants_updated (updated_at)');
PREPARE change_tenants FROM @change;
EXECUTE change_tenants;
DEALLOCATE PREPARE change_tenants;

-- The host names requests for a tenant come to.
CREATE TABLE IF NOT EXISTS tenant_hosts (
	host      VARBINARY(255) NOT NULL PRIMARY KEY,
	tenant_id BINARY(16)     NOT NULL,
	KEY tenant_hosts_tenant (tenant_id),
	FOREIGN KEY (tenant_id) REFERENCES tenants (id)
) ENGINE = InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- +goose Down
DROP TABLE IF EXISTS tenant_hosts;

SET @change = IF((SELECT COUNT(*) FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = /* TABLE */ 'tenants' AND column_name = 'root_key') = 0, 'DO 0',
	'ALTER TABLE tenants DROP KEY tenants_updated, DROP KEY tenants_external, DROP COLUMN deleted_at, DROP COLUMN settings, DROP COLUMN root_key, DROP COLUMN external_id');
PREPARE change_tenants FROM @change;
EXECUTE change_tenants;
DEALLOCATE PREPARE change_tenants;
