package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"gatehouse/internal/notify"
	"gatehouse/internal/secret"
	"gatehouse/internal/store"
)

// undoTTL is how long a change can be undone from its notice.
const undoTTL = 72 * time.Hour

// Undoing is what «this was not me» puts back. Whatever its notice tells of,
// that is the address and the number as they were: what a thief changed next
// was told to the thief alone.
type Undoing struct {
	Notice notify.Kind `json:"notice"`
	Email  string      `json:"email"`
	Phone  string      `json:"phone,omitempty"`  // empty: there was none
	Proved bool        `json:"proved,omitempty"` // that number had been proved
	At     time.Time   `json:"at"`               // when it was told
}

// notice mails a user that something about their account has changed, with a
// link that undoes it. was is the user before, whose address it goes to; what
// is the provider of an identity, or the address or number as it is now. Users
// without a proved address get none, and none is sent of what an administrator
// does.
func (s *Service) notice(tx *store.Tx, c Caller, was *User, kind notify.Kind, what string) error {
	if c.Actor != "" || !s.policy.Notices[kind] || was.Email == "" || was.EmailVerifiedAt.IsZero() {
		return nil
	}
	vars := notify.Vars{Email: was.Email, SendingTo: was.Email, Device: DeviceName(c.Agent), Place: c.IP, At: tx.Now}
	switch kind {
	case notify.IdentityLinked, notify.IdentityUnlinked:
		vars.Provider = what
	case notify.EmailChanged:
		vars.OldEmail, vars.Email, vars.NewEmail = was.Email, what, what
	case notify.PhoneChanged:
		vars.OldPhone, vars.Phone = was.Phone, what
	}
	if s.undoURL != nil {
		undo := Undoing{Notice: kind, Email: was.Email, Phone: was.Phone, Proved: !was.PhoneVerifiedAt.IsZero(), At: tx.Now}
		token, err := s.askUndo(tx, was, undo)
		if err != nil {
			return err
		}
		vars.UndoURL = s.undoURL(token)
	}
	return s.mail(tx, c, was, notify.Mail{Kind: kind, To: was.Email, Vars: vars}, undoTTL)
}

func (s *Service) askUndo(tx *store.Tx, u *User, undo Undoing) (string, error) {
	data, err := json.Marshal(Question{Undo: &undo})
	if err != nil {
		return "", fmt.Errorf("auth: undo: %w", err)
	}
	token, id := secret.Token(), store.NewChallengeID()
	return token, tx.SetChallenge(store.Challenge{
		ID: id, Kind: string(KindUndo), Subject: id[:], UserID: u.ID, TokenHash: s.linkHash(KindUndo, token), CodeHash: []byte{},
		SentTo: u.Email, Data: data, ExpiresAt: tx.Now.Add(undoTTL),
	}, 0)
}

// newDevice tells a user of a sign-in with a browser or program they have not
// used before, unless it is their first.
func (s *Service) newDevice(tx *store.Tx, c Caller, u *User) error {
	if !s.policy.Notices[notify.NewDevice] {
		return nil
	}
	known, others, err := tx.DeviceKnown(u.ID, DeviceName(c.Agent))
	if err != nil || known || !others {
		return err
	}
	err = s.within(tx, "new device notices", u.ID[:], time.Hour, 5, TooMany)
	if refused, failed := refusal(err); refused != nil || failed != nil {
		return failed // who signs in from ever new programs is told of the first few
	}
	return s.notice(tx, c, u, notify.NewDevice, "")
}

// Undo does what the owner of an account asks for who says «this was not me»:
// address and number are as they were, every session ends, no password opens
// the account any more, and a way to choose a new one is mailed. It voids every
// later link of its kind, which whoever took the account may have got, and no
// earlier one: a thief's must not take away the owner's.
//
// Codes: LinkFailed, EmailTaken, PhoneTaken. Events: ChangeUndone,
// EmailChanged, PhoneChanged, PasswordChanged, SignedOut, RecoveryAsked,
// UserDeletedEvent.
func (s *Service) Undo(ctx context.Context, c Caller, token string, f Flow) (*Undoing, error) {
	var undone *Undoing
	err := s.db.Write(ctx, s.tenant, func(tx *store.Tx) error {
		undone = nil
		q, err := (&Desk{s: s, tx: tx}).UseLink([]Kind{KindUndo}, token)
		if err != nil {
			return err
		}
		if q == nil || q.Undo == nil {
			return fail(LinkFailed)
		}
		u, err := tx.User(q.UserID)
		if errors.Is(err, store.ErrNotFound) || err == nil && !u.DeletedAt.IsZero() {
			return fail(LinkFailed)
		}
		if err == nil {
			err = s.voidUndos(tx, u.ID, q.Undo.At)
		}
		if err != nil {
			return err
		}
		undone = q.Undo
		return s.undo(tx, c, &u, undone, f)
	})
	if errors.Is(err, store.ErrDuplicate) { // somebody else took it at this instant
		if undone != nil && undone.Notice == notify.PhoneChanged {
			return nil, fail(PhoneTaken)
		}
		return nil, fail(EmailTaken)
	}
	if err != nil {
		return nil, err
	}
	s.wake()
	return undone, nil
}

