package gotrue

import (
	"encoding/json"
	"net/http"
	"time"

	"gatehouse/internal/auth"
	"gatehouse/internal/web"
)

// signedInSession is a session as its user sees it. Neither of the servers we
// stand in for shows one, so the form is our own.
type signedInSession struct {
	ID          string          `json:"id"`
	Name        string          `json:"name"`    // the user's own word for it
	Device      string          `json:"device"`  // browser and system that opened it
	Current     bool            `json:"current"` // of the token that asks
	UserAgent   string          `json:"user_agent"`
	IP          string          `json:"ip"`
	AAL         string          `json:"aal"`
	AMR         json.RawMessage `json:"amr"`
	CreatedAt   time.Time       `json:"created_at"`
	RefreshedAt time.Time       `json:"refreshed_at"`
	NotAfter    time.Time       `json:"not_after,omitzero"`
	EndedAt     time.Time       `json:"ended_at,omitzero"`
	EndReason   string          `json:"end_reason,omitempty"`
}

func sessionRow(s *auth.Session, current auth.SessionID) signedInSession {
	aal := "aal1"
	if s.AAL > 1 {
		aal = "aal2"
	}
	return signedInSession{
		ID: s.ID.String(), Name: s.Name, Device: s.Device, Current: s.ID == current, UserAgent: s.UserAgent, IP: s.IP, AAL: aal, AMR: s.AMR,
		CreatedAt: s.CreatedAt, RefreshedAt: s.RefreshedAt, NotAfter: s.NotAfter, EndedAt: s.EndedAt, EndReason: s.EndReason,
	}
}

func sessionRows(list []auth.Session, current auth.SessionID) map[string][]signedInSession {
	rows := make([]signedInSession, 0, len(list))
	for i := range list {
		rows = append(rows, sessionRow(&list[i], current))
	}
	return map[string][]signedInSession{"sessions": rows}
}

// listSessions handles "GET /sessions".
func (a *api) listSessions(w http.ResponseWriter, r *http.Request, v *auth.Viewer) error {
	list, err := a.Auth.Sessions(r.Context(), web.Caller(r), v.User.ID, false)
	if err != nil {
		return err
	}
	return web.JSON(w, http.StatusOK, sessionRows(list, v.Session.ID))
}

// nameSession handles "PATCH /sessions/{id}".
func (a *api) nameSession(w http.ResponseWriter, r *http.Request, v *auth.Viewer) error {
	id, err := pathSession(r, "id")
	if err != nil {
		return err
	}
	var in struct {
		Name *string `json:"name"`
	}
	err = web.Body(w, r, &in)
	if err != nil {
		return err
	}
	if in.Name == nil {
		return auth.Invalid("name", "A name is needed; an empty one takes it away")
	}
	s, err := a.Auth.NameSession(r.Context(), web.Caller(r), v.User.ID, id, *in.Name)
	if err != nil {
		return err
	}
	return web.JSON(w, http.StatusOK, sessionRow(&s, v.Session.ID))
}

// endSession handles "DELETE /sessions/{id}".
func (a *api) endSession(w http.ResponseWriter, r *http.Request, v *auth.Viewer) error {
	id, err := pathSession(r, "id")
	if err == nil {
		err = a.Auth.EndSession(r.Context(), web.Caller(r), v.User.ID, id)
	}
	if err != nil {
		return err
	}
	if id == v.Session.ID {
		a.clearCookie(w)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// listUserSessions handles "GET /admin/users/{id}/sessions": also those that
// have ended lately, with the reason.
func (a *api) listUserSessions(w http.ResponseWriter, r *http.Request, c auth.Caller) error {
	id, err := pathUser(r)
	if err != nil {
		return err
	}
	list, err := a.Auth.Sessions(r.Context(), c, id, true)
	if err != nil {
		return err
	}
	return web.JSON(w, http.StatusOK, sessionRows(list, auth.SessionID{}))
}

// endUserSessions handles "DELETE /admin/users/{id}/sessions".
func (a *api) endUserSessions(w http.ResponseWriter, r *http.Request, c auth.Caller) error {
	id, err := pathUser(r)
	if err == nil {
		_, err = a.Auth.User(r.Context(), c, id)
	}
	if err == nil {
		_, err = a.Auth.SignOutUser(r.Context(), c, id)
	}
	if err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// endUserSession handles "DELETE /admin/users/{id}/sessions/{session}".
func (a *api) endUserSession(w http.ResponseWriter, r *http.Request, c auth.Caller) error {
	id, err := pathUser(r)
	if err != nil {
		return err
	}
	session, err := pathSession(r, "session")
	if err == nil {
		err = a.Auth.EndSession(r.Context(), c, id, session)
	}
	if err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func pathSession(r *http.Request, name string) (auth.SessionID, error) {
	id, err := auth.ParseSessionID(r.PathValue(name))
	if err != nil {
		return id, &auth.Error{Code: auth.SessionNotFound, Field: name}
	}
	return id, nil
}
