package auth

import (
	"context"

	"gatehouse/internal/store"
)

// signUpAnonymous makes a user who is nobody in particular, signed in at once.
// They become permanent with an address or number of their own: UpdateUser.
//
// Codes: AnonymousDisabled, CaptchaFailed, InvalidInput. Events: SignedUp, SignedIn.
func (s *Service) signUpAnonymous(ctx context.Context, c Caller, n NewUser) (*Grant, error) {
	if s.policy.AnonymousDisabled {
		return nil, fail(AnonymousDisabled)
	}
	err := s.human(ctx, c)
	if err != nil {
		return nil, err
	}
	meta, err := s.userData(nil, n.Data)
	if err != nil {
		return nil, err
	}
	var u User
	var sess Session
	draft, err := s.draft(ctx, c, Contact{}, meta)
	if err != nil {
		return nil, err
	}
	err = s.db.Write(ctx, s.tenant, func(tx *store.Tx) error {
		u = draft
		u.IsAnonymous = true
		err := s.addUser(tx, c, &u, "", SignedUp)
		if err == nil {
			sess, err = s.open(tx, c, &u, Proof{UserID: u.ID, AMR: "anonymous"})
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return s.admitted(ctx, c, "anonymous", u, sess)
}
