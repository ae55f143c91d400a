package store

import (
	"database/sql/driver"
	"errors"
	"fmt"

	"github.com/google/uuid"
)

// ID is a UUID that knows what it names, so that a session's cannot be handed
// where a user's is asked for. It is kept as 16 bytes: a third of the index
// space of text, and compared byte-wise by every engine.
type ID[kind any] uuid.UUID

type (
	tenantKind    struct{}
	userKind      struct{}
	sessionKind   struct{}
	identityKind  struct{}
	credKind      struct{}
	challengeKind struct{}
	eventKind     struct{}
	deliveryKind  struct{}
)

// The names of things.
type (
	TenantID     = ID[tenantKind] // the zero value is the default tenant
	UserID       = ID[userKind]
	SessionID    = ID[sessionKind]
	IdentityID   = ID[identityKind]
	CredentialID = ID[credKind]
	ChallengeID  = ID[challengeKind]
	EventID      = ID[eventKind]
	DeliveryID   = ID[deliveryKind]
)

// NewUserID returns a random version 4 UUID (RFC 9562 §5.4): the id of a user
// goes to third parties and must not tell when they signed up.
func NewUserID() UserID { return UserID(uuid.New()) }

// UserIDOf and IdentityIDOf return ids made of given bytes, which look like any
// other: for those that do not exist and must be named the same each time.
func UserIDOf(b [32]byte) UserID { return UserID(shape(b)) }

// IdentityIDOf is UserIDOf for an identity.
func IdentityIDOf(b [32]byte) IdentityID { return IdentityID(shape(b)) }

// shape makes a version 4 UUID of bytes.
func shape(b [32]byte) (u uuid.UUID) {
	copy(u[:], b[:])
	u[6], u[8] = u[6]&0x0f|0x40, u[8]&0x3f|0x80
	return u
}

// newOrdered returns a version 7 UUID (RFC 9562 §5.7): rows that come and go
// in time order keep their index small.
func newOrdered[kind any]() ID[kind] { return ID[kind](uuid.Must(uuid.NewV7())) }

// NewSessionID, and the others below, return time-ordered ids.
func NewSessionID() SessionID { return newOrdered[sessionKind]() }

// NewIdentityID returns a random id; it is shown to clients.
func NewIdentityID() IdentityID { return IdentityID(uuid.New()) }

// NewCredentialID returns a time-ordered id.
func NewCredentialID() CredentialID { return newOrdered[credKind]() }

// NewChallengeID returns a time-ordered id.
func NewChallengeID() ChallengeID { return newOrdered[challengeKind]() }

// NewDeliveryID returns a time-ordered id.
func NewDeliveryID() DeliveryID { return newOrdered[deliveryKind]() }

// ParseID reads the 36-character form of a UUID and no other.
func ParseID[kind any](s string) (ID[kind], error) {
	if len(s) != 36 {
		return ID[kind]{}, errors.New("store: not a UUID")
	}
	u, err := uuid.Parse(s)
	return ID[kind](u), err
}

// ParseUserID reads the text form of a user's id.
func ParseUserID(s string) (UserID, error) { return ParseID[userKind](s) }

// ParseSessionID reads the text form of a session's id.
func ParseSessionID(s string) (SessionID, error) { return ParseID[sessionKind](s) }

// ParseIdentityID reads the text form of an identity's id.
func ParseIdentityID(s string) (IdentityID, error) { return ParseID[identityKind](s) }

// ParseEventID reads the text form of an event's id.
func ParseEventID(s string) (EventID, error) { return ParseID[eventKind](s) }

// String returns the 36-character form.
func (i ID[kind]) String() string { return uuid.UUID(i).String() }

// IsZero reports whether i names nothing (or, for a tenant, the default one).
func (i ID[kind]) IsZero() bool { return i == ID[kind]{} }

// MarshalText makes ids readable in logs and JSON.
func (i ID[kind]) MarshalText() ([]byte, error) { return []byte(i.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (i *ID[kind]) UnmarshalText(b []byte) error {
	id, err := ParseID[kind](string(b))
	if err == nil {
		*i = id
	}
	return err
}

// Value implements driver.Valuer.
func (i ID[kind]) Value() (driver.Value, error) { return i[:], nil }

// Scan implements sql.Scanner. NULL scans as the zero id.
func (i *ID[kind]) Scan(v any) error {
	switch b := v.(type) {
	case nil:
		*i = ID[kind]{}
		return nil
	case []byte:
		if len(b) == len(i) {
			copy(i[:], b)
			return nil
		}
	}
	return fmt.Errorf("store: %T is not an id", v)
}

// orNull stores the zero id as NULL.
func (i ID[kind]) orNull() any {
	if i.IsZero() {
		return nil
	}
	return i[:]
}
