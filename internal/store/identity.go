package store

import (
	"bytes"
	"cmp"
	"slices"
	"time"
)

// Identity is how a user is known somewhere: provider, issuer and subject are
// its key, never an address.
type Identity struct {
	ID           IdentityID
	UserID       UserID
	Provider     string // "email", "phone", or the name of a social provider
	Issuer       string // empty for our own
	Subject      string // for our own: the user's id
	Email        string
	Data         []byte // a JSON object
	LastSignInAt time.Time
	CreatedAt    time.Time
	UpdatedAt    time.Time
}

const identityColumns = `i.id, i.user_id, COALESCE(i.provider, ''), COALESCE(i.issuer, ''), COALESCE(i.subject, ''),
	COALESCE(i.email, ''), i.data, COALESCE(i.last_sign_in_at, 0), COALESCE(i.created_at, 0), COALESCE(i.updated_at, 0)`

// identityScan receives identityColumns, all NULL where a join found none.
type identityScan struct {
	Identity
	signIn, created, updated int64
}

func (s *identityScan) dest() []any {
	return []any{&s.ID, &s.UserID, &s.Provider, &s.Issuer, &s.Subject, &s.Email, &s.Data, &s.signIn, &s.created, &s.updated}
}

func (s *identityScan) found() bool { return !s.ID.IsZero() }

func (s *identityScan) identity() Identity {
	i := s.Identity
	i.LastSignInAt, i.CreatedAt, i.UpdatedAt = instant(s.signIn), instant(s.created), instant(s.updated)
	return i
}

// oldestFirst sorts here what there are few of: a database's sort costs it a
// fifth of the whole statement.
func oldestFirst(list []Identity) []Identity {
	slices.SortFunc(list, func(a, b Identity) int {
		return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), bytes.Compare(a.ID[:], b.ID[:]))
	})
	return list
}

// AddIdentity inserts i, or returns ErrDuplicate when its key is taken.
func (tx *Tx) AddIdentity(i Identity) error {
	return tx.later(`INSERT INTO identities (tenant_id, provider, issuer, subject, id, user_id, email, data, last_sign_in_at, created_at, updated_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		tx.Tenant, i.Provider, i.Issuer, i.Subject, i.ID, i.UserID, i.Email, string(i.Data), micros(i.LastSignInAt), micros(tx.Now), micros(tx.Now))
}

// SetIdentity writes the address and data of a user's identity.
func (tx *Tx) SetIdentity(i Identity) error {
	return tx.later(`UPDATE identities SET subject = ?, email = ?, data = ?, last_sign_in_at = ?, updated_at = ? WHERE tenant_id = ? AND id = ?`,
		i.Subject, i.Email, string(i.Data), micros(i.LastSignInAt), micros(tx.Now), tx.Tenant, i.ID)
}

// IdentityOwner returns whose identity has that key, or ErrNotFound.
func (tx *Tx) IdentityOwner(provider, issuer, subject string) (id UserID, err error) {
	err = tx.row(`SELECT user_id FROM identities WHERE tenant_id = ? AND provider = ? AND issuer = ? AND subject = ?`,
		[]any{tx.Tenant, provider, issuer, subject}, &id)
	return id, err
}

// SetIdentitySignIn notes a sign-in by one kind of identity of a user.
func (tx *Tx) SetIdentitySignIn(user UserID, provider string) error {
	return tx.later(`UPDATE identities`+tx.by("identities_user")+` SET last_sign_in_at = ?, updated_at = ? WHERE tenant_id = ? AND user_id = ? AND provider = ?`,
		micros(tx.Now), micros(tx.Now), tx.Tenant, user, provider)
}

// DropIdentity deletes one identity.
func (tx *Tx) DropIdentity(id IdentityID) error {
	return tx.later(`DELETE FROM identities WHERE tenant_id = ? AND id = ?`, tx.Tenant, id)
}

// DropIdentities deletes all identities of a user.
func (tx *Tx) DropIdentities(user UserID) error {
	return tx.later(`DELETE FROM identities`+tx.byDropping("identities_user")+` WHERE tenant_id = ? AND user_id = ?`, tx.Tenant, user)
}
