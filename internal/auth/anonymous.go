package auth

import (
	"context"

	"gatehouse/internal/store"
)

// signUpAnonymous makes a user who is nobody in particular, signed in at once.
// They become permanent with an address or number of their own: UpdateUser.
//
// Codes: AnonymousDisabled, InvalidInput. Events: SignedUp, SignedIn.
func (s *Service) signUpAnonymous(ctx context.Context, c Caller, n NewUser) (*Grant, error) {
	if s.policy.AnonymousDisabled {
		return nil, fail(AnonymousDisabled)
	}
	meta, err := s.userData(nil, n.Data)
	if err != nil {
		return nil, err
	}
	var u User
	var sess Session
	err = s.db.Write(ctx, c.Tenant, func(tx *store.Tx) error {
		u = s.newUser(tx, Contact{})
		u.IsAnonymous, u.UserMetadata, u.AppMetadata = true, meta, providerMetadata("")
		err := s.addUser(tx, c, &u, "", SignedUp)
		if err == nil {
			sess, err = s.open(tx, c, &u, Proof{UserID: u.ID, AMR: "anonymous"})
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return s.grant(c.Tenant, u, sess, sess.Generation, sess.CreatedAt)
}
