package auth

import (
	"context"
	"errors"

	"gatehouse/internal/store"
	"gatehouse/internal/token"
)

// Refresh trades a refresh token for its successor and a fresh access token.
//
// The successor of generation n is generation n+1, always the same token. The
// newest generation is traded by moving the session's row; its parent gets the
// same answer again for as long as the child was not used, because answers get
// lost; the one before gets its successor within the grace, because browsers
// have many tabs; anything older ends the session, because thieves exist. That
// verdict is committed although the caller is refused.
//
// Codes: RefreshMalformed, RefreshNotFound, RefreshReused, SessionExpired,
// UserBanned, UserGone. Events: ReuseDetected.
func (s *Service) Refresh(ctx context.Context, c Caller, raw string) (*Grant, error) {
	r, ok := token.ParseRefresh(raw, c.Tenant, s.refreshMAC)
	if !ok {
		return nil, fail(RefreshMalformed) // no query was spent on it
	}
	var u User
	var sess Session
	var refused error
	now := s.db.Now()
	err := s.db.Write(ctx, c.Tenant, func(tx *store.Tx) error {
		refused, now = nil, tx.Now
		rotated, err := tx.Rotate(r.Session, r.Generation, c.IP, cut(c.Agent, 255)) // first: racers queue on the row
		if err != nil {
			return err
		}
		sess, u, err = tx.SessionUser(r.Session)
		if errors.Is(err, store.ErrNotFound) {
			refused = fail(RefreshNotFound)
			return nil
		}
		if err != nil {
			return err
		}
		return s.judgeRefresh(tx, c, &sess, &u, r.Generation, rotated, &refused)
	})
	if err != nil {
		return nil, err
	}
	if refused != nil {
		return nil, refused
	}
	return s.grant(c.Tenant, u, sess, r.Generation+1, now)
}

// judgeRefresh decides what generation n is worth to a session. Returning a
// refusal as an error takes back the rotation; one in refused commits.
func (s *Service) judgeRefresh(tx *store.Tx, c Caller, sess *Session, u *User, n int64, rotated bool, refused *error) error {
	err := s.alive(sess, tx.Now)
	if CodeOf(err) == SessionGone {
		err = fail(RefreshNotFound)
	}
	if err == nil {
		err = s.admit(u, tx.Now)
	}
	if err != nil {
		return err
	}
	switch {
	case rotated: // the newest
		return nil
	case n == sess.Generation-1: // the answer was lost, or another tab was quicker
		return nil
	case n == sess.Generation-2 && tx.Now.Sub(sess.ParentRotatedAt) <= s.policy.ReuseGrace:
		return nil
	case n >= sess.Generation: // from before the database was put back to an older state
		return fail(RefreshNotFound)
	}
	*refused = fail(RefreshReused)
	_, err = tx.EndSession(sess.ID, "refresh token reused")
	if err != nil {
		return err
	}
	return s.emit(tx, c, ReuseDetected, sess.UserID, sess.ID, map[string]any{"generation": n, "newest": sess.Generation})
}
