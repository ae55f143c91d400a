package store

import (
	"errors"
	"time"
)

// Session is one signed-in device, one row for its whole life.
type Session struct {
	ID              SessionID
	UserID          UserID
	Generation      int64     // of the newest refresh token; the first is 1
	RotatedAt       time.Time // when Generation-1 was traded in
	ParentRotatedAt time.Time // when Generation-2 was
	AAL             int       // 1 or 2
	AMR             []byte    // JSON: how the user proved themselves, newest first
	UserAgent, IP   string
	NotAfter        time.Time // zero: no end set
	CreatedAt       time.Time
	RefreshedAt     time.Time
	EndedAt         time.Time
	EndReason       string
	Name            string     // the user's own word for it
	Device          string     // browser and system that opened it
	IdentityID      IdentityID // of the account elsewhere that opened it; zero: none did
	CheckedAt       time.Time  // when whoever keeps that account last vouched for it
}

const sessionColumns = `s.id, s.user_id, s.generation, s.rotated_at, s.parent_rotated_at, s.aal, s.amr, s.user_agent, s.ip,
	s.not_after, s.created_at, s.refreshed_at, s.ended_at, s.end_reason, s.name, s.device, s.identity_id, s.checked_at`

// sessionScan receives sessionColumns.
type sessionScan struct {
	Session
	rotated, parent, notAfter, created, refreshed, ended, checked int64
}

func (s *sessionScan) dest() []any {
	return []any{
		&s.ID, &s.UserID, &s.Generation, &s.rotated, &s.parent, &s.AAL, &s.AMR, &s.UserAgent, &s.IP,
		&s.notAfter, &s.created, &s.refreshed, &s.ended, &s.EndReason, &s.Name, &s.Device, &s.IdentityID, &s.checked,
	}
}

func (s *sessionScan) session() Session {
	t := s.Session
	t.RotatedAt, t.ParentRotatedAt, t.NotAfter = instant(s.rotated), instant(s.parent), instant(s.notAfter)
	t.CreatedAt, t.RefreshedAt, t.EndedAt, t.CheckedAt = instant(s.created), instant(s.refreshed), instant(s.ended), instant(s.checked)
	return t
}

// AddSession inserts s.
func (tx *Tx) AddSession(s Session) error {
	return tx.later(`INSERT INTO sessions (tenant_id, id, user_id, generation, rotated_at, parent_rotated_at, aal, amr, user_agent, ip,
		not_after, created_at, refreshed_at, ended_at, end_reason, name, device, identity_id, checked_at) VALUES (?, ?, ?, ?, 0, 0, ?, ?, ?, ?, ?, ?, ?, 0, '', ?, ?, ?, ?)`,
		tx.Tenant, s.ID, s.UserID, s.Generation, s.AAL, string(s.AMR), s.UserAgent, s.IP,
		micros(s.NotAfter), micros(s.CreatedAt), micros(s.RefreshedAt), s.Name, s.Device, s.IdentityID.orNull(), micros(s.CheckedAt))
}

// Session returns the session with that id, ended or not.
func (tx *Tx) Session(id SessionID) (Session, error) {
	var s sessionScan
	err := tx.row(`SELECT `+sessionColumns+` FROM sessions s WHERE s.tenant_id = ? AND s.id = ?`, []any{tx.Tenant, id}, s.dest()...)
	return s.session(), err
}

