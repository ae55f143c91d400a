package auth

import (
	"context"
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"

	"gatehouse/internal/store"
)

// listed bounds a list of sessions; a user has at most SessionsPerUser living
// ones.
const listed = 1000

// Sessions returns a user's sessions, newest first: the living ones, and with
// ended also those that have ended lately.
func (s *Service) Sessions(ctx context.Context, c Caller, id UserID, ended bool) (list []Session, err error) {
	err = s.db.Read(ctx, s.tenant, func(tx *store.Tx) error {
		_, err := tx.User(id)
		if err != nil {
			return err
		}
		all, err := tx.SessionsOf(id, ended, listed)
		for _, sess := range all {
			u := User{} // of limits that depend on the user none matters to a list
			if ended || s.alive(&sess, &u, tx.Now) == nil {
				list = append(list, sess)
			}
		}
		return err
	})
	return list, notFound(err)
}

// SessionByID returns a session, living or ended, until it is swept.
//
// Codes: SessionNotFound.
func (s *Service) SessionByID(ctx context.Context, c Caller, id SessionID) (sess Session, err error) {
	err = s.db.Read(ctx, s.tenant, func(tx *store.Tx) error {
		sess, err = tx.Session(id)
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		err = fail(SessionNotFound)
	}
	return sess, err
}

// NameSession gives a user's living session a name of their own; an empty one
// takes it away.
//
// Codes: InvalidInput, SessionNotFound. Events: SessionNamed.
func (s *Service) NameSession(ctx context.Context, c Caller, id UserID, session SessionID, name string) (sess Session, err error) {
	const longest = 100
	name = strings.TrimSpace(name)
	if utf8.RuneCountInString(name) > longest || strings.ContainsFunc(name, rearranges) {
		return sess, Invalid("name", "The name of a session has at most 100 characters, on one line")
	}
	err = s.db.Write(ctx, s.tenant, func(tx *store.Tx) error {
		ok, err := tx.NameSession(session, id, name)
		if err == nil && !ok {
			// MySQL counts no row that has the name already.
			sess, err = tx.Session(session)
			if err == nil && (sess.UserID != id || !sess.EndedAt.IsZero()) {
				err = store.ErrNotFound
			}
			return err
		}
		if err == nil {
			sess, err = tx.Session(session)
		}
		if err == nil {
			err = s.emit(tx, c, SessionNamed, id, session, nil)
		}
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		err = fail(SessionNotFound)
	}
	return sess, err
}

// rearranges tells whether a character ends a line or turns the order of those
// around it: names stand in lists.
func rearranges(r rune) bool {
	return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' || r == utf8.RuneError || unicode.Is(unicode.Bidi_Control, r)
}

// EndSession ends one session of a user, at once.
//
// Codes: SessionNotFound. Events: SignedOut.
func (s *Service) EndSession(ctx context.Context, c Caller, id UserID, session SessionID) error {
	reason := "ended from another session"
	if c.Actor != "" {
		reason = "ended by an administrator"
	}
	err := s.db.Write(ctx, s.tenant, func(tx *store.Tx) error {
		sess, err := tx.Session(session)
		if err == nil && sess.UserID != id {
			err = store.ErrNotFound
		}
		if err != nil {
			return err
		}
		alive, err := tx.EndSession(session, reason)
		if err == nil && !alive {
			err = store.ErrNotFound
		}
		if err != nil {
			return err
		}
		return s.ended(tx, c, id, reason, []SessionID{session})
	})
	if errors.Is(err, store.ErrNotFound) {
		err = fail(SessionNotFound)
	}
	return err
}

// endOthers ends all sessions of a user for the one that is opened now.
func (s *Service) endOthers(tx *store.Tx, c Caller, id UserID) error {
	gone, err := tx.EndSessions(id, SessionID{}, endedByNewer)
	if err != nil {
		return err
	}
	return s.ended(tx, c, id, endedByNewer, gone)
}
