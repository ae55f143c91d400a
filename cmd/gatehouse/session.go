package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"gatehouse/internal/auth"
)

type sessionCmd struct {
	List    sessionListCmd    `cmd:"" help:"List a user's sessions, newest first."`
	Explain sessionExplainCmd `cmd:"" help:"Tell what became of a session, and why."`
	End     sessionEndCmd     `cmd:"" help:"End a session."`
}

// sessionOut is a session in JSON for scripts.
type sessionOut struct {
	ID        string          `json:"id"`
	UserID    string          `json:"user_id"`
	Email     string          `json:"email,omitempty"`
	Phone     string          `json:"phone,omitempty"`
	Name      string          `json:"name"`
	Device    string          `json:"device"`
	UserAgent string          `json:"user_agent"`
	IP        string          `json:"ip"`
	AAL       int             `json:"aal"`
	AMR       json.RawMessage `json:"amr"`
	CreatedAt time.Time       `json:"created_at"`
	UsedAt    time.Time       `json:"refreshed_at"`
	NotAfter  time.Time       `json:"not_after,omitzero"`
	EndedAt   time.Time       `json:"ended_at,omitzero"`
	EndReason string          `json:"end_reason,omitempty"`
	State     string          `json:"state"` // in words
	Events    []eventOut      `json:"events,omitempty"`
}

func (h *house) sessionOut(s *auth.Session, u *auth.User) sessionOut {
	return sessionOut{
		ID: s.ID.String(), UserID: u.ID.String(), Email: u.Email, Phone: u.Phone, Name: s.Name, Device: s.Device, UserAgent: s.UserAgent, IP: s.IP,
		AAL: s.AAL, AMR: s.AMR, CreatedAt: s.CreatedAt, UsedAt: s.RefreshedAt, NotAfter: s.NotAfter, EndedAt: s.EndedAt, EndReason: s.EndReason,
		State: h.stateOf(s, u),
	}
}

// stateOf says in a few words whether a session may still be used, and if not,
// since when and why. A session that has run out ends with nobody's deed: no
// row says so.
func (h *house) stateOf(s *auth.Session, u *auth.User) string {
	now, p := h.db.Now(), h.auth.Policy()
	switch {
	case !s.EndedAt.IsZero():
		return "ended " + when(s.EndedAt) + ": " + plainly(s.EndReason)
	case !u.DeletedAt.IsZero():
		return "cannot be used: the user was deleted"
	case u.BannedUntil.After(now):
		return "cannot be used: the user is banned until " + when(u.BannedUntil)
	case !s.NotAfter.IsZero() && !now.Before(s.NotAfter):
		return "ended " + when(s.NotAfter) + ": its time was up (SESSIONS_TIMEBOX when it was opened)"
	case p.SessionInactivity > 0 && now.Sub(s.RefreshedAt) > p.SessionInactivity:
		return "ended " + when(s.RefreshedAt.Add(p.SessionInactivity)) + ": it lay unused for longer than " + p.SessionInactivity.String()
	case p.LowAAL > 0 && u.VerifiedFactors > 0 && s.AAL < 2 && now.Sub(s.CreatedAt) > p.LowAAL:
		return "ended " + when(s.CreatedAt.Add(p.LowAAL)) + ": the second factor was not given within " + p.LowAAL.String()
	}
	return "living"
}

// plainly explains the words that sessions end with; those that need no
// explanation stay as they are.
func plainly(reason string) string {
	more := map[string]string{
		"refresh token reused":       "a used refresh token came back too late: it was stolen, or a client keeps an old one",
		"signed in elsewhere":        "the user signed in elsewhere, and may have one session only (SESSIONS_SINGLE_PER_USER)",
		"too many sessions":          "newer sessions took its place (SESSIONS_PER_USER)",
		"password changed":           "the password was changed",
		"signed out":                 "the user signed out",
		"signed out everywhere":      "the user signed out everywhere",
		"ended from another session": "the user ended it from another session",
		"":                           "nobody wrote down why",
	}
	if words, ok := more[reason]; ok {
		return words
	}
	return reason
}

// whose is how a user is known: by an address, a number or the id alone.
func whose(u *auth.User) string {
	switch {
	case u.Email != "":
		return u.Email
	case u.Phone != "":
		return "+" + u.Phone
	}
	return u.ID.String()
}

type sessionListCmd struct {
	User  string `arg:"" help:"Address, number or id."`
	Ended bool   `help:"Also those that ended in the last 7 days."`
	JSON  bool   `help:"As JSON." name:"json"`
}

