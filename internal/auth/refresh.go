package auth

import (
	"context"
	"errors"
	"time"

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
// UserBanned, UserGone. Events: ReuseDetected, IdentityRefused.
func (s *Service) Refresh(ctx context.Context, c Caller, raw string) (*Grant, error) {
	r, ok := token.ParseRefresh(raw, s.tenant, s.refreshMAC)
	if !ok {
		return nil, fail(RefreshMalformed) // no query was spent on it
	}
	for range maxRaces {
		g, err := s.refresh(ctx, c, r)
		if g != nil || err != nil {
			return g, err
		}
	}
	return nil, fail(Busy)
}

// RefreshSession returns the session a refresh token is of, for limits. No query
// is spent on it, so that it may have ended.
func (s *Service) RefreshSession(raw string) (id SessionID, ok bool) {
	r, ok := token.ParseRefresh(raw, s.tenant, s.refreshMAC)
	return r.Session, ok
}

// maxRaces bounds how often one refresh looks again because another was
// quicker. The second look finds the generation moved, so two are enough.
const maxRaces = 4

// refresh looks at the session, decides, and writes only what the decision
// needs: a trade of the newest generation is one conditional update, a lost
// answer costs no write at all. Neither a Grant nor an error: look again.
func (s *Service) refresh(ctx context.Context, c Caller, r token.Refresh) (*Grant, error) {
	var u User
	var sess Session
	var now time.Time
	err := s.db.Read(ctx, s.tenant, func(tx *store.Tx) (err error) {
		now = tx.Now
		sess, u, err = tx.SessionUser(r.Session)
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		return nil, fail(RefreshNotFound)
	}
	if err != nil {
		return nil, err
	}
	err = s.alive(&sess, &u, now)
	if CodeOf(err) == SessionGone && err != nil {
		if sess.EndReason == endedByNewer {
			return nil, &Error{Code: SessionExpired, Params: map[string]any{"reason": endedByNewer}}
		}
		return nil, fail(RefreshNotFound)
	}
	if err == nil {
		err = s.admit(&u, now)
	}
	if err == nil && r.Generation == sess.Generation && s.stale(&sess, now) {
		err = s.recheck(ctx, c, &sess, &u)
	}
	if err != nil {
		return nil, err
	}
	switch n := r.Generation; {
	case n == sess.Generation: // the newest
		rotated := false
		err = s.db.WriteOne(ctx, s.tenant, func(tx *store.Tx) (err error) {
			rotated, err = tx.Rotate(r.Session, n, c.IP, cut(c.Agent, 255))
			return err
		})
		if err != nil || !rotated { // another tab was quicker, or the session ended
			return nil, err
		}
	case n == sess.Generation-1: // the answer was lost, or another tab was quicker
	case n == sess.Generation-2 && now.Sub(sess.ParentRotatedAt) <= s.policy.ReuseGrace:
	case n > sess.Generation: // from before the database was put back to an older state
		return nil, fail(RefreshNotFound)
	default:
		return nil, s.endReused(ctx, c, &sess, n)
	}
	return s.grant(ctx, c, "token_refresh", u, sess, r.Generation+1, now)
}

// endReused ends the session of a token that came back too late, and refuses
// it: the refusal is an error only after the end is on disk.
func (s *Service) endReused(ctx context.Context, c Caller, sess *Session, n int64) error {
	err := s.db.Write(ctx, s.tenant, func(tx *store.Tx) error {
		ended, err := tx.EndSession(sess.ID, "refresh token reused")
		if err != nil || !ended {
			return err
		}
		return s.emit(tx, c, ReuseDetected, sess.UserID, sess.ID, map[string]any{"generation": n, "newest": sess.Generation})
	})
	if err != nil {
		return err
	}
	return fail(RefreshReused)
}
