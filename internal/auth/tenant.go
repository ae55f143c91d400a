package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"gatehouse/internal/secret"
	"gatehouse/internal/store"
)

// Tenants are the houses within the house: each with users, keys, codes and
// settings of its own. Only the operator of the server makes them; it is told
// in the trail of the default tenant. Its methods may be called from many
// goroutines.
type Tenants struct {
	opt TenantsOptions
}

// TenantsOptions are what Tenants is made of.
type TenantsOptions struct {
	Home *Service // of the default tenant
	Keys RootKeys
	// Sound refuses a tenant that could not be put to work, with an *Error that
	// says why. It is asked before the tenant is kept, and outside a transaction.
	Sound func(context.Context, Tenant) error
	// Changed is called after a commit that changed a tenant; nil: nobody hears.
	Changed func(TenantID)
}

// RootKeys makes and opens the root keys of tenants.
type RootKeys interface {
	Make(id TenantID) (root *secret.Root, sealed []byte, err error)
	Open(t store.Tenant) (*secret.Root, error)
}

// Tenant is a tenant as its operator sees it.
type Tenant struct {
	ID         TenantID
	Name       string            // unique: a part of its address
	ExternalID string            // what another system calls it, unique; empty: nothing
	Hosts      []string          // names its requests come to
	Settings   map[string]string // by name; they hold secrets
	Instance   json.RawMessage   // what the edge it was made by keeps of it
	CreatedAt  time.Time
	UpdatedAt  time.Time
}

// kept is what the sealed settings of a tenant's row hold.
type keptTenant struct {
	Settings map[string]string `json:"settings,omitempty"`
	Instance json.RawMessage   `json:"instance,omitempty"`
}

// NewTenants returns Tenants.
func NewTenants(o TenantsOptions) *Tenants {
	if o.Changed == nil {
		o.Changed = func(TenantID) {}
	}
	return &Tenants{o}
}

const settingsSeal = "tenant settings"

// ReadTenant opens a tenant's row.
func ReadTenant(row store.Tenant, root *secret.Root) (Tenant, error) {
	t := Tenant{ID: row.ID, Name: row.Name, ExternalID: row.ExternalID, Hosts: row.Hosts, CreatedAt: row.CreatedAt, UpdatedAt: row.UpdatedAt}
	if len(row.Settings) == 0 {
		return t, nil
	}
	var k keptTenant
	body, err := root.Open(settingsSeal, row.ID[:], row.Settings)
	if err == nil {
		err = json.Unmarshal(body, &k)
	}
	if err != nil {
		return t, fmt.Errorf("auth: the settings of tenant %s: %w", row.Name, err)
	}
	t.Settings, t.Instance = k.Settings, k.Instance
	return t, nil
}

func (t Tenant) row(root *secret.Root, sealedRoot []byte) (store.Tenant, error) {
	body, err := json.Marshal(keptTenant{t.Settings, t.Instance})
	if err != nil {
		return store.Tenant{}, fmt.Errorf("auth: tenant: %w", err)
	}
	return store.Tenant{
		ID: t.ID, Name: t.Name, ExternalID: t.ExternalID, Hosts: t.Hosts, RootKey: sealedRoot, Settings: root.Seal(settingsSeal, t.ID[:], body),
		CreatedAt: t.CreatedAt, UpdatedAt: t.UpdatedAt,
	}, nil
}

var (
	tenantName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	hostName   = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
)

const (
	maxHosts    = 50
	maxSettings = 64 << 10 // bytes
)

// check brings a tenant into its one form, or says what is wrong with it.
func (t *Tenant) check() error {
	if !tenantName.MatchString(t.Name) {
		return Invalid("name", "The name of a tenant is 1 to 63 small letters, digits and hyphens, with no hyphen at its ends")
	}
	if len(t.ExternalID) > 64 {
		return Invalid("external_id", "An external id has at most 64 bytes")
	}
	if len(t.Hosts) > maxHosts {
		return Invalid("hosts", fmt.Sprintf("A tenant has at most %d hosts", maxHosts))
	}
	for i, h := range t.Hosts {
		h = strings.ToLower(strings.TrimSuffix(strings.TrimSpace(h), "."))
		if len(h) > 253 || !hostName.MatchString(h) {
			return Invalid("hosts", fmt.Sprintf("%q is not the name of a host: write it without scheme, port and path, in ASCII", cut(h, 100)))
		}
		t.Hosts[i] = h
	}
	slices.Sort(t.Hosts)
	t.Hosts = slices.Compact(t.Hosts)
	n := len(t.Instance)
	for k, v := range t.Settings {
		n += len(k) + len(v)
	}
	if n > maxSettings {
		return Invalid("settings", "The settings of a tenant have at most 64 KiB")
	}
	return nil
}

// Add makes a tenant; of t the id, the times and what is not set are filled in.
//
// Codes: InvalidInput, TenantTaken. Events: TenantAdded.
func (s *Tenants) Add(ctx context.Context, c Caller, t Tenant) (*Tenant, error) {
	if t.ID.IsZero() {
		t.ID = store.NewTenantID()
	}
	if t.Name == "" {
		t.Name = strings.ToLower(t.ID.String())
	}
	t.Hosts = slices.Clone(t.Hosts)
	err := t.check()
	if err == nil {
		err = s.opt.Sound(ctx, t)
	}
	if err != nil {
		return nil, err
	}
	root, sealed, err := s.opt.Keys.Make(t.ID)
	if err != nil {
		return nil, err
	}
	row, err := t.row(root, sealed)
	if err != nil {
		return nil, err
	}
	home := s.opt.Home
	err = home.db.Write(ctx, home.tenant, func(tx *store.Tx) error {
		t.CreatedAt, t.UpdatedAt = tx.Now, tx.Now
		err := tx.AddTenant(row)
		if err == nil {
			err = home.emit(tx, c, TenantAdded, UserID{}, SessionID{}, t.told())
		}
		return err
	})
	if errors.Is(err, store.ErrDuplicate) {
		return nil, fail(TenantTaken)
	}
	if err != nil {
		return nil, err
	}
	s.opt.Changed(t.ID)
	return &t, nil
}

