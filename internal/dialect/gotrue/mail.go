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
		securityFields
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
	err = a.Auth.Recover(r.Context(), a.solver(r, in.Security.Token), in.Email, f)
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
		Channel    string         `json:"channel"`
		Data       map[string]any `json:"data"`
		pkceFields
		securityFields
	}
	err := web.Body(w, r, &in)
	if err != nil {
		return err
	}
	if in.Email != "" && in.Phone != "" {
		return auth.Invalid("email", "Only an email address or phone number should be provided")
	}
	f, err := a.flow(r, in.pkceFields)
	if err == nil {
		f.Channel, err = a.channel(in.Channel)
	}
	if err != nil {
		return err
	}
	err = a.Auth.MagicLink(r.Context(), a.solver(r, in.Security.Token), auth.CodeRequest{
		Email: in.Email, Phone: in.Phone, Create: in.CreateUser == nil || *in.CreateUser || r.URL.Path == "/magiclink", Data: in.Data,
	}, f)
	if err != nil {
		return err
	}
	return asked(w, r, in.Phone)
}

// resend handles "POST /resend".
func (a *api) resend(w http.ResponseWriter, r *http.Request) error {
	var in struct {
		Type  string `json:"type"`
		Email string `json:"email"`
		Phone string `json:"phone"`
		pkceFields
		securityFields
	}
	err := web.Body(w, r, &in)
	if err != nil {
		return err
	}
	kind := map[string]auth.Kind{
		"signup": auth.KindConfirmation, "email_change": auth.KindChangeNew, "sms": auth.KindSMS, "phone_change": auth.KindPhoneChange,
	}[in.Type]
	byPhone := kind == auth.KindSMS || kind == auth.KindPhoneChange
	switch {
	case kind == "":
		return auth.Invalid("type", "Missing one of these types: signup, email_change, sms, phone_change")
	case in.Email != "" && in.Phone != "":
		return auth.Invalid("email", "Only one of email or phone should be specified")
	case !byPhone && in.Email == "":
		return auth.Invalid("email", "Type provided requires an email address")
	case byPhone && in.Phone == "":
		return auth.Invalid("phone", "Type provided requires a phone number")
	}
	f, err := a.flow(r, in.pkceFields)
	if err != nil {
		return err
	}
	err = a.Auth.Resend(r.Context(), a.solver(r, in.Security.Token), kind, in.Email+in.Phone, f)
	if err != nil {
		return err
	}
	return asked(w, r, in.Phone)
}

// asked answers a request for a message. That for a text message has an id,
// which is the request's own: one of a message would be missing where none is
// sent, and tell who is known.
func asked(w http.ResponseWriter, r *http.Request, phone string) error {
	if phone == "" {
		return web.JSON(w, http.StatusOK, struct{}{})
	}
	return web.JSON(w, http.StatusOK, map[string]string{"message_id": web.LineOf(r).RequestID})
}

// reauthenticate handles "GET /reauthenticate".
func (a *api) reauthenticate(w http.ResponseWriter, r *http.Request, v *auth.Viewer) error {
	f, err := a.flow(r, pkceFields{})
	if err != nil {
		return err
	}
	err = a.Auth.Reauthenticate(r.Context(), web.Caller(r), v, f)
	if err != nil {
		return err
	}
	phone := v.User.Phone
	if v.User.Email != "" {
		phone = ""
	}
	return asked(w, r, phone)
}
