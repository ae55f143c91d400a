package store

import (
	"errors"
	"strings"
	"time"
)

// User is one row of users and the identities that belong to it. Times are
// zero for never.
type User struct {
	ID                     UserID
	Aud                    string
	Role                   string
	Email                  string // canonical, or empty
	EmailVerifiedAt        time.Time
	Phone                  string // digits without +, or empty
	PhoneVerifiedAt        time.Time
	NewEmail               string // wanted, not yet proved
	EmailChangeProved      int    // OldAddress | NewAddress
	EmailChangeSentAt      time.Time
	ConfirmationSentAt     time.Time
	RecoverySentAt         time.Time
	ReauthenticationSentAt time.Time
	InvitedAt              time.Time
	LastSignInAt           time.Time
	BannedUntil            time.Time
	DeletedAt              time.Time
	IsAnonymous            bool
	AppMetadata            []byte // a JSON object, the server's
	UserMetadata           []byte // a JSON object, the user's
	CreatedAt              time.Time
	UpdatedAt              time.Time

	Identities []Identity // oldest first; not filled by UserPage
}

// Which side of a change of address has been proved.
const (
	OldAddress = 1 << iota
	NewAddress
)

const userColumns = `u.id, u.aud, u.role, COALESCE(u.email, ''), u.email_verified_at, COALESCE(u.phone, ''), u.phone_verified_at,
	u.new_email, u.email_change_proved, u.email_change_sent_at, u.confirmation_sent_at, u.recovery_sent_at,
	u.reauthentication_sent_at, u.invited_at, u.last_sign_in_at, u.banned_until, u.deleted_at, u.is_anonymous,
	u.app_metadata, u.user_metadata, u.created_at, u.updated_at`

// userScan receives userColumns.
type userScan struct {
	User
	verified, phoneVerified, changeSent, confirmSent, recoverySent, reauthSent int64
	invited, signIn, banned, deleted, created, updated                         int64
}

func (s *userScan) dest() []any {
	return []any{
		&s.ID, &s.Aud, &s.Role, &s.Email, &s.verified, &s.Phone, &s.phoneVerified,
		&s.NewEmail, &s.EmailChangeProved, &s.changeSent, &s.confirmSent, &s.recoverySent,
		&s.reauthSent, &s.invited, &s.signIn, &s.banned, &s.deleted, &s.IsAnonymous,
		&s.AppMetadata, &s.UserMetadata, &s.created, &s.updated,
	}
}

func (s *userScan) user() User {
	u := s.User
	u.EmailVerifiedAt, u.PhoneVerifiedAt = instant(s.verified), instant(s.phoneVerified)
	u.EmailChangeSentAt, u.ConfirmationSentAt = instant(s.changeSent), instant(s.confirmSent)
	u.RecoverySentAt, u.ReauthenticationSentAt = instant(s.recoverySent), instant(s.reauthSent)
	u.InvitedAt, u.LastSignInAt = instant(s.invited), instant(s.signIn)
	u.BannedUntil, u.DeletedAt = instant(s.banned), instant(s.deleted)
	u.CreatedAt, u.UpdatedAt = instant(s.created), instant(s.updated)
	return u
}

