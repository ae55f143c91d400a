package gotrue

import (
	"net/http"
	"time"

	"gatehouse/internal/auth"
	"gatehouse/internal/web"
)

// linkedAccount is an account elsewhere that an operator's server has linked to a
// user. Neither of the servers we stand in for has these, so the form is our own.
type linkedAccount struct {
	Provider    string    `json:"provider"`
	ClientID    string    `json:"client_id"`
	AccessToken string    `json:"access_token,omitempty"`
	ExpiresAt   time.Time `json:"expires_at,omitzero"`
	Expired     bool      `json:"expired"` // by the server's clock
}

func linkedJSON(l *auth.LinkedAccount) linkedAccount { return linkedAccount(*l) }

// listLinked handles "GET /admin/users/{id}/providers".
func (a *api) listLinked(w http.ResponseWriter, r *http.Request, c auth.Caller) error {
	id, err := pathUser(r)
	if err != nil {
		return err
	}
	list, err := a.Auth.LinkedAll(r.Context(), c, id)
	if err != nil {
		return err
	}
	out := make([]linkedAccount, 0, len(list))
	for i := range list {
		out = append(out, linkedJSON(&list[i]))
	}
	return web.JSON(w, http.StatusOK, map[string]any{"providers": out})
}

// addLinked handles "POST /admin/users/{id}/providers".
func (a *api) addLinked(w http.ResponseWriter, r *http.Request, c auth.Caller) error {
	id, err := pathUser(r)
	if err != nil {
		return err
	}
	var in struct {
		Provider    string    `json:"provider"`
		ClientID    string    `json:"client_id"`
		AccessToken string    `json:"access_token"`
		ExpiresAt   time.Time `json:"expires_at"`
	}
	err = web.Body(w, r, &in)
	if err != nil {
		return err
	}
	made, err := a.Auth.AddLinked(r.Context(), c, id, in.Provider, auth.LinkedAccount{ClientID: in.ClientID, AccessToken: in.AccessToken, ExpiresAt: in.ExpiresAt})
	if err != nil {
		return err
	}
	return web.JSON(w, http.StatusCreated, linkedJSON(made))
}

// showLinked handles "GET /admin/users/{id}/providers/{provider}".
func (a *api) showLinked(w http.ResponseWriter, r *http.Request, c auth.Caller) error {
	id, err := pathUser(r)
	if err != nil {
		return err
	}
	l, err := a.Auth.Linked(r.Context(), c, id, r.PathValue("provider"))
	if err != nil {
		return err
	}
	return web.JSON(w, http.StatusOK, linkedJSON(l))
}

// setLinked handles "PUT /admin/users/{id}/providers/{provider}".
func (a *api) setLinked(w http.ResponseWriter, r *http.Request, c auth.Caller) error {
	id, err := pathUser(r)
	if err != nil {
		return err
	}
	var in struct {
		ClientID    *string    `json:"client_id"`
		AccessToken *string    `json:"access_token"`
		ExpiresAt   *time.Time `json:"expires_at"`
	}
	err = web.Body(w, r, &in)
	if err != nil {
		return err
	}
	l, err := a.Auth.SetLinked(r.Context(), c, id, r.PathValue("provider"), auth.LinkedChanges(in))
	if err != nil {
		return err
	}
	return web.JSON(w, http.StatusOK, linkedJSON(l))
}

// dropLinked handles "DELETE /admin/users/{id}/providers/{provider}".
func (a *api) dropLinked(w http.ResponseWriter, r *http.Request, c auth.Caller) error {
	id, err := pathUser(r)
	if err == nil {
		err = a.Auth.DropLinked(r.Context(), c, id, r.PathValue("provider"))
	}
	if err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// providerTokens handles "POST /admin/users/{id}/providers/{provider}/refresh": the
// token of an account that the user signs in with, or that is linked, renewed where
// it is over. What it is renewed with stays here.
func (a *api) providerTokens(w http.ResponseWriter, r *http.Request, c auth.Caller) error {
	id, err := pathUser(r)
	if err != nil {
		return err
	}
	provider := r.PathValue("provider")
	t, err := a.Auth.ProviderTokens(r.Context(), c, id, provider)
	if err != nil {
		return err
	}
	return web.JSON(w, http.StatusOK, struct {
		Provider    string    `json:"provider"`
		AccessToken string    `json:"access_token"`
		ExpiresAt   time.Time `json:"expires_at,omitzero"`
		Scopes      string    `json:"scopes,omitempty"`
	}{provider, t.Access, t.ExpiresAt, t.Scopes})
}
