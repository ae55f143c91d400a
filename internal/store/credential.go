package store

import (
	"errors"
	"time"
)

// Credential is something a user proves themselves with. Its Data is read and
// written only by the way in named Kind, so a new way needs no new table.
type Credential struct {
	ID     CredentialID
	UserID UserID
	Kind   string // "password", …
	Lookup []byte // unique within Kind: a passkey's id; for a password the user's id
	Data   []byte
}

// AddCredential inserts c, or returns ErrDuplicate.
func (tx *Tx) AddCredential(c Credential) error {
	return tx.later(`INSERT INTO credentials (tenant_id, kind, lookup, id, user_id, data, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
		tx.Tenant, c.Kind, c.Lookup, c.ID, c.UserID, c.Data, micros(tx.Now), micros(tx.Now))
}

// Credential returns the credential of that kind and lookup.
func (tx *Tx) Credential(kind string, lookup []byte) (Credential, error) {
	c := Credential{Kind: kind, Lookup: lookup}
	err := tx.row(`SELECT id, user_id, data FROM credentials WHERE tenant_id = ? AND kind = ? AND lookup = ?`,
		[]any{tx.Tenant, kind, lookup}, &c.ID, &c.UserID, &c.Data)
	return c, err
}

// CredentialsOf returns a user's credentials of a kind.
func (tx *Tx) CredentialsOf(user UserID, kind string) (list []Credential, err error) {
	err = tx.rows(`SELECT id, lookup, data FROM credentials`+tx.by("credentials_user")+` WHERE tenant_id = ? AND user_id = ? AND kind = ?`, []any{tx.Tenant, user, kind},
		func(scan func(...any) error) error {
			c := Credential{UserID: user, Kind: kind}
			err := scan(&c.ID, &c.Lookup, &c.Data)
			list = append(list, c)
			return err
		})
	return list, err
}

// SetCredential writes c's data, adding c when there is none with its kind and
// lookup.
func (tx *Tx) SetCredential(c Credential) error {
	n, err := tx.exec(`UPDATE credentials SET data = ?, updated_at = ? WHERE tenant_id = ? AND kind = ? AND lookup = ?`,
		c.Data, micros(tx.Now), tx.Tenant, c.Kind, c.Lookup)
	if err != nil || n == 1 {
		return err
	}
	return tx.AddCredential(c)
}

// SwapCredential replaces c's data with next only while it still is c.Data, so
// that an upgrade of a hash never undoes a change of password made meanwhile.
func (tx *Tx) SwapCredential(c Credential, next []byte) (bool, error) {
	n, err := tx.exec(`UPDATE credentials SET data = ?, updated_at = ? WHERE tenant_id = ? AND kind = ? AND lookup = ? AND data = ?`,
		next, micros(tx.Now), tx.Tenant, c.Kind, c.Lookup, c.Data)
	return n == 1, err
}

// DropPassword deletes a user's password while it still is the one with that
// hash, and reports whether it was.
func (tx *Tx) DropPassword(id UserID, hash string) (bool, error) {
	n, err := tx.exec(`DELETE FROM credentials WHERE tenant_id = ? AND kind = 'password' AND lookup = ? AND data = ?`, tx.Tenant, id, []byte(hash))
	return n == 1, err
}

// DropCredentials deletes all credentials of a user.
func (tx *Tx) DropCredentials(user UserID) error {
	return tx.later(`DELETE FROM credentials`+tx.byDropping("credentials_user")+` WHERE tenant_id = ? AND user_id = ?`, tx.Tenant, user)
}

// Known is who has an address or number, as much of them as a password is
// judged by.
type Known struct {
	ID              UserID
	Hash            []byte // of their password; empty: they have none
	EmailVerifiedAt time.Time
	PhoneVerifiedAt time.Time
	Here            bool // they have a session, alive or not yet swept, of the network that was asked about
}

// KnownByEmail returns who has that address: one statement.
func (tx *Tx) KnownByEmail(email string) (Known, error) { return tx.known(`u.email = ?`, email) }

// KnownByPhone returns who has that number.
func (tx *Tx) KnownByPhone(phone string) (Known, error) { return tx.known(`u.phone = ?`, phone) }

// KnownByEmailFrom is KnownByEmail, and tells in the same statement whether they
// have been at a network before.
func (tx *Tx) KnownByEmailFrom(email, network string) (Known, error) {
	return tx.knownFrom(`u.email = ?`, email, network)
}

// KnownByPhoneFrom is KnownByEmailFrom for a number.
func (tx *Tx) KnownByPhoneFrom(phone, network string) (Known, error) {
	return tx.knownFrom(`u.phone = ?`, phone, network)
}

func (tx *Tx) known(where, arg string) (k Known, err error) {
	return tx.knownWith("", where, arg)
}

func (tx *Tx) knownFrom(where, arg, network string) (k Known, err error) {
	var here int
	k, err = tx.knownWith(`, CASE WHEN EXISTS (SELECT 1 FROM sessions s`+tx.by("sessions_user")+` WHERE s.tenant_id = u.tenant_id AND s.user_id = u.id AND s.ip = ?) THEN 1 ELSE 0 END`,
		where, arg, network, &here)
	k.Here = here == 1
	return k, err
}

// knownWith reads one more column along: first what it takes, then where it goes.
func (tx *Tx) knownWith(column, where, arg string, more ...any) (k Known, err error) {
	if arg == "" {
		return k, ErrNotFound
	}
	var email, phone int64
	args, dest := []any{tx.Tenant, arg}, []any{&k.ID, &k.Hash, &email, &phone}
	if column != "" {
		args, dest = append([]any{more[0]}, args...), append(dest, more[1])
	}
	err = tx.row(`SELECT u.id, c.data, u.email_verified_at, u.phone_verified_at`+column+` FROM users u
		LEFT JOIN credentials c ON c.tenant_id = u.tenant_id AND c.kind = 'password' AND c.lookup = u.id
		WHERE u.tenant_id = ? AND `+where, args, dest...)
	k.EmailVerifiedAt, k.PhoneVerifiedAt = instant(email), instant(phone)
	return k, err
}

// PasswordOf returns the hash of a user's password, or ErrNotFound.
func (tx *Tx) PasswordOf(id UserID) ([]byte, error) {
	c, err := tx.Credential("password", id[:])
	return c.Data, err
}

// UserPassword returns a user and the hash of their password, empty when they
// have none: one statement.
func (tx *Tx) UserPassword(id UserID) (u User, hash []byte, err error) {
	u, err = tx.userWith(`, c.data`, `LEFT JOIN credentials c ON c.tenant_id = u.tenant_id AND c.kind = 'password' AND c.lookup = u.id`, `u.id = ?`, id, &hash)
	return u, hash, err
}

// AddPassword is SetPassword for a user who has none: for one who was just
// made.
func (tx *Tx) AddPassword(id UserID, hash []byte) error {
	if len(hash) == 0 {
		return errNoHash
	}
	return tx.AddCredential(Credential{ID: NewCredentialID(), UserID: id, Kind: "password", Lookup: id[:], Data: hash})
}

var errNoHash = errors.New("store: an empty password hash")

// SetPassword sets the hash of a user's password.
func (tx *Tx) SetPassword(id UserID, hash []byte) error {
	if len(hash) == 0 {
		return errNoHash
	}
	return tx.SetCredential(Credential{ID: NewCredentialID(), UserID: id, Kind: "password", Lookup: id[:], Data: hash})
}

// DropCredential deletes the credential of that kind and lookup, if there is one.
func (tx *Tx) DropCredential(kind string, lookup []byte) error {
	return tx.later(`DELETE FROM credentials WHERE tenant_id = ? AND kind = ? AND lookup = ?`, tx.Tenant, kind, lookup)
}
