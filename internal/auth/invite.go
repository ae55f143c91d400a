package auth

import (
	"context"
	"errors"

	"gatehouse/internal/store"
)

// Invite makes a user without a password and mails them a way in. Somebody who
// was invited, or signed up, but never came is invited again.
//
// Codes: EmailInvalid, EmailTaken. Events: Invited.
func (s *Service) Invite(ctx context.Context, c Caller, email string, data map[string]any, f Flow) (*User, error) {
	email, err := CleanEmail(email)
	if err != nil {
		return nil, err
	}
	draft, err := s.draftUnknown(ctx, c, email, data)
	if err != nil {
		return nil, err
	}
	var u User
	invite := func(tx *store.Tx) error {
		u, err = s.invited(tx, c, draft, data)
		if err != nil {
			return err
		}
		err = s.askByMail(tx, c, &u, KindInvite, email, f)
		if err != nil {
			return err
		}
		u.InvitedAt, u.ConfirmationSentAt = tx.Now, tx.Now
		return tx.SetUser(&u)
	}
	err = s.db.Write(ctx, s.tenant, invite)
	if errors.Is(err, store.ErrDuplicate) { // made between our read and our write, on another node
		err = s.db.Write(ctx, s.tenant, invite)
	}
	if errors.Is(err, store.ErrDuplicate) {
		return nil, fail(EmailTaken)
	}
	if err != nil {
		return nil, err
	}
	s.wake()
	return &u, nil
}

// invited returns the unconfirmed user of that address, making one if needed.
func (s *Service) invited(tx *store.Tx, c Caller, draft User, data map[string]any) (User, error) {
	u, err := tx.UserByEmail(draft.Email)
	if errors.Is(err, store.ErrNotFound) {
		u = draft
		return u, s.addUser(tx, c, &u, "", Invited)
	}
	if err != nil {
		return u, err
	}
	if !u.EmailVerifiedAt.IsZero() {
		return u, fail(EmailTaken)
	}
	// Whoever signed up with this address before never proved it: neither the
	// password nor the data they chose are for the person who is invited.
	err = tx.DropCredentials(u.ID)
	if err == nil {
		err = s.dropOutside(tx, &u, IdentityID{})
	}
	if u.InvitedAt.IsZero() {
		u.UserMetadata = nil
	}
	if err == nil {
		u.UserMetadata, err = s.userData(u.UserMetadata, data)
	}
	if err == nil {
		err = s.identify(tx, &u) // brings the identity's copy of the data in line
	}
	if err == nil {
		err = s.emit(tx, c, Invited, u.ID, SessionID{}, nil)
	}
	return u, err
}

// draftUnknown is draft for an address that an administrator names. A hook is
// asked only if it is nobody's: administrators see that anyway.
//
// Codes: InvalidInput and those of hooks.
func (s *Service) draftUnknown(ctx context.Context, c Caller, email string, data map[string]any) (User, error) {
	to := Contact{Email: email}
	meta, err := s.userData(nil, data)
	if err != nil {
		return User{}, err
	}
	if s.hooks.BeforeUser != nil {
		known := false
		err = s.db.Read(ctx, s.tenant, func(tx *store.Tx) (err error) {
			known, err = taken(tx, to)
			return err
		})
		if err != nil {
			return User{}, err
		}
		if !known {
			return s.draft(ctx, c, to, meta)
		}
	}
	u := s.newUser(to)
	u.UserMetadata = meta
	return u, nil
}

// LinkRequest asks for a link to be handed to an administrator, who delivers
// it by a way of their own.
type LinkRequest struct {
	Kind     Kind // confirmation, invite, magic_link, recovery, email_change_current, email_change_new
	Email    string
	NewEmail string // for a change of address
	Password string // for a sign-up
	Data     map[string]any
}

// MadeLink is such a link's parts.
type MadeLink struct {
	User User
	Kind Kind   // a magic link for an unknown address becomes a sign-up
	Link string // the long secret
	Code string
}

