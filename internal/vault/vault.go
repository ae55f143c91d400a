// Package vault keeps the root key of each tenant, from which every other key of
// that tenant is derived: the keys of its codes and tokens, and those its
// secrets are sealed with. Root keys lie in the database, sealed under the
// master key, which is never there. Begin with Vault.Root.
//
// It must never hand out the root key of a tenant for another one's, nor write
// one anywhere unsealed.
package vault

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"gatehouse/internal/secret"
	"gatehouse/internal/store"
)

// Vault opens root keys. Its methods may be called from many goroutines.
type Vault struct {
	db      *store.DB
	masters []*secret.Root // the first seals, all open

	mu    sync.Mutex
	roots map[store.TenantID]*secret.Root // opened; as many as most
}

// most is how many opened root keys are kept, each with the ciphers made of it.
// One more empties the list.
const most = 1_000

// New returns a Vault. Begin is called before anything else. older are master
// keys that still open what has not been sealed anew (Rewrap).
func New(db *store.DB, master *secret.Root, older ...*secret.Root) *Vault {
	return &Vault{db: db, masters: append([]*secret.Root{master}, older...), roots: map[store.TenantID]*secret.Root{}}
}

// Master names the master key that seals.
func (v *Vault) Master() string { return v.masters[0].ID() }

// rootCheck names the value that the root key of the default tenant is
// recognised by.
const rootCheck = "master key check"

// Begun reports whether a database has been used before: then a master key that
// is not there is lost, and a new one would only hide it.
func Begun(ctx context.Context, db *store.DB) (begun bool, err error) {
	err = db.Read(ctx, store.TenantID{}, func(tx *store.Tx) (err error) {
		begun, err = tx.HasValue(rootCheck)
		return err
	})
	return begun, err
}

// Begin makes the root key of the default tenant where there is none, and
// refuses a master key that does not open it: with another, every session, code
// and queued mail would die silently. In a database from before tenants had
// root keys it is the master key itself.
func (v *Vault) Begin(ctx context.Context) error {
	begun, err := Begun(ctx, v.db)
	if err != nil {
		return err
	}
	var t store.Tenant
	read := func(tx *store.Tx) (err error) {
		t, err = tx.TenantByID(store.TenantID{})
		return err
	}
	err = v.db.Read(ctx, store.TenantID{}, read)
	if err != nil {
		return err
	}
	if len(t.RootKey) == 0 {
		root, err := v.first(ctx, begun)
		if err != nil {
			return err
		}
		sealed := v.masters[0].SealRoot(t.ID[:], root)
		err = v.db.Write(ctx, store.TenantID{}, func(tx *store.Tx) error {
			_, err := tx.SetRootKey(t.ID, []byte{}, sealed) // another node may have been quicker: then it is that one's
			return err
		})
		if err == nil {
			err = v.db.Read(ctx, store.TenantID{}, read)
		}
		if err != nil {
			return err
		}
	}
	root, err := v.Open(t)
	if err != nil {
		return err
	}
	return v.check(ctx, root)
}

// first returns the root key that the default tenant shall have.
func (v *Vault) first(ctx context.Context, begun bool) (*secret.Root, error) {
	if !begun {
		return secret.NewRoot(secret.GenerateRoot())
	}
	for _, m := range v.masters {
		err := v.check(ctx, m)
		if err == nil {
			return m, nil
		}
		if !errors.Is(err, errOther) {
			return nil, err
		}
	}
	return nil, errOther
}

var errOther = errors.New("the master key is not the one this database was begun with; put back GATEHOUSE_MASTER_KEY, or the file master.key of the data folder, from your backup, or name the older key in GATEHOUSE_MASTER_KEY_OLD")

// check holds a root key against the value kept of it.
func (v *Vault) check(ctx context.Context, root *secret.Root) error {
	mine := root.MAC(rootCheck)
	kept, err := v.db.KeepValue(ctx, rootCheck, mine[:])
	if err == nil && !secret.Same(kept, mine[:]) {
		err = errOther
	}
	return err
}

// Make makes a root key for a new tenant: opened, and sealed for its row.
func (v *Vault) Make(id store.TenantID) (root *secret.Root, sealed []byte, err error) {
	root, err = secret.NewRoot(secret.GenerateRoot())
	if err != nil {
		return nil, nil, err
	}
	return root, v.masters[0].SealRoot(id[:], root), nil
}

// Root returns the root key of a tenant. Of one that does not live it is
// store.ErrNotFound, unless it was opened here while it did.
func (v *Vault) Root(ctx context.Context, id store.TenantID) (*secret.Root, error) {
	v.mu.Lock()
	root := v.roots[id]
	v.mu.Unlock()
	if root != nil {
		return root, nil
	}
	var t store.Tenant
	err := v.db.Read(ctx, id, func(tx *store.Tx) (err error) {
		t, err = tx.TenantByID(id)
		return err
	})
	if err != nil {
		return nil, err
	}
	return v.Open(t)
}

// Open returns the root key in a tenant's row.
func (v *Vault) Open(t store.Tenant) (*secret.Root, error) {
	for _, m := range v.masters {
		if !m.SealedBy(t.RootKey) {
			continue
		}
		root, err := m.OpenRoot(t.ID[:], t.RootKey)
		if err != nil {
			return nil, fmt.Errorf("vault: the root key of tenant %s: %w", t.Name, err)
		}
		v.mu.Lock()
		defer v.mu.Unlock()
		if len(v.roots) >= most {
			clear(v.roots)
		}
		v.roots[t.ID] = root
		return root, nil
	}
	if t.ID.IsZero() {
		return nil, errOther
	}
	return nil, fmt.Errorf("vault: the root key of tenant %s is sealed under another master key than %s; put back GATEHOUSE_MASTER_KEY or the file master.key from your backup, or name the older key in GATEHOUSE_MASTER_KEY_OLD", t.Name, v.masters[0].ID())
}

// page is how many tenants are read at one time.
const page = 500

// Rewrap seals every root key that is sealed under an older master key under the
// first one, and returns how many it did. Nodes may serve meanwhile, if they
// know both; afterwards the older ones are of no use any more. A root key that
// does not open is told of and keeps none of the others from it.
func (v *Vault) Rewrap(ctx context.Context) (n int, err error) {
	var shut []error
	for after := ""; ; {
		var list []store.Tenant
		err = v.db.Read(ctx, store.TenantID{}, func(tx *store.Tx) (err error) {
			list, err = tx.TenantPage(after, page)
			return err
		})
		if err != nil || len(list) == 0 {
			return n, errors.Join(append(shut, err)...)
		}
		for _, t := range list {
			if v.masters[0].SealedBy(t.RootKey) {
				continue
			}
			root, err := v.Open(t)
			if err != nil {
				shut = append(shut, err)
				continue
			}
			sealed, done := v.masters[0].SealRoot(t.ID[:], root), false
			err = v.db.Write(ctx, t.ID, func(tx *store.Tx) (err error) {
				done, err = tx.SetRootKey(t.ID, t.RootKey, sealed)
				return err
			})
			if err != nil {
				return n, errors.Join(append(shut, err)...)
			}
			if done {
				n++
			}
		}
		after = list[len(list)-1].Name
	}
}