// Run lists a user's sessions.
func (c sessionListCmd) Run(ctx context.Context, e env) error {
	return withUser(ctx, e, c.User, func(h *house, u *auth.User) error {
		list, err := h.auth.Sessions(ctx, cliCaller, u.ID, c.Ended)
		if err != nil {
			return err
		}
		rows := make([]sessionOut, 0, len(list))
		for i := range list {
			rows = append(rows, h.sessionOut(&list[i], u))
		}
		if c.JSON {
			return printJSON(e.out, map[string]any{"sessions": rows})
		}
		t := tabwriter.NewWriter(e.out, 0, 8, 2, ' ', 0)
		fmt.Fprintln(t, "ID\tDEVICE\tNAME\tIP\tOPENED\tLAST USED\tSTATE")
		for _, s := range rows {
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", s.ID, or(s.Device, "-"), or(s.Name, "-"), or(s.IP, "-"), when(s.CreatedAt), when(s.UsedAt), s.State)
		}
		return t.Flush()
	})
}

type sessionExplainCmd struct {
	ID   string `arg:"" help:"Id of the session: session_id in a token."`
	JSON bool   `help:"As JSON." name:"json"`
}

// Run answers «why was I signed out?».
func (c sessionExplainCmd) Run(ctx context.Context, e env) error {
	return withSession(ctx, e, c.ID, func(h *house, s *auth.Session, u *auth.User) error {
		o := h.sessionOut(s, u)
		events, err := h.auth.EventsOf(ctx, cliCaller, u.ID, 1000)
		if err != nil {
			return err
		}
		const most = 10
		for _, ev := range events {
			if len(o.Events) < most && concerns(ev, s) {
				o.Events = append(o.Events, eventOut{At: ev.CreatedAt, Name: ev.Name, Actor: ev.Actor, IP: ev.IP, Data: ev.Data})
			}
		}
		if c.JSON {
			return printJSON(e.out, o)
		}
		ends := "never, by itself"
		if !o.NotAfter.IsZero() {
			ends = when(o.NotAfter)
		}
		t := tabwriter.NewWriter(e.out, 0, 8, 2, ' ', 0)
		fmt.Fprintf(t, "session\t%s\nuser\t%s (%s)\ndevice\t%s\nname\t%s\nip\t%s\nopened\t%s\nlast used\t%s\nends\t%s\nstate\t%s\n",
			o.ID, whose(u), u.ID, or(o.Device, "-"), or(o.Name, "-"), or(o.IP, "-"), when(o.CreatedAt), when(o.UsedAt), ends, o.State)
		for _, ev := range o.Events {
			fmt.Fprintf(t, "%s\t%s by %s %s %s\n", when(ev.At), ev.Name, ev.Actor, ev.IP, detail(ev.Data))
		}
		return t.Flush()
	})
}

// concerns reports whether an event is about a session: it names it, or it
// ended all sessions of the user at the moment this one ended.
func concerns(ev auth.Event, s *auth.Session) bool {
	return ev.SessionID == s.ID || ev.SessionID.IsZero() && !s.EndedAt.IsZero() && ev.CreatedAt.Equal(s.EndedAt)
}

// detail is the data of an event, unless it has none.
func detail(data json.RawMessage) string {
	if string(data) == "{}" {
		return ""
	}
	return strings.TrimSpace(string(data))
}

type sessionEndCmd struct {
	ID string `arg:"" help:"Id of the session: session_id in a token."`
}

// Run ends a session, at once also for a running server.
func (c sessionEndCmd) Run(ctx context.Context, e env) error {
	return withSession(ctx, e, c.ID, func(h *house, s *auth.Session, u *auth.User) error {
		err := h.auth.EndSession(ctx, cliCaller, u.ID, s.ID)
		if auth.CodeOf(err) == auth.SessionNotFound {
			return fmt.Errorf("the session has %s", h.stateOf(s, u))
		}
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(e.out, "Ended session %s of %s.\n", s.ID, whose(u))
		return err
	})
}

// withSession opens the house and finds a session and its user.
func withSession(ctx context.Context, e env, id string, f func(*house, *auth.Session, *auth.User) error) error {
	sid, err := auth.ParseSessionID(id)
	if err != nil {
		return errors.New("that is not the id of a session; gatehouse session list USER shows them")
	}
	return withHouse(ctx, e, func(h *house) error {
		s, err := h.auth.SessionByID(ctx, cliCaller, sid)
		if auth.CodeOf(err) == auth.SessionNotFound {
			return errors.New("no such session, or it ended more than 7 days ago")
		}
		if err != nil {
			return err
		}
		u, err := h.auth.User(ctx, cliCaller, s.UserID)
		if err != nil {
			return err
		}
		return f(h, &s, u)
	})
}
