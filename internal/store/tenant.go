package store

import (
	"errors"
	"strings"
	"time"

	"github.com/google/uuid"
)

// Tenant is a house of its own within the house: its users, keys, codes and
// events are nobody else's. The default tenant has the zero id and always is.
type Tenant struct {
	ID         TenantID
	Name       string   // unique; a part of its address
	ExternalID string   // what another system calls it, unique; empty: nothing
	Hosts      []string // names its requests come to
	RootKey    []byte   // sealed under the master key; empty: the master key itself
	Settings   []byte   // sealed under the root key; empty: none of its own
	CreatedAt  time.Time
	UpdatedAt  time.Time
	DeletedAt  time.Time // zero: it lives
}

// NewTenantID returns a random version 4 UUID.
func NewTenantID() TenantID { return TenantID(uuid.New()) }

// ParseTenantID reads the 36-character form.
func ParseTenantID(s string) (TenantID, error) { return ParseID[tenantKind](s) }

const tenantColumns = `id, name, COALESCE(external_id, ''), root_key, settings, created_at, updated_at, deleted_at`

func scanTenant(scan func(...any) error) (t Tenant, err error) {
	var created, updated, deleted int64
	err = scan(&t.ID, &t.Name, &t.ExternalID, &t.RootKey, &t.Settings, &created, &updated, &deleted)
	t.CreatedAt, t.UpdatedAt, t.DeletedAt = instant(created), instant(updated), instant(deleted)
	return t, err
}

// later is the instant of a change: now, and after the change before it even
// where the clock of that node is ahead. So no two changes have the same one.
const later = `CASE WHEN updated_at >= ? THEN updated_at + 1 ELSE ? END`

// These speak of tenants, whichever the Tx speaks for.

// AddTenant inserts t, or returns ErrDuplicate for a name, an external id or a
// host that another has.
func (tx *Tx) AddTenant(t Tenant) error {
	err := tx.later(`INSERT INTO tenants (id, name, external_id, root_key, settings, created_at, updated_at, deleted_at) VALUES (?, ?, ?, ?, ?, ?, ?, 0)`,
		t.ID, t.Name, orNull(t.ExternalID), t.RootKey, t.Settings, micros(tx.Now), micros(tx.Now))
	if err != nil {
		return err
	}
	return tx.addHosts(t)
}

// SetTenant writes the name, the external id, the hosts, the root key and the
// settings of a tenant that lives and has not changed since t was read, or
// returns ErrNotFound or ErrDuplicate.
func (tx *Tx) SetTenant(t Tenant) error {
	n, err := tx.exec(`UPDATE tenants SET name = ?, external_id = ?, root_key = ?, settings = ?, updated_at = `+later+` WHERE id = ? AND deleted_at = 0 AND updated_at = ?`,
		t.Name, orNull(t.ExternalID), t.RootKey, t.Settings, micros(tx.Now), micros(tx.Now), t.ID, micros(t.UpdatedAt))
	if err == nil && n == 0 {
		err = ErrNotFound
	}
	if err == nil {
		err = tx.later(`DELETE FROM tenant_hosts WHERE tenant_id = ?`, t.ID)
	}
	if err != nil {
		return err
	}
	return tx.addHosts(t)
}

func (tx *Tx) addHosts(t Tenant) error {
	for _, host := range t.Hosts {
		err := tx.later(`INSERT INTO tenant_hosts (host, tenant_id) VALUES (?, ?)`, host, t.ID)
		if err != nil {
			return err
		}
	}
	return nil
}

// SetRootKey replaces the sealed root key of a tenant if it is still the one
// that was read, and reports whether it was.
func (tx *Tx) SetRootKey(id TenantID, was, sealed []byte) (bool, error) {
	n, err := tx.exec(`UPDATE tenants SET root_key = ?, updated_at = `+later+` WHERE id = ? AND root_key = ?`, sealed, micros(tx.Now), micros(tx.Now), id, was)
	return n == 1, err
}

