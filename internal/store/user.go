package store

import (
	"math/rand/v2"
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
	NewPhone               string // likewise
	PhoneChangeSentAt      time.Time
	ConfirmationSentAt     time.Time
	RecoverySentAt         time.Time
	ReauthenticationSentAt time.Time
	InvitedAt              time.Time
	LastSignInAt           time.Time
	BannedUntil            time.Time
	DeletedAt              time.Time
	IsAnonymous            bool
	VerifiedFactors        int    // second factors in use
	SSO                    bool   // a company keeps the account; written by AddUser alone
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
	u.new_email, u.email_change_proved, u.email_change_sent_at, u.new_phone, u.phone_change_sent_at, u.confirmation_sent_at, u.recovery_sent_at,
	u.reauthentication_sent_at, u.invited_at, u.last_sign_in_at, u.banned_until, u.deleted_at, u.is_anonymous, u.verified_factors, u.sso,
	u.app_metadata, u.user_metadata, u.created_at, u.updated_at`

// userScan receives userColumns.
type userScan struct {
	User
	verified, phoneVerified, changeSent, phoneSent, confirmSent, recoverySent, reauthSent int64
	invited, signIn, banned, deleted, created, updated                                    int64
}

func (s *userScan) dest() []any {
	return []any{
		&s.ID, &s.Aud, &s.Role, &s.Email, &s.verified, &s.Phone, &s.phoneVerified,
		&s.NewEmail, &s.EmailChangeProved, &s.changeSent, &s.NewPhone, &s.phoneSent, &s.confirmSent, &s.recoverySent,
		&s.reauthSent, &s.invited, &s.signIn, &s.banned, &s.deleted, &s.IsAnonymous, &s.VerifiedFactors, &s.SSO,
		&s.AppMetadata, &s.UserMetadata, &s.created, &s.updated,
	}
}

func (s *userScan) user() User {
	u := s.User
	u.EmailVerifiedAt, u.PhoneVerifiedAt = instant(s.verified), instant(s.phoneVerified)
	u.EmailChangeSentAt, u.PhoneChangeSentAt, u.ConfirmationSentAt = instant(s.changeSent), instant(s.phoneSent), instant(s.confirmSent)
	u.RecoverySentAt, u.ReauthenticationSentAt = instant(s.recoverySent), instant(s.reauthSent)
	u.InvitedAt, u.LastSignInAt = instant(s.invited), instant(s.signIn)
	u.BannedUntil, u.DeletedAt = instant(s.banned), instant(s.deleted)
	u.CreatedAt, u.UpdatedAt = instant(s.created), instant(s.updated)
	return u
}

// userSlots is over how many rows the number of a tenant's users is spread.
const userSlots = 16

// AddUser inserts u without its identities, or returns ErrDuplicate when an
// identifier of it is taken.
func (tx *Tx) AddUser(u User) error {
	err := tx.later(`INSERT INTO users (tenant_id, id, aud, role, email, email_verified_at, phone, phone_verified_at,
		new_email, email_change_proved, email_change_sent_at, new_phone, phone_change_sent_at, confirmation_sent_at, recovery_sent_at,
		reauthentication_sent_at, invited_at, last_sign_in_at, banned_until, deleted_at, is_anonymous, verified_factors, sso,
		app_metadata, user_metadata, created_at, updated_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		tx.Tenant, u.ID, u.Aud, u.Role, orNull(u.Email), micros(u.EmailVerifiedAt), orNull(u.Phone), micros(u.PhoneVerifiedAt),
		u.NewEmail, u.EmailChangeProved, micros(u.EmailChangeSentAt), u.NewPhone, micros(u.PhoneChangeSentAt), micros(u.ConfirmationSentAt), micros(u.RecoverySentAt),
		micros(u.ReauthenticationSentAt), micros(u.InvitedAt), micros(u.LastSignInAt), micros(u.BannedUntil), micros(u.DeletedAt), u.IsAnonymous, u.VerifiedFactors, u.SSO,
		string(u.AppMetadata), string(u.UserMetadata), micros(u.CreatedAt), micros(u.UpdatedAt))
	if err != nil {
		return err
	}
	return tx.countUsers(1)
}