func (s *Service) undo(tx *store.Tx, c Caller, u *User, undo *Undoing, f Flow) error {
	was := *u
	err := s.putBack(tx, u, undo)
	if err == nil {
		err = s.dropRecent(tx, u, undo.At.Add(-undoTTL))
	}
	if err == nil {
		err = tx.DropChallenges(u.ID, string(KindUndo))
	}
	if err == nil {
		err = dropPassword(tx, u.ID)
	}
	if err == nil {
		err = s.identify(tx, u)
	}
	if err == nil {
		err = tx.SetUser(u)
	}
	if err == nil {
		err = s.shutOut(tx, c, u, ChangeUndone, "the owner said: this was not me")
	}
	if err == nil && u.Email != was.Email {
		err = s.emit(tx, c, EmailChanged, u.ID, SessionID{}, nil)
	}
	if err == nil && u.Phone != was.Phone {
		err = s.emit(tx, c, PhoneChanged, u.ID, SessionID{}, nil)
	}
	if err == nil {
		f.undone = true
		err = s.send(tx, c, u, KindRecovery, Contact{Email: u.Email}, &u.RecoverySentAt, SessionID{}, false, f)
	}
	return err
}

// dropRecent takes from u the accounts elsewhere that joined them since then,
// but for the one they came with: a thief may have linked one before doing what
// the notice tells of.
func (s *Service) dropRecent(tx *store.Tx, u *User, since time.Time) error {
	var own IdentityID
	for i := range u.Identities {
		if !u.Identities[i].CreatedAt.After(u.CreatedAt) {
			own = u.Identities[i].ID
		}
	}
	return s.detachAll(tx, Caller{Actor: "system"}, u, func(i *Identity) bool { return i.ID != own && !i.CreatedAt.Before(since) })
}

// putBack gives u the contacts back that they had.
//
// Codes: EmailTaken, PhoneTaken.
func (s *Service) putBack(tx *store.Tx, u *User, undo *Undoing) error {
	for _, to := range []Contact{{Email: undo.Email}, {Phone: undo.Phone}} {
		if to == (Contact{}) || to.Email == u.Email && to.Phone == "" || to.Phone == u.Phone && to.Email == "" {
			continue
		}
		err := s.evict(tx, to, undo.At)
		if CodeOf(err) == PhoneTaken && undo.Notice != notify.PhoneChanged && undo.Notice != notify.IdentityUnlinked {
			undo.Phone, err = "", nil // given up since, and not what the notice was about
		}
		if err != nil {
			return err
		}
	}
	if u.Email != undo.Email {
		u.Email, u.EmailVerifiedAt = undo.Email, tx.Now // they read mail there, or they would not be here
	}
	switch {
	case undo.Phone == "" || !undo.Proved:
		u.PhoneVerifiedAt = time.Time{}
	case u.Phone != undo.Phone || u.PhoneVerifiedAt.IsZero():
		u.PhoneVerifiedAt = tx.Now
	}
	u.Phone = undo.Phone
	u.NewEmail, u.EmailChangeProved, u.NewPhone = "", 0, ""
	return nil
}

// evict takes a contact from a user who never proved any: a thief could have
// signed up with it, so that it cannot be given back. What has counted as proved
// since then without being so is no proof against who has read mail there; of a
// number nobody knows who reads its messages.
//
// Codes: EmailTaken, PhoneTaken.
func (s *Service) evict(tx *store.Tx, to Contact, since time.Time) error {
	other, err := to.user(tx)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, has := range []Contact{{Email: other.Email}, {Phone: other.Phone}} {
		at := *has.provedAt(&other)
		if has != (Contact{}) && !at.IsZero() && (at.Before(since) || !s.autoconfirm(has) || to.Phone != "") {
			return to.taken()
		}
	}
	err = s.shutOut(tx, Caller{Actor: "system"}, &other, UserDeletedEvent, "whoever proved the address or number before has it back")
	if err == nil {
		err = tx.DropUser(other.ID)
	}
	return err
}

// kindUndone marks, for each user, from when on links that undo are void.
const kindUndone Kind = "undone"

// span is a stretch of a user's history that was undone.
type span struct {
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
}

// voidUndos voids the links that undo which were handed out to a user between
// then and now; it refuses one that an earlier undoing has voided.
//
// Codes: LinkFailed.
func (s *Service) voidUndos(tx *store.Tx, id UserID, then time.Time) error {
	var spans []span
	ch, err := tx.Challenge(string(kindUndone), id[:])
	if err == nil {
		err = json.Unmarshal(ch.Data, &spans)
	}
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	kept := []span{{then, tx.Now}}
	for _, v := range spans {
		if !then.Before(v.From) && !then.After(v.To) {
			return fail(LinkFailed)
		}
		if tx.Now.Sub(v.To) < undoTTL {
			kept = append(kept, v)
		}
	}
	data, err := json.Marshal(kept)
	if err != nil {
		return fmt.Errorf("auth: undo: %w", err)
	}
	return tx.SetChallenge(store.Challenge{
		ID: store.NewChallengeID(), Kind: string(kindUndone), Subject: id[:], UserID: id, TokenHash: s.linkHash(kindUndone, secret.Token()),
		CodeHash: []byte{}, Data: data, ExpiresAt: tx.Now.Add(undoTTL),
	}, 0)
}

// dropPassword leaves a user without one; second factors stay.
func dropPassword(tx *store.Tx, id UserID) error {
	hash, err := tx.PasswordOf(id)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err == nil {
		_, err = tx.DropPassword(id, string(hash))
	}
	return err
}