// RetireTenant ends a tenant: its name, its hosts and its external id are free
// again, its endpoints are sent nothing more, and its rows go by and by
// (SweepTenant). The default tenant stays.
func (tx *Tx) RetireTenant(id TenantID) error {
	if id.IsZero() {
		return ErrNotFound
	}
	n, err := tx.exec(`UPDATE tenants SET name = ?, external_id = NULL, settings = NULL, updated_at = `+later+`, deleted_at = ? WHERE id = ? AND deleted_at = 0`,
		"deleted "+id.String(), micros(tx.Now), micros(tx.Now), micros(tx.Now), id)
	if err == nil && n == 0 {
		return ErrNotFound
	}
	if err != nil {
		return err
	}
	err = tx.dropWebhooks(id)
	if err != nil {
		return err
	}
	return tx.later(`DELETE FROM tenant_hosts WHERE tenant_id = ?`, id)
}

// TenantByID returns a tenant that lives, with its hosts.
func (tx *Tx) TenantByID(id TenantID) (Tenant, error) {
	return tx.tenantWhere(`id = ?`, id)
}

// TenantByName, TenantByExternalID and TenantByHost return the living tenant
// that is called so.
func (tx *Tx) TenantByName(name string) (Tenant, error) { return tx.tenantWhere(`name = ?`, name) }

// TenantByExternalID is described at TenantByName.
func (tx *Tx) TenantByExternalID(id string) (Tenant, error) {
	return tx.tenantWhere(`external_id = ?`, id)
}

// TenantByHost is described at TenantByName.
func (tx *Tx) TenantByHost(host string) (Tenant, error) {
	return tx.tenantWhere(`id = (SELECT tenant_id FROM tenant_hosts WHERE host = ?)`, host)
}

func (tx *Tx) tenantWhere(where string, arg any) (t Tenant, err error) {
	found := false
	err = tx.rows(`SELECT `+tenantColumns+` FROM tenants WHERE deleted_at = 0 AND `+where, []any{arg}, func(scan func(...any) error) (err error) {
		found = true
		t, err = scanTenant(scan)
		return err
	})
	if err == nil && !found {
		err = ErrNotFound
	}
	if err != nil {
		return t, err
	}
	err = tx.rows(`SELECT host FROM tenant_hosts WHERE tenant_id = ? ORDER BY host`, []any{t.ID}, func(scan func(...any) error) error {
		var host string
		err := scan(&host)
		t.Hosts = append(t.Hosts, host)
		return err
	})
	return t, err
}

// Tenants returns up to limit tenants whose id is greater than one, in order;
// deleted ones too, for what becomes of their rows.
func (tx *Tx) Tenants(after TenantID, limit int) (list []TenantID, err error) {
	err = tx.rows(`SELECT id FROM tenants WHERE id > ? ORDER BY id LIMIT ?`, []any{after, limit}, func(scan func(...any) error) error {
		var id TenantID
		err := scan(&id)
		list = append(list, id)
		return err
	})
	return list, err
}

// TenantPage returns up to limit living tenants whose name comes after one, by
// name.
func (tx *Tx) TenantPage(after string, limit int) (list []Tenant, err error) {
	at := map[TenantID]int{}
	err = tx.rows(`SELECT `+tenantColumns+` FROM tenants WHERE name > ? AND deleted_at = 0 ORDER BY name LIMIT ?`, []any{after, limit},
		func(scan func(...any) error) error {
			t, err := scanTenant(scan)
			at[t.ID] = len(list)
			list = append(list, t)
			return err
		})
	if err != nil || len(list) == 0 {
		return nil, err
	}
	err = tx.rows(`SELECT h.tenant_id, h.host FROM tenant_hosts h JOIN tenants t ON t.id = h.tenant_id
		WHERE t.name > ? AND t.name <= ? AND t.deleted_at = 0 ORDER BY h.host`, []any{after, list[len(list)-1].Name}, func(scan func(...any) error) error {
		var id TenantID
		var host string
		err := scan(&id, &host)
		if i, ok := at[id]; ok {
			list[i].Hosts = append(list[i].Hosts, host)
		}
		return err
	})
	return list, err
}

