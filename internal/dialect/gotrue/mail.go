package gotrue

import (
	"net/http"

	"gatehouse/internal/auth"
	"gatehouse/internal/web"
)

// recover handles "POST /recover".
func (a *api) recover(w http.ResponseWriter, r *http.Request) error {
	var in struct {
		Email string `json:"email"`
		pkceFields
	}
	err := web.Body(w, r, &in)
	if err != nil {
		return err
	}
	if in.Email == "" {
		return auth.Invalid("email", "Password recovery requires an email")
	}
	f, err := a.flow(r, in.pkceFields)
	if err != nil {
		return err
	}
	err = a.Auth.Recover(r.Context(), web.Caller(r), in.Email, f)
	if err != nil {
		return err
	}
	return web.JSON(w, http.StatusOK, struct{}{})
}

// otp handles "POST /otp" and its older name "POST /magiclink".
func (a *api) otp(w http.ResponseWriter, r *http.Request) error {
	var in struct {
		Email      string         `json:"email"`
		Phone      string         `json:"phone"`
		CreateUser *bool          `json:"create_user"`
		Data       map[string]any `json:"data"`
		pkceFields
	}
	err := web.Body(w, r, &in)
	if err != nil {
		return err
	}
	if in.Email != "" && in.Phone != "" {
		return auth.Invalid("email", "Only an email address or phone number should be provided")
	}
	if in.Email == "" {
		if in.Phone != "" {
			return &auth.Error{Code: auth.PhoneDisabled, Field: "phone"}
		}
		return auth.Invalid("email", "One of email or phone must be set")
	}
	f, err := a.flow(r, in.pkceFields)
	if err != nil {
		return err
	}
	create := in.CreateUser == nil || *in.CreateUser || r.URL.Path == "/magiclink"
	err = a.Auth.MagicLink(r.Context(), web.Caller(r), in.Email, create, in.Data, f)
	if err != nil {
		return err
	}
	return web.JSON(w, http.StatusOK, struct{}{})
}

// resend handles "POST /resend".
func (a *api) resend(w http.ResponseWriter, r *http.Request) error {
	var in struct {
		Type  string `json:"type"`
		Email string `json:"email"`
		Phone string `json:"phone"`
		pkceFields
	}
	err := web.Body(w, r, &in)
	if err != nil {
		return err
	}
	kind := map[string]auth.Kind{"signup": auth.KindConfirmation, "email_change": auth.KindChangeNew}[in.Type]
	switch {
	case in.Type == "sms" || in.Type == "phone_change":
		return &auth.Error{Code: auth.PhoneDisabled, Field: "type"}
	case kind == "":
		return auth.Invalid("type", "Missing one of these types: signup, email_change, sms, phone_change")
	case in.Email == "":
		return auth.Invalid("email", "Type provided requires an email address")
	}
	f, err := a.flow(r, in.pkceFields)
	if err != nil {
		return err
	}
	err = a.Auth.Resend(r.Context(), web.Caller(r), kind, in.Email, f)
	if err != nil {
		return err
	}
	return web.JSON(w, http.StatusOK, struct{}{})
}

// reauthenticate handles "GET /reauthenticate".
func (a *api) reauthenticate(w http.ResponseWriter, r *http.Request, v *auth.Viewer) error {
	err := a.Auth.Reauthenticate(r.Context(), web.Caller(r), v)
	if err != nil {
		return err
	}
	return web.JSON(w, http.StatusOK, struct{}{})
}
