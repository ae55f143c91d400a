package gotrue

import (
	"net/http"

	"gatehouse/internal/auth"
	"gatehouse/internal/web"
)

// user handles "GET /user".
func (a *api) user(w http.ResponseWriter, r *http.Request, v *auth.Viewer) error {
	err := audience(r, v)
	if err != nil {
		return err
	}
	return web.JSON(w, http.StatusOK, userJSON(&v.User))
}

// audience holds a token against the audience a request names, if it does.
func audience(r *http.Request, v *auth.Viewer) error {
	want := r.Header.Get("X-JWT-AUD")
	if want != "" && want != string(v.Claims.Audience) {
		return &auth.Error{Code: auth.AudienceMismatch}
	}
	return nil
}

// updateUser handles "PUT /user".
func (a *api) updateUser(w http.ResponseWriter, r *http.Request, v *auth.Viewer) error {
	var in struct {
		Email            *string        `json:"email"`
		Phone            *string        `json:"phone"`
		Password         *string        `json:"password"`
		Nonce            string         `json:"nonce"`
		CurrentPassword  string         `json:"current_password"`
		Data             map[string]any `json:"data"`
		AppMetadata      map[string]any `json:"app_metadata"`
		EmailChangeToken string         `json:"email_change_token"`
		Channel          string         `json:"channel"`
		pkceFields
	}
	err := web.Body(w, r, &in)
	if err != nil {
		return err
	}
	err = audience(r, v)
	if err != nil {
		return err
	}
	f, err := a.flow(r, in.pkceFields)
	if err == nil {
		f.Channel, err = a.channel(in.Channel)
	}
	if err != nil {
		return err
	}
	c := web.Caller(r)
	if in.EmailChangeToken != "" { // Netlify's way to confirm
		u, err := a.Auth.AcceptEmailChange(r.Context(), c, v, in.EmailChangeToken)
		if err != nil {
			return err
		}
		return web.JSON(w, http.StatusOK, userJSON(u))
	}
	u, err := a.Auth.UpdateUser(r.Context(), c, v, auth.Changes{
		Email: in.Email, Phone: in.Phone, Password: in.Password, Data: in.Data, AppData: in.AppMetadata, Nonce: in.Nonce, Current: in.CurrentPassword,
	}, f)
	if err != nil {
		return err
	}
	return web.JSON(w, http.StatusOK, userJSON(u))
}

// logout handles "POST /logout".
func (a *api) logout(w http.ResponseWriter, r *http.Request, v *auth.Viewer) error {
	scope := auth.Scope(r.URL.Query().Get("scope"))
	if scope == "" {
		scope = auth.Global
	}
	err := a.Auth.SignOut(r.Context(), web.Caller(r), v, scope)
	if err != nil {
		return err
	}
	a.clearCookie(w)
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// unlink handles "DELETE /user/identities/{id}".
func (a *api) unlink(w http.ResponseWriter, r *http.Request, v *auth.Viewer) error {
	id, err := auth.ParseIdentityID(r.PathValue("id"))
	if err != nil {
		return &auth.Error{Code: auth.IdentityNotFound, Field: "id"}
	}
	err = a.Auth.Unlink(r.Context(), web.Caller(r), v, id)
	if err != nil {
		return err
	}
	return web.JSON(w, http.StatusOK, struct{}{})
}
