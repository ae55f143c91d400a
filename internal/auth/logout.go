package auth

import (
	"context"

	"gatehouse/internal/store"
)

// Scope says which sessions a sign-out ends.
type Scope string

// The scopes.
const (
	Global Scope = "global" // all of the user's
	Local  Scope = "local"  // this one
	Others Scope = "others" // all but this one
)

// SignOut ends sessions of a signed-in user, at once.
//
// Codes: InvalidInput. Events: SignedOut.
func (s *Service) SignOut(ctx context.Context, c Caller, v *Viewer, scope Scope) error {
	return s.db.Write(ctx, s.tenant, func(tx *store.Tx) error {
		var ended []SessionID
		var err error
		switch scope {
		case Global:
			ended, err = tx.EndSessions(v.User.ID, SessionID{}, "signed out everywhere")
		case Others:
			ended, err = tx.EndSessions(v.User.ID, v.Session.ID, "signed out from another session")
		case Local:
			var alive bool
			alive, err = tx.EndSession(v.Session.ID, "signed out")
			if alive {
				ended = []SessionID{v.Session.ID}
			}
		default:
			return Invalid("scope", "Unsupported logout scope "+string(scope))
		}
		if err != nil {
			return err
		}
		return s.ended(tx, c, v.User.ID, string(scope), ended)
	})
}

// SignOutUser ends all sessions of a user for an administrator.
//
// Events: SignedOut.
func (s *Service) SignOutUser(ctx context.Context, c Caller, id UserID) (n int, err error) {
	err = s.db.Write(ctx, s.tenant, func(tx *store.Tx) error {
		ended, err := tx.EndSessions(id, SessionID{}, "signed out by an administrator")
		n = len(ended)
		if err != nil {
			return err
		}
		return s.ended(tx, c, id, "administrator", ended)
	})
	return n, err
}

// SignOutAll ends every session there is: after a backup was put back, or a
// break-in.
//
// Sessions end a thousand at a time; one that fails leaves those before it
// ended, and may be asked for again.
//
// Events: SignedOut, one for each thousand that had a living one.
func (s *Service) SignOutAll(ctx context.Context, c Caller) (n int, err error) {
	const bite = 1000
	for last, first := (SessionID{}), true; first || !last.IsZero(); first = false {
		after, ended := last, 0
		err = s.db.Write(ctx, s.tenant, func(tx *store.Tx) error {
			last, ended, err = tx.EndAllSessions(after, bite, "all signed out by an administrator")
			if err != nil || ended == 0 {
				return err
			}
			return s.emit(tx, c, SignedOut, UserID{}, SessionID{}, map[string]any{"reason": "everybody", "sessions": ended})
		})
		if err != nil {
			return n, err
		}
		n += ended
	}
	return n, nil
}

// manyEnded is from when on sessions that end together share one event: a user
// with thousands must not hold up every writer.
const manyEnded = 100

// ended emits one event for each session that ended.
func (s *Service) ended(tx *store.Tx, c Caller, user UserID, reason string, sessions []SessionID) error {
	if len(sessions) > manyEnded {
		return s.emit(tx, c, SignedOut, user, SessionID{}, map[string]any{"reason": reason, "sessions": len(sessions)})
	}
	for _, id := range sessions {
		err := s.emit(tx, c, SignedOut, user, id, map[string]any{"reason": reason})
		if err != nil {
			return err
		}
	}
	return nil
}