// SessionUser returns a session, its user and the user's identities: the one
// statement behind every call with an access token.
func (tx *Tx) SessionUser(id SessionID) (Session, User, error) {
	var s sessionScan
	var us userScan
	var ids []Identity
	err := tx.hold(`u.id = (SELECT user_id FROM sessions WHERE tenant_id = ? AND id = ?)`, tx.Tenant, id)
	if err != nil {
		return Session{}, User{}, err
	}
	err = tx.rows(`SELECT `+sessionColumns+`, `+userColumns+`, `+identityColumns+` FROM sessions s
		JOIN users u ON u.tenant_id = s.tenant_id AND u.id = s.user_id
		LEFT JOIN identities i`+tx.by("identities_user")+` ON i.tenant_id = u.tenant_id AND i.user_id = u.id
		WHERE s.tenant_id = ? AND s.id = ?`, []any{tx.Tenant, id},
		func(scan func(...any) error) error {
			var is identityScan
			err := scan(append(append(s.dest(), us.dest()...), is.dest()...)...)
			if err == nil && is.found() {
				ids = append(ids, is.identity())
			}
			return err
		})
	if err != nil {
		return Session{}, User{}, err
	}
	if s.ID.IsZero() {
		return Session{}, User{}, ErrNotFound
	}
	u := us.user()
	u.Identities = oldestFirst(ids)
	return s.session(), u, nil
}

// Rotate moves a living session from one generation to the next and reports
// whether this call was the one to do it.
func (tx *Tx) Rotate(id SessionID, generation int64, ip, agent string) (bool, error) {
	n, err := tx.exec(`UPDATE sessions SET generation = generation + 1, parent_rotated_at = rotated_at, rotated_at = ?, refreshed_at = ?, ip = ?, user_agent = ?
		WHERE tenant_id = ? AND id = ? AND generation = ? AND ended_at = 0`,
		micros(tx.Now), micros(tx.Now), ip, agent, tx.Tenant, id, generation)
	if err == nil && n == 1 {
		tx.note(Refreshed)
	}
	return n == 1, err
}

// SessionsOf returns up to limit of a user's sessions, newest first: the living
// ones, and with ended also those that have ended and were not swept yet.
func (tx *Tx) SessionsOf(user UserID, ended bool, limit int) (list []Session, err error) {
	alive := ` AND s.ended_at = 0`
	if ended {
		alive = ``
	}
	err = tx.rows(`SELECT `+sessionColumns+` FROM sessions s`+tx.by("sessions_user")+` WHERE s.tenant_id = ? AND s.user_id = ?`+alive+` ORDER BY s.created_at DESC, s.id DESC LIMIT ?`,
		[]any{tx.Tenant, user, limit}, func(scan func(...any) error) error {
			var s sessionScan
			err := scan(s.dest()...)
			list = append(list, s.session())
			return err
		})
	return list, err
}

// DeviceKnown reports whether a user has a session of that device, alive or not
// yet swept, and whether of any whose device is told: those that older programs
// have opened do not tell.
func (tx *Tx) DeviceKnown(user UserID, device string) (known, others bool, err error) {
	err = tx.rows(`SELECT DISTINCT device FROM sessions`+tx.by("sessions_user")+` WHERE tenant_id = ? AND user_id = ?`, []any{tx.Tenant, user},
		func(scan func(...any) error) error {
			var d string
			err := scan(&d)
			known, others = known || d == device, others || d != ""
			return err
		})
	return known, others, err
}

// NameSession names a living session of a user and reports whether it is one.
func (tx *Tx) NameSession(id SessionID, user UserID, name string) (bool, error) {
	n, err := tx.exec(`UPDATE sessions SET name = ? WHERE tenant_id = ? AND id = ? AND user_id = ? AND ended_at = 0`, name, tx.Tenant, id, user)
	return n == 1, err
}

// EndSession ends a living session and reports whether it was alive.
func (tx *Tx) EndSession(id SessionID, reason string) (bool, error) {
	n, err := tx.exec(`UPDATE sessions SET ended_at = ?, end_reason = ? WHERE tenant_id = ? AND id = ? AND ended_at = 0`,
		micros(tx.Now), reason, tx.Tenant, id)
	return n == 1, err
}