// countUsers adds to the number of the tenant's users, in one row of several.
func (tx *Tx) countUsers(n int) error {
	return tx.later(tx.db.countUsers, tx.Tenant, rand.N(userSlots), n)
}

// SetUser writes every column of u that may change and moves UpdatedAt. It is
// for use after a read in the same Write, which holds the user until the
// commit. It changes nothing where there is no such user.
func (tx *Tx) SetUser(u *User) error {
	u.UpdatedAt = tx.Now
	return tx.later(`UPDATE users SET aud = ?, role = ?, email = ?, email_verified_at = ?, phone = ?, phone_verified_at = ?,
		new_email = ?, email_change_proved = ?, email_change_sent_at = ?, new_phone = ?, phone_change_sent_at = ?, confirmation_sent_at = ?, recovery_sent_at = ?,
		reauthentication_sent_at = ?, invited_at = ?, last_sign_in_at = ?, banned_until = ?, deleted_at = ?, is_anonymous = ?, verified_factors = ?,
		app_metadata = ?, user_metadata = ?, updated_at = ? WHERE tenant_id = ? AND id = ?`,
		u.Aud, u.Role, orNull(u.Email), micros(u.EmailVerifiedAt), orNull(u.Phone), micros(u.PhoneVerifiedAt),
		u.NewEmail, u.EmailChangeProved, micros(u.EmailChangeSentAt), u.NewPhone, micros(u.PhoneChangeSentAt), micros(u.ConfirmationSentAt), micros(u.RecoverySentAt),
		micros(u.ReauthenticationSentAt), micros(u.InvitedAt), micros(u.LastSignInAt), micros(u.BannedUntil), micros(u.DeletedAt), u.IsAnonymous, u.VerifiedFactors,
		string(u.AppMetadata), string(u.UserMetadata), micros(u.UpdatedAt), tx.Tenant, u.ID)
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

// UserByPhone returns the user with that number, digits without +.
func (tx *Tx) UserByPhone(phone string) (User, error) {
	if phone == "" {
		return User{}, ErrNotFound
	}
	return tx.user(`u.phone = ?`, phone)
}

// user reads a user and its identities in one statement.
func (tx *Tx) user(where string, arg any) (User, error) { return tx.userWith("", "", where, arg) }

// userWith reads more columns along, of what join adds, into more.
func (tx *Tx) userWith(columns, join, where string, arg any, more ...any) (User, error) {
	var s userScan
	var ids []Identity
	err := tx.hold(where, arg)
	if err != nil {
		return User{}, err
	}
	err = tx.rows(`SELECT `+userColumns+`, `+identityColumns+columns+` FROM users u
		LEFT JOIN identities i`+tx.by("identities_user")+` ON i.tenant_id = u.tenant_id AND i.user_id = u.id `+join+`
		WHERE u.tenant_id = ? AND `+where, []any{tx.Tenant, arg},
		func(scan func(...any) error) error {
			var is identityScan
			err := scan(append(append(s.dest(), is.dest()...), more...)...)
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
	u.Identities = oldestFirst(ids)
	return u, nil
}

// EmailTaken reports whether a user has that canonical address. It holds
// nobody: whoever asks after another's address must not stand in their way.
func (tx *Tx) EmailTaken(email string) (taken bool, err error) {
	err = tx.rows(`SELECT 1 FROM users WHERE tenant_id = ? AND email = ?`, []any{tx.Tenant, email}, func(func(...any) error) error {
		taken = true
		return nil
	})
	return taken, err
}

// PhoneTaken is EmailTaken for a number.
func (tx *Tx) PhoneTaken(phone string) (taken bool, err error) {
	err = tx.rows(`SELECT 1 FROM users WHERE tenant_id = ? AND phone = ?`, []any{tx.Tenant, phone}, func(func(...any) error) error {
		taken = true
		return nil
	})
	return taken, err
}

// CountUsers returns how many users the tenant has, however many these are.
func (tx *Tx) CountUsers() (n int, err error) {
	err = tx.row(`SELECT COALESCE(SUM(n), 0) FROM user_counts WHERE tenant_id = ?`, []any{tx.Tenant}, &n)
	return n, err
}

// CountRole returns how many living users have that role. It looks at all of
// them.
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
	if err != nil {
		return err
	}
	return tx.countUsers(-1)
}