// AddUser inserts u without its identities, or returns ErrDuplicate when an
// identifier of it is taken.
func (tx *Tx) AddUser(u User) error {
	_, err := tx.exec(`INSERT INTO users (tenant_id, id, aud, role, email, email_verified_at, phone, phone_verified_at,
		new_email, email_change_proved, email_change_sent_at, confirmation_sent_at, recovery_sent_at,
		reauthentication_sent_at, invited_at, last_sign_in_at, banned_until, deleted_at, is_anonymous,
		app_metadata, user_metadata, created_at, updated_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		tx.Tenant, u.ID, u.Aud, u.Role, orNull(u.Email), micros(u.EmailVerifiedAt), orNull(u.Phone), micros(u.PhoneVerifiedAt),
		u.NewEmail, u.EmailChangeProved, micros(u.EmailChangeSentAt), micros(u.ConfirmationSentAt), micros(u.RecoverySentAt),
		micros(u.ReauthenticationSentAt), micros(u.InvitedAt), micros(u.LastSignInAt), micros(u.BannedUntil), micros(u.DeletedAt), u.IsAnonymous,
		u.AppMetadata, u.UserMetadata, micros(u.CreatedAt), micros(u.UpdatedAt))
	return err
}

// SetUser writes every column of u that may change and moves UpdatedAt. It is
// for use after a read in the same Write.
func (tx *Tx) SetUser(u *User) error {
	u.UpdatedAt = tx.Now
	n, err := tx.exec(`UPDATE users SET aud = ?, role = ?, email = ?, email_verified_at = ?, phone = ?, phone_verified_at = ?,
		new_email = ?, email_change_proved = ?, email_change_sent_at = ?, confirmation_sent_at = ?, recovery_sent_at = ?,
		reauthentication_sent_at = ?, invited_at = ?, last_sign_in_at = ?, banned_until = ?, deleted_at = ?, is_anonymous = ?,
		app_metadata = ?, user_metadata = ?, updated_at = ? WHERE tenant_id = ? AND id = ?`,
		u.Aud, u.Role, orNull(u.Email), micros(u.EmailVerifiedAt), orNull(u.Phone), micros(u.PhoneVerifiedAt),
		u.NewEmail, u.EmailChangeProved, micros(u.EmailChangeSentAt), micros(u.ConfirmationSentAt), micros(u.RecoverySentAt),
		micros(u.ReauthenticationSentAt), micros(u.InvitedAt), micros(u.LastSignInAt), micros(u.BannedUntil), micros(u.DeletedAt), u.IsAnonymous,
		u.AppMetadata, u.UserMetadata, micros(u.UpdatedAt), tx.Tenant, u.ID)
	if err == nil && n == 0 {
		err = ErrNotFound
	}
	return err
}

// User returns the user with that id.
func (tx *Tx) User(id UserID) (User, error) { return tx.user(`u.id = ?`, id) }

// UserByEmail returns the user with that canonical address.
func (tx *Tx) UserByEmail(email string) (User, error) {
	if email == "" {
		return User{}, ErrNotFound
	}
	return tx.user(`u.email = ?`, email)
}

// user reads a user and its identities in one statement.
func (tx *Tx) user(where string, arg any) (User, error) {
	var s userScan
	var ids []Identity
	err := tx.rows(`SELECT `+userColumns+`, `+identityColumns+` FROM users u
		LEFT JOIN identities i ON i.tenant_id = u.tenant_id AND i.user_id = u.id
		WHERE u.tenant_id = ? AND `+where+` ORDER BY i.created_at, i.id`, []any{tx.Tenant, arg},
		func(scan func(...any) error) error {
			var is identityScan
			err := scan(append(s.dest(), is.dest()...)...)
			if err == nil && is.found() {
				ids = append(ids, is.identity())
			}
			return err
		})
	if err != nil {
		return User{}, err
	}
	if s.ID.IsZero() {
		return User{}, ErrNotFound
	}
	u := s.user()
	u.Identities = ids
	return u, nil
}

// UserFilter picks a page of users.
type UserFilter struct {
	Aud      string // exactly, when not empty
	Contains string // in the address or in the full name, when not empty
	Sort     string // one of UserSorts; empty: created_at
	Asc      bool
	Offset   int
	Limit    int
}

// UserSorts are the columns a list may be sorted by: a fixed list, because the
// name goes into the statement.
var UserSorts = []string{"created_at", "updated_at", "last_sign_in_at", "email"}

// UserPage returns a page of users, newest first unless the filter says
// otherwise, and how many match in all.
func (tx *Tx) UserPage(f UserFilter) (page []User, total int, err error) {
	where, args := ` WHERE u.tenant_id = ?`, []any{tx.Tenant}
	if f.Aud != "" {
		where, args = where+` AND u.aud = ?`, append(args, f.Aud)
	}
	if f.Contains != "" {
		// The full name is looked for in the stored JSON text; the edge filters
		// nothing, so a match on another key's value is possible and harmless.
		like := "%" + strings.NewReplacer(`!`, `!!`, `%`, `!%`, `_`, `!_`).Replace(f.Contains) + "%"
		where += ` AND (u.email LIKE ? ESCAPE '!' OR CAST(u.user_metadata AS TEXT) LIKE ? ESCAPE '!')`
		args = append(args, like, like)
	}
	err = tx.row(`SELECT COUNT(*) FROM users u`+where, args, &total)
	if err != nil {
		return nil, 0, err
	}
	order, err := userOrder(f)
	if err != nil {
		return nil, 0, err
	}
	err = tx.rows(`SELECT `+userColumns+` FROM users u`+where+order+` LIMIT ? OFFSET ?`, append(args, f.Limit, f.Offset),
		func(scan func(...any) error) error {
			var s userScan
			err := scan(s.dest()...)
			page = append(page, s.user())
			return err
		})
	return page, total, err
}

func userOrder(f UserFilter) (string, error) {
	dir := " DESC"
	if f.Asc {
		dir = " ASC"
	}
	if f.Sort == "" {
		f.Sort = UserSorts[0]
	}
	for _, s := range UserSorts {
		if s == f.Sort {
			return ` ORDER BY u.` + s + dir + `, u.id` + dir, nil
		}
	}
	return "", errors.New("store: users cannot be sorted by that")
}

// CountRole returns how many living users have that role.
func (tx *Tx) CountRole(role string) (n int, err error) {
	err = tx.row(`SELECT COUNT(*) FROM users WHERE tenant_id = ? AND role = ? AND deleted_at = 0`, []any{tx.Tenant, role}, &n)
	return n, err
}

// DropUser deletes the user and all that hangs on it; its events stay.
func (tx *Tx) DropUser(id UserID) error {
	n, err := tx.exec(`DELETE FROM users WHERE tenant_id = ? AND id = ?`, tx.Tenant, id)
	if err == nil && n == 0 {
		err = ErrNotFound
	}
	return err
}