// EndAllSessions ends the living sessions of the tenant among the next so many
// by id, after one (the zero id: the first), and returns how many it ended and
// the last it looked at; the zero id: there are no more. All at once would take
// longer than any statement may.
func (tx *Tx) EndAllSessions(after SessionID, next int, reason string) (last SessionID, n int, err error) {
	err = tx.row(`SELECT id FROM sessions WHERE tenant_id = ? AND id > ? ORDER BY id LIMIT 1 OFFSET ?`, []any{tx.Tenant, after, next - 1}, &last)
	to, bound := last, `<=`
	if errors.Is(err, ErrNotFound) { // fewer are left
		to, bound, err = after, `>`, nil
	}
	if err != nil {
		return last, 0, err
	}
	ended, err := tx.exec(`UPDATE sessions SET ended_at = ?, end_reason = ? WHERE tenant_id = ? AND id > ? AND id `+bound+` ? AND ended_at = 0`,
		micros(tx.Now), reason, tx.Tenant, after, to)
	return last, int(ended), err
}

// EndSessions ends all living sessions of a user but one (the zero id: all)
// and returns which.
func (tx *Tx) EndSessions(user UserID, but SessionID, reason string) ([]SessionID, error) {
	var ids []SessionID
	err := tx.rows(`SELECT id FROM sessions`+tx.by("sessions_user")+` WHERE tenant_id = ? AND user_id = ? AND ended_at = 0 AND id <> ?`, []any{tx.Tenant, user, but},
		func(scan func(...any) error) error {
			var id SessionID
			err := scan(&id)
			ids = append(ids, id)
			return err
		})
	if err != nil || len(ids) == 0 {
		return nil, err
	}
	return ids, tx.later(`UPDATE sessions`+tx.by("sessions_user")+` SET ended_at = ?, end_reason = ? WHERE tenant_id = ? AND user_id = ? AND ended_at = 0 AND id <> ?`,
		micros(tx.Now), reason, tx.Tenant, user, but)
}

// EndSessionsOf ends the living sessions of a user that one identity has opened,
// but for one, and returns which it ended.
func (tx *Tx) EndSessionsOf(user UserID, identity IdentityID, but SessionID, reason string) ([]SessionID, error) {
	var ids []SessionID
	err := tx.rows(`SELECT id FROM sessions`+tx.by("sessions_user")+` WHERE tenant_id = ? AND user_id = ? AND ended_at = 0 AND identity_id = ? AND id <> ?`,
		[]any{tx.Tenant, user, identity, but}, func(scan func(...any) error) error {
			var id SessionID
			err := scan(&id)
			ids = append(ids, id)
			return err
		})
	for _, id := range ids {
		if err == nil {
			_, err = tx.EndSession(id, reason)
		}
	}
	return ids, err
}

// CapSessions ends the oldest living sessions of a user but for so many, and
// never the one that was just added, though a node whose clock is behind may
// have made it: whoever signs in without end fills no table.
func (tx *Tx) CapSessions(user UserID, living int, added SessionID, reason string) error {
	// The inner table is one more only because MySQL does not read what it
	// writes (error 1093).
	by := tx.by("sessions_user")
	return tx.later(`UPDATE sessions`+by+` SET ended_at = ?, end_reason = ? WHERE tenant_id = ? AND user_id = ? AND ended_at = 0 AND id <> ? AND id < (
		SELECT id FROM (SELECT id FROM sessions`+by+` WHERE tenant_id = ? AND user_id = ? AND ended_at = 0 ORDER BY id DESC LIMIT 1 OFFSET ?) kept)`,
		micros(tx.Now), reason, tx.Tenant, user, added, tx.Tenant, user, living-1)
}

// ClaimCheck moves on when whoever keeps the account a session was opened by last
// vouched for it, and reports whether this call was the one to do it: of many at
// one instant one asks.
func (tx *Tx) ClaimCheck(id SessionID, was, now time.Time) (bool, error) {
	n, err := tx.exec(`UPDATE sessions SET checked_at = ? WHERE tenant_id = ? AND id = ? AND checked_at = ? AND ended_at = 0`,
		micros(now), tx.Tenant, id, micros(was))
	return n == 1, err
}
