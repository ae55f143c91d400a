package auth

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"gatehouse/internal/store"
	"gatehouse/internal/token"
)

func numeric(t time.Time) *jwt.NumericDate { return jwt.NewNumericDate(t) }

// Viewer is who holds an access token, now and not when it was signed.
type Viewer struct {
	User    User
	Session Session // zero for a token of a server without sessions, from before a move
	Claims  *token.Claims
}

// Authenticate reads an access token and looks at the session behind it, in
// one statement: a session that has ended is refused at once, whatever the
// token says.
//
// Codes: TokenMissing, TokenInvalid, SessionGone, SessionExpired, UserGone,
// UserBanned.
func (s *Service) Authenticate(ctx context.Context, c Caller, access string) (*Viewer, error) {
	claims, err := s.claims(ctx, access)
	if err != nil {
		return nil, err
	}
	return s.viewer(ctx, claims)
}

func (s *Service) claims(ctx context.Context, access string) (*token.Claims, error) {
	if access == "" {
		return nil, fail(TokenMissing)
	}
	claims, err := s.ring.keys.Verify(access, s.db.Now())
	if err != nil && !s.ring.keys.Knows(access) { // another node may have made the key
		failed := s.reloadKeys(ctx)
		if CodeOf(failed) == Unavailable {
			return nil, failed // a token that cannot be judged is not a bad one: clients would sign out
		}
		claims, err = s.ring.keys.Verify(access, s.db.Now())
	}
	if err != nil {
		return nil, &Error{Code: TokenInvalid, Err: err}
	}
	return claims, nil
}

func (s *Service) viewer(ctx context.Context, claims *token.Claims) (*Viewer, error) {
	v := &Viewer{Claims: claims}
	uid, err := store.ParseUserID(claims.Subject)
	if err != nil {
		return nil, &Error{Code: TokenInvalid, Err: err, Params: map[string]any{"sub": true}}
	}
	sid, sidErr := store.ParseSessionID(claims.SessionID)
	if sidErr != nil && (claims.SessionID != "" || !claims.Foreign) {
		return nil, &Error{Code: TokenInvalid, Err: sidErr}
	}
	if sidErr != nil { // a token without a session, signed with the operator's own key
		sid = SessionID{}
	}
	err = s.db.Read(ctx, s.tenant, func(tx *store.Tx) (err error) {
		v.Session, v.User, err = s.look(tx, uid, sid)
		return err
	})
	if err != nil {
		return nil, err
	}
	// A token for another audience may carry the same operator's signature. Of
	// the servers before a move some named none.
	if claims.Audience != token.Audience(v.User.Aud) && (claims.Audience != "" || !claims.Foreign) {
		return nil, &Error{Code: TokenInvalid, Err: fmt.Errorf("audience %q", claims.Audience)}
	}
	return v, nil
}

// look reads a user and the session they use (the zero id: none) and refuses
// what has ended. A change that was prepared slowly looks again in its
// transaction: a session may have ended meanwhile, and must change nothing.
func (s *Service) look(tx *store.Tx, uid UserID, sid SessionID) (sess Session, u User, err error) {
	if sid.IsZero() {
		u, err = tx.User(uid)
		if errors.Is(err, store.ErrNotFound) {
			err = fail(UserGone)
		}
	} else {
		sess, u, err = tx.SessionUser(sid)
		if errors.Is(err, store.ErrNotFound) {
			err = s.missingSession(tx, uid)
		}
		if err == nil && u.ID != uid {
			err = fail(TokenInvalid)
		}
		if err == nil {
			err = s.alive(&sess, &u, tx.Now)
		}
	}
	if err == nil {
		err = s.admit(&u, tx.Now)
	}
	return sess, u, err
}

// missingSession tells a deleted user from an ended session that was swept.
func (s *Service) missingSession(tx *store.Tx, uid UserID) error {
	_, err := tx.User(uid)
	if errors.Is(err, store.ErrNotFound) {
		return fail(UserGone)
	}
	if err != nil {
		return err
	}
	return fail(SessionGone)
}

// Operator reads the bearer of whoever runs the server: the operator token and
// nothing else, for what no administrator of a tenant may do.
//
// Codes: TokenMissing, NotAdmin.
func (s *Service) Operator(c Caller, bearer string) (Caller, error) {
	switch {
	case bearer == "":
		return c, fail(TokenMissing)
	case s.policy.OperatorToken == "" || !same(bearer, s.policy.OperatorToken):
		return c, fail(NotAdmin)
	}
	c.Actor = "operator"
	return c, nil
}

// Administrator reads a bearer of the operator's rights: the operator token, a
// token of an administrator's role that names no user, or a user whose role,
// in the database and now, is an administrator's. It returns the caller with
// the actor filled in; no administrator acts unnamed.
//
// Codes: TokenMissing, TokenInvalid, NotAdmin, and those of Authenticate.
func (s *Service) Administrator(ctx context.Context, c Caller, bearer string) (Caller, error) {
	if bearer == "" {
		return c, fail(TokenMissing)
	}
	operator, err := s.Operator(c, bearer)
	if err == nil {
		return operator, nil
	}
	claims, err := s.claims(ctx, bearer)
	if err != nil {
		return c, err
	}
	_, noUser := store.ParseUserID(claims.Subject)
	if noUser != nil && claims.SessionID == "" && claims.Role != "" && slices.Contains(s.policy.AdminRoles, claims.Role) {
		c.Actor = "role:" + claims.Role
		return c, nil
	}
	v, err := s.viewer(ctx, claims)
	if err != nil {
		if claims.Subject == "" {
			return c, fail(NotAdmin)
		}
		return c, err
	}
	if v.User.Role == "" || (v.User.Role != s.policy.AdminRole && !slices.Contains(s.policy.AdminRoles, v.User.Role)) {
		return c, fail(NotAdmin)
	}
	c.Actor = v.User.ID.String()
	return c, nil
}
