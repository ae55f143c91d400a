package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"gatehouse/internal/notify"
	"gatehouse/internal/store"
)

// Changes is what a signed-in user wants changed about themselves; nil leaves
// a thing as it is.
type Changes struct {
	Email    *string
	Phone    *string
	Password *string
	Data     map[string]any // merged into the user's metadata
	AppData  map[string]any // only administrators
	Nonce    string         // the code of Reauthenticate
	Current  string         // the current password
}

// UpdateUser changes the signed-in user. All of it happens or none.
//
// A new address is proved by mail first; until then the old one stands. A new
// password ends all other sessions and voids every open question.
//
// An address or number somebody else has is asked for like any other, and
// never proved, unless the policy reveals who has an account.
//
// Codes: NotYours, EmailInvalid, PhoneInvalid, EmailDisabled, PhoneDisabled,
// EmailTaken, PhoneTaken, EmailNotAuthorized, TooSoon, SMSTooSoon, SMSRefused,
// EmailNotConfirmed, SSOManaged, SamePassword, WeakPassword, PasswordTooLong, ReauthNeeded, ReauthFailed,
// CurrentNeeded, CurrentWrong, InvalidInput, TooMany, Busy; those of
// Authenticate when the session ended meanwhile.
// Events: EmailChangeAsked, PhoneChangeAsked, EmailChanged, PhoneChanged,
// PasswordChanged, SignedOut, UserUpdated.
func (s *Service) UpdateUser(ctx context.Context, c Caller, v *Viewer, ch Changes, f Flow) (*User, error) {
	if ch.AppData != nil && v.User.Role != s.policy.AdminRole {
		return nil, fail(NotYours)
	}
	if v.User.SSO && (!empty(ch.Email) || !empty(ch.Phone) || !empty(ch.Password)) {
		return nil, fail(SSOManaged)
	}
	wish, err := s.wishes(v, ch)
	if err != nil {
		return nil, err
	}
	pw, err := s.wantPassword(ctx, c, v, ch)
	if err != nil {
		return nil, err
	}
	var u User
	var refused error
	err = s.db.Write(ctx, s.tenant, func(tx *store.Tx) error {
		refused = nil
		_, u, err = s.look(tx, v.User.ID, v.Session.ID)
		if err == nil && ch.AppData != nil && u.Role != s.policy.AdminRole {
			err = fail(NotYours) // demoted while we were hashing
		}
		if err != nil {
			return err
		}
		for _, to := range wish {
			refused, err = refusal(s.paceWish(tx, c, u.ID, to))
			if refused != nil || err != nil {
				return err
			}
		}
		if pw != nil { // after all else that is refused and yet committed
			refused, err = refusal(s.setPassword(tx, c, v, &u, pw, ch.Nonce))
			if refused != nil || err != nil {
				return err // a wrong code stays counted, and nothing else is done
			}
		}
		return s.change(tx, c, v, &u, ch, wish, f)
	})
	if errors.Is(err, store.ErrDuplicate) {
		return nil, quicker(wish)
	}
	if err != nil {
		return nil, err
	}
	if refused != nil {
		return nil, refused
	}
	s.wake()
	return &u, nil
}

// change makes every change but that of the password.
func (s *Service) change(tx *store.Tx, c Caller, v *Viewer, u *User, ch Changes, wish []Contact, f Flow) error {
	var err error
	if ch.Data != nil {
		u.UserMetadata, err = s.userData(u.UserMetadata, ch.Data)
	}
	if err == nil && ch.AppData != nil {
		u.AppMetadata, err = mergeMetadata(u.AppMetadata, ch.AppData)
	}
	if err != nil {
		return err
	}
	for _, to := range wish {
		err = s.wish(tx, c, v, u, to, f)
		if err != nil {
			return err
		}
	}
	err = tx.SetUser(u)
	if err == nil && (ch.Data != nil || ch.AppData != nil) {
		err = s.emit(tx, c, UserUpdated, u.ID, v.Session.ID, map[string]any{
			"user_metadata": keys(ch.Data), "app_metadata": keys(ch.AppData),
		})
	}
	return err
}

// wanted is a new password that passed every rule that needs slow work.
type wanted struct {
	hash string // of the new one
	old  string // the stored hash it was compared with

	nonce Kept // what another service says of the code

	// Verdicts that are told only after the mailed code was right: a stolen
	// session is no way to try passwords.
	same    bool // the new one is the old one
	current bool // the current one was asked for,
	wrong   bool // and is not
	try     Try
}