// told is what the trail says of a tenant: the names of its settings, never
// their values.
func (t Tenant) told() map[string]any {
	return map[string]any{"tenant": t.ID.String(), "name": t.Name, "hosts": t.Hosts, "settings": slices.Sorted(maps.Keys(t.Settings))}
}

// Set changes a tenant: change is given it as it is, and may be called more than
// once. The default tenant is set up by the configuration of the server alone.
//
// Codes: InvalidInput, TenantNotFound, TenantTaken. Events: TenantUpdated.
func (s *Tenants) Set(ctx context.Context, c Caller, id TenantID, change func(*Tenant) error) (*Tenant, error) {
	if id.IsZero() {
		return nil, Invalid("id", "The default tenant is set up by the configuration of the server")
	}
	for range maxRaces {
		row, t, root, err := s.read(ctx, func(tx *store.Tx) (store.Tenant, error) { return tx.TenantByID(id) })
		if err != nil {
			return nil, err
		}
		err = change(&t)
		if err == nil {
			err = t.check()
		}
		if err == nil {
			err = s.opt.Sound(ctx, t)
		}
		if err != nil {
			return nil, err
		}
		next, err := t.row(root, row.RootKey)
		if err != nil {
			return nil, err
		}
		home := s.opt.Home
		err = home.db.Write(ctx, home.tenant, func(tx *store.Tx) error {
			t.UpdatedAt = tx.Now
			err := tx.SetTenant(next)
			if err == nil {
				err = home.emit(tx, c, TenantUpdated, UserID{}, SessionID{}, t.told())
			}
			return err
		})
		switch {
		case errors.Is(err, store.ErrNotFound): // it has changed meanwhile: once more
		case errors.Is(err, store.ErrDuplicate):
			return nil, fail(TenantTaken)
		case err != nil:
			return nil, err
		default:
			s.opt.Changed(id)
			return &t, nil
		}
	}
	return nil, fail(Busy)
}

// Drop deletes a tenant with everything in it. Nobody reaches it from then on;
// its rows go by and by.
//
// Codes: TenantNotFound. Events: TenantDeleted.
func (s *Tenants) Drop(ctx context.Context, c Caller, id TenantID) error {
	home := s.opt.Home
	err := home.db.Write(ctx, home.tenant, func(tx *store.Tx) error {
		t, err := tx.TenantByID(id)
		if err == nil {
			err = tx.RetireTenant(id)
		}
		if err == nil {
			err = home.emit(tx, c, TenantDeleted, UserID{}, SessionID{}, map[string]any{"tenant": id.String(), "name": t.Name})
		}
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		return fail(TenantNotFound)
	}
	if err == nil {
		s.opt.Changed(id)
	}
	return err
}

// Tenant returns a tenant by its id.
//
// Codes: TenantNotFound.
func (s *Tenants) Tenant(ctx context.Context, id TenantID) (*Tenant, error) {
	_, t, _, err := s.read(ctx, func(tx *store.Tx) (store.Tenant, error) { return tx.TenantByID(id) })
	return &t, err
}

// TenantByName returns a tenant by its name, or the 36-character form of its id.
//
// Codes: TenantNotFound.
func (s *Tenants) TenantByName(ctx context.Context, name string) (*Tenant, error) {
	_, t, _, err := s.read(ctx, func(tx *store.Tx) (store.Tenant, error) {
		row, err := tx.TenantByName(name)
		id, no := store.ParseTenantID(name)
		if errors.Is(err, store.ErrNotFound) && no == nil {
			row, err = tx.TenantByID(id)
		}
		return row, err
	})
	return &t, err
}

// List returns up to limit tenants whose names come after one, by name.
func (s *Tenants) List(ctx context.Context, after string, limit int) ([]Tenant, error) {
	var rows []store.Tenant
	err := s.opt.Home.db.Read(ctx, s.opt.Home.tenant, func(tx *store.Tx) (err error) {
		rows, err = tx.TenantPage(after, limit)
		return err
	})
	if err != nil {
		return nil, err
	}
	list := make([]Tenant, 0, len(rows))
	for _, row := range rows {
		t, _, err := s.open(row)
		if err != nil {
			return nil, err
		}
		list = append(list, t)
	}
	return list, nil
}

func (s *Tenants) read(ctx context.Context, find func(*store.Tx) (store.Tenant, error)) (row store.Tenant, t Tenant, root *secret.Root, err error) {
	err = s.opt.Home.db.Read(ctx, s.opt.Home.tenant, func(tx *store.Tx) (err error) {
		row, err = find(tx)
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		err = fail(TenantNotFound)
	}
	if err != nil {
		return row, t, nil, err
	}
	t, root, err = s.open(row)
	return row, t, root, err
}

func (s *Tenants) open(row store.Tenant) (t Tenant, root *secret.Root, err error) {
	root, err = s.opt.Keys.Open(row)
	if err == nil {
		t, err = ReadTenant(row, root)
	}
	return t, root, err
}
