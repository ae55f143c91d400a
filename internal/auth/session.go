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
	return s.viewer(ctx, c, claims)
}

func (s *Service) claims(ctx context.Context, access string) (*token.Claims, error) {
	if access == "" {
		return nil, fail(TokenMissing)
	}
	claims, err := s.ring.keys.Verify(access, s.db.Now())
	if err != nil && !s.ring.keys.Knows(access) && s.reloadKeys(ctx) {
		claims, err = s.ring.keys.Verify(access, s.db.Now()) // another node may have made the key
	}
	if err != nil {
		return nil, &Error{Code: TokenInvalid, Err: err}
	}
	return claims, nil
}

func (s *Service) viewer(ctx context.Context, c Caller, claims *token.Claims) (*Viewer, error) {
	v := &Viewer{Claims: claims}
	uid, err := store.ParseUserID(claims.Subject)
	if err != nil {
		return nil, &Error{Code: TokenInvalid, Err: err, Params: map[string]any{"sub": true}}
	}
	sid, sidErr := store.ParseSessionID(claims.SessionID)
	if sidErr != nil && (claims.SessionID != "" || !claims.Foreign) {
		return nil, &Error{Code: TokenInvalid, Err: sidErr}
	}
	err = s.db.Read(ctx, c.Tenant, func(tx *store.Tx) error {
		if sidErr != nil { // a token without a session, signed with the operator's own key
			var err error
			v.User, err = tx.User(uid)
			if errors.Is(err, store.ErrNotFound) {
				return fail(UserGone)
			}
			if err != nil {
				return err
			}
			return s.admit(&v.User, tx.Now)
		}
		var err error
		v.Session, v.User, err = tx.SessionUser(sid)
		if errors.Is(err, store.ErrNotFound) {
			return s.missingSession(tx, uid)
		}
		if err != nil {
			return err
		}
		if v.User.ID != uid {
			return fail(TokenInvalid)
		}
		err = s.alive(&v.Session, tx.Now)
		if err != nil {
			return err
		}
		return s.admit(&v.User, tx.Now)
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
	if s.policy.OperatorToken != "" && same(bearer, s.policy.OperatorToken) {
		c.Actor = "operator"
		return c, nil
	}
	claims, err := s.claims(ctx, bearer)
	if err != nil {
		return c, err
	}
	if claims.SessionID == "" && slices.Contains(s.policy.AdminRoles, claims.Role) && claims.Role != "" {
		c.Actor = "role:" + claims.Role
		return c, nil
	}
	v, err := s.viewer(ctx, c, claims)
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