// TenantsChanged returns when each tenant was changed that was since an instant;
// deleted ones are among them.
func (tx *Tx) TenantsChanged(since time.Time) (map[TenantID]time.Time, error) {
	changed := map[TenantID]time.Time{}
	err := tx.rows(`SELECT id, updated_at FROM tenants WHERE updated_at >= ?`, []any{micros(since)}, func(scan func(...any) error) error {
		var id TenantID
		var at int64
		err := scan(&id, &at)
		changed[id] = instant(at)
		return err
	})
	return changed, err
}

// HoldTenant locks the row of the Tx's tenant until the commit: of two who want
// to do what is done once for a tenant the second waits, and then sees what the
// first has done. It marks the tenant as changed.
func (tx *Tx) HoldTenant() error {
	n, err := tx.exec(`UPDATE tenants SET updated_at = `+later+` WHERE id = ?`, micros(tx.Now), micros(tx.Now), tx.Tenant)
	if err == nil && n == 0 {
		err = ErrNotFound
	}
	return err
}

// DeletedTenants returns up to limit tenants whose rows are to be cleared away.
func (tx *Tx) DeletedTenants(limit int) (list []TenantID, err error) {
	err = tx.rows(`SELECT id FROM tenants WHERE deleted_at > 0 ORDER BY id LIMIT ?`, []any{limit}, func(scan func(...any) error) error {
		var id TenantID
		err := scan(&id)
		list = append(list, id)
		return err
	})
	return list, err
}

// errLives guards against clearing away what is in use.
var errLives = errors.New("store: the tenant is not deleted")

// belongings are the tables of a tenant's rows and their keys, those that
// others hang on last.
var belongings = []struct{ table, key string }{
	{"outbox", "id"},
	{"webhook_endpoints", "id"}, // before their deliveries: without one nothing more is promised or sent
	{"webhook_deliveries", "endpoint_id, event_id"},
	{"audit_queue", "event_id"},
	{"audit_trail", "seq"},
	{"audit_checkpoints", "seq, kind"},
	{"audit_heads", "seq"},
	{"events", "id"},
	{"signing_keys", "id"},
	{"connection_domains", "domain"},
	{"connections", "id"},
	{"counters", "name, subject"},
	{"challenges", "kind, subject"},
	{"sessions", "id"},
	{"credentials", "kind, lookup"},
	{"identities", "provider, issuer, subject"},
	{"users", "id"},
	{"user_counts", "slot"},
}

// SweepTenant deletes up to limit rows of the Tx's tenant, which is deleted, and
// returns how many; when none is left, the tenant itself, once nobody can be at
// work in it any more.
func (tx *Tx) SweepTenant(limit int) (int, error) {
	var deleted int64
	err := tx.row(`SELECT deleted_at FROM tenants WHERE id = ?`, []any{tx.Tenant}, &deleted)
	if errors.Is(err, ErrNotFound) {
		return 0, nil
	}
	if err == nil && deleted == 0 {
		err = errLives
	}
	if err != nil {
		return 0, err
	}
	gone := 0
	for _, b := range belongings {
		drop := `DELETE FROM ` + b.table + ` WHERE ` + keyed(b.key) + ` AND tenant_id = ?`
		n, err := tx.bite(`SELECT `+b.key+` FROM `+b.table+` WHERE tenant_id = ? LIMIT ?`, []any{tx.Tenant, limit - gone}, drop, tx.Tenant)
		gone += n
		if gone >= limit || err != nil {
			return gone, err
		}
	}
	// Requests that were under way when it was deleted may still have written.
	return gone, tx.later(`DELETE FROM tenants WHERE id = ? AND deleted_at < ?`, tx.Tenant, micros(tx.Now.Add(-graveTime)))
}

// graveTime is longer than any request takes.
const graveTime = time.Hour

// keyed is the condition for one row by the columns of its key.
func keyed(key string) string {
	return strings.ReplaceAll(key, ", ", " = ? AND ") + " = ?"
}