// wantPassword checks and hashes, before the transaction.
func (s *Service) wantPassword(ctx context.Context, c Caller, v *Viewer, ch Changes) (*wanted, error) {
	if ch.Password == nil || *ch.Password == "" {
		return nil, nil
	}
	if v.User.Email == "" && v.User.Phone == "" && empty(ch.Email) && empty(ch.Phone) {
		return nil, fail(PasswordUseless)
	}
	needed := s.needsNonce(v, s.db.Now())
	if ch.Nonce == "" && needed {
		return nil, fail(ReauthNeeded) // before anything is compared: a stolen session is no way to try passwords
	}
	pw := &wanted{}
	if needed {
		to, err := reauthAt(&v.User)
		if err != nil {
			return nil, err
		}
		pw.nonce, err = (&Kit{s: s, c: c}).KeptCode(ctx, Input{Phone: to.Phone, Code: ch.Nonce, Kinds: []Kind{KindReauth}})
		if err != nil {
			return nil, err
		}
	}
	var old string
	err := s.db.Read(ctx, s.tenant, func(tx *store.Tx) error {
		h, err := tx.PasswordOf(v.User.ID)
		if errors.Is(err, store.ErrNotFound) {
			err = nil
		}
		old = string(h)
		return err
	})
	if err != nil {
		return nil, err
	}
	if old != "" && s.policy.CurrentPW && !fromMail(v) {
		if ch.Current == "" {
			return nil, fail(CurrentNeeded)
		}
		pw.try, err = s.tryCurrent(ctx, c, v, old)
		if err != nil {
			return nil, err
		}
		ok, _, err := s.compare(ctx, c, pw.try, ch.Current)
		if err != nil {
			return nil, err
		}
		pw.current, pw.wrong = true, !ok
	}
	hash, err := s.newPassword(ctx, c, *ch.Password)
	if err != nil {
		return nil, err
	}
	pw.hash, pw.old = hash, old
	if old != "" {
		pw.same, _, err = s.checkPassword(ctx, c, old, *ch.Password)
	}
	return pw, err
}

// needsNonce tells whether a session is too old to change the password without
// a mailed code.
func (s *Service) needsNonce(v *Viewer, now time.Time) bool {
	return s.policy.ReauthenticatePW && now.Sub(v.Session.CreatedAt) > reauthAfter
}

// fromMail tells whether the session was opened by a mailed question, which
// stands for the password a person forgot.
func fromMail(v *Viewer) bool {
	var amr []AMR
	err := json.Unmarshal(v.Session.AMR, &amr)
	return err == nil && slices.ContainsFunc(amr, func(a AMR) bool {
		return slices.Contains([]string{"otp", "recovery", "magiclink", "invite"}, a.Method)
	})
}

// setPassword stores a new password. The other sessions end and every mailed
// secret dies: whoever knew the old password, or reads old mail, is out.
func (s *Service) setPassword(tx *store.Tx, c Caller, v *Viewer, u *User, pw *wanted, nonce string) error {
	if s.needsNonce(v, tx.Now) {
		to, err := reauthAt(u)
		if err != nil {
			return err
		}
		q, err := (&Desk{s: s, tx: tx}).UseCode(Input{Kinds: []Kind{KindReauth}, Email: to.Email, Phone: to.Phone, Code: nonce}, pw.nonce)
		if CodeOf(err) == CodeFailed && err != nil {
			q, err = nil, nil
		}
		if err != nil {
			return err
		}
		if q == nil || q.UserID != u.ID {
			return fail(ReauthFailed)
		}
	}
	if pw.current {
		err := s.guessPassword(tx, u.ID, pw.wrong)
		if err == nil {
			err = s.succeeded(tx, pw.try)
		}
		if err != nil {
			return err
		}
	}
	if pw.same {
		return fail(SamePassword)
	}
	now, err := tx.PasswordOf(u.ID)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return err
	}
	if len(now) == 0 && u.Email != "" && u.EmailVerifiedAt.IsZero() && u.PhoneVerifiedAt.IsZero() {
		// Two people disagreed about the last one, or its owner is on the way: who
		// is in without having proved anything must not choose the next.
		return fail(EmailNotConfirmed)
	}
	if string(now) != pw.old {
		return fail(CurrentWrong) // changed by another session while this one was hashing
	}
	return s.replacePassword(tx, c, u, pw.hash, v.Session.ID)
}

// replacePassword is what every new password brings with it.
func (s *Service) replacePassword(tx *store.Tx, c Caller, u *User, hash string, but SessionID) error {
	err := tx.SetPassword(u.ID, []byte(hash))
	if err == nil {
		err = tx.DropChallenges(u.ID, string(KindUndo))
	}
	if err == nil && u.Email != "" && !has(u, "email") { // whose account elsewhere vouched for it so far
		i := newIdentity(u, "email", tx.Now)
		u.Identities = append(u.Identities, i)
		err = tx.AddIdentity(i)
		if err == nil {
			err = s.nameProviders(u)
		}
		if err == nil {
			err = tx.SetUser(u)
		}
	}
	if err == nil && (u.NewEmail != "" || u.NewPhone != "") {
		// A wish alone would do harm: a thief whose session ends here could have
		// its mail sent once more, to the address the thief chose.
		u.NewEmail, u.EmailChangeProved, u.NewPhone = "", 0, ""
		err = tx.SetUser(u)
	}
	if err != nil {
		return err
	}
	ended, err := tx.EndSessions(u.ID, but, "password changed")
	if err == nil {
		err = s.ended(tx, c, u.ID, "password changed", ended)
	}
	if err == nil {
		err = s.emit(tx, c, PasswordChanged, u.ID, but, nil)
	}
	if err == nil {
		err = s.notice(tx, c, u, notify.PasswordChanged, "")
	}
	return err
}

// keys names what was changed, for the audit trail. A caller may send
// thousands, and of any length: the trail keeps a few, cut.
func keys(m map[string]any) []string {
	const most, longest = 20, 64
	names := slices.Sorted(maps.Keys(m))
	more := len(names) - most
	names = names[:min(len(names), most)]
	for i := range names {
		names[i] = cut(names[i], longest)
	}
	if more > 0 {
		names = append(names, fmt.Sprintf("and %d more", more))
	}
	return names
}

func empty(s *string) bool { return s == nil || *s == "" }