// MakeLink makes the secrets a mail would carry and mails nothing.
//
// Codes: EmailInvalid, InvalidInput, UserNotFound, EmailTaken, WeakPassword,
// PasswordTooLong, PasswordMissing, Busy. Events: SignedUp, Invited, LinkMade.
func (s *Service) MakeLink(ctx context.Context, c Caller, r LinkRequest, f Flow) (*MadeLink, error) {
	email, err := CleanEmail(r.Email)
	if err != nil {
		return nil, err
	}
	hash := ""
	switch r.Kind {
	case KindConfirmation:
		if r.Password == "" {
			return nil, fail(PasswordMissing)
		}
		hash, err = s.newPassword(ctx, c, r.Password)
	case KindChangeCurrent, KindChangeNew:
		r.NewEmail, err = CleanEmail(r.NewEmail)
	}
	if err != nil {
		return nil, err
	}
	draft, err := s.draftLinked(ctx, c, email, r)
	if err != nil {
		return nil, err
	}
	var out MadeLink
	err = s.db.Write(ctx, s.tenant, func(tx *store.Tx) error {
		out = MadeLink{Kind: r.Kind}
		to := email
		out.User, err = s.linkUser(tx, c, r, &out.Kind, draft, hash)
		if err != nil {
			return err
		}
		u := &out.User
		switch out.Kind {
		case KindChangeCurrent, KindChangeNew:
			has, err := taken(tx, Contact{Email: r.NewEmail})
			if err != nil {
				return err
			}
			if has && r.NewEmail != u.Email {
				return fail(EmailTaken)
			}
			if u.NewEmail != r.NewEmail {
				u.NewEmail, u.EmailChangeProved = r.NewEmail, 0
			}
			u.EmailChangeSentAt = tx.Now
			if out.Kind == KindChangeNew {
				to = r.NewEmail
			}
		case KindInvite:
			u.InvitedAt, u.ConfirmationSentAt = tx.Now, tx.Now
		case KindConfirmation:
			u.ConfirmationSentAt = tx.Now
		default:
			u.RecoverySentAt = tx.Now
		}
		sec, err := s.ask(tx, c, u, out.Kind, to, f)
		if err == nil {
			err = tx.SetUser(u)
		}
		if err == nil {
			err = s.emit(tx, c, LinkMade, u.ID, SessionID{}, map[string]any{"kind": string(out.Kind)})
		}
		out.Link, out.Code = sec.link, sec.code
		return err
	})
	if errors.Is(err, store.ErrDuplicate) {
		return nil, fail(EmailTaken)
	}
	return &out, notFound(err)
}

// draftLinked is the user a link would make. Of most kinds none is made.
//
// Codes: InvalidInput and those of hooks.
func (s *Service) draftLinked(ctx context.Context, c Caller, email string, r LinkRequest) (User, error) {
	if r.Kind == KindInvite || r.Kind == KindConfirmation || r.Kind == KindMagicLink {
		return s.draftUnknown(ctx, c, email, r.Data)
	}
	return s.newUser(Contact{Email: email}), nil
}

// linkUser returns the user a link is for, making one where its kind does.
func (s *Service) linkUser(tx *store.Tx, c Caller, r LinkRequest, kind *Kind, draft User, hash string) (User, error) {
	if r.Kind == KindInvite {
		return s.invited(tx, c, draft, r.Data)
	}
	u, err := tx.UserByEmail(draft.Email)
	known := err == nil
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return u, err
	}
	switch {
	case r.Kind == KindConfirmation && known && !u.EmailVerifiedAt.IsZero():
		return u, fail(EmailTaken)
	case r.Kind == KindConfirmation && known:
		err = tx.SetPassword(u.ID, []byte(hash)) // the administrator's word replaces a stranger's
		if err == nil {
			err = tx.DropChallenges(u.ID, "")
		}
		if err == nil {
			err = s.putOut(tx, c, &u) // who confirms it keeps whoever is in
		}
		if err == nil {
			err = s.dropOutside(tx, &u, IdentityID{})
		}
		if u.InvitedAt.IsZero() {
			u.UserMetadata = nil
		}
		if err == nil {
			u.UserMetadata, err = s.userData(u.UserMetadata, r.Data)
		}
		if err == nil {
			err = s.identify(tx, &u)
		}
	case !known && (r.Kind == KindConfirmation || r.Kind == KindMagicLink):
		*kind = KindConfirmation
		u = draft
		return u, s.addUser(tx, c, &u, hash, SignedUp)
	}
	return u, err
}
