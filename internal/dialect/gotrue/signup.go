package gotrue

import (
	"net/http"
	"slices"

	"gatehouse/internal/auth"
	"gatehouse/internal/web"
)

// signup handles "POST /signup".
func (a *api) signup(w http.ResponseWriter, r *http.Request) error {
	var in struct {
		Email    string         `json:"email"`
		Phone    string         `json:"phone"`
		Password string         `json:"password"`
		Data     map[string]any `json:"data"`
		Channel  string         `json:"channel"`
		pkceFields
		securityFields
	}
	err := web.Body(w, r, &in)
	if err != nil {
		return err
	}
	if in.Email == "" && in.Phone == "" {
		if in.Password != "" {
			return auth.Invalid("email", "To signup, please provide your email")
		}
		err = a.Limits.Take(r, "anonymous")
		if err != nil {
			return err
		}
	}
	f, err := a.flow(r, in.pkceFields)
	if err == nil {
		f.Channel, err = a.channel(in.Channel)
	}
	if err != nil {
		return err
	}
	g, err := a.Auth.SignUp(r.Context(), a.solver(r, in.Security.Token), auth.NewUser{
		Email: in.Email, Phone: in.Phone, Password: in.Password, Data: in.Data,
	}, f)
	if err != nil {
		return err
	}
	web.LineOf(r).User = g.User.ID.String()
	if g.Access == "" {
		return web.JSON(w, http.StatusOK, userJSON(&g.User))
	}
	a.setCookie(w, r, g)
	s := sessionJSON(g)
	return web.JSON(w, http.StatusOK, signedUp{s.User, s})
}

// channel is how a text message is to go. WhatsApp is not for every provider.
func (a *api) channel(s string) (string, error) {
	switch {
	case s == "", s == "sms", s == "whatsapp" && slices.Contains([]string{"", "twilio", "twilio_verify", "webhook"}, a.SMSProvider):
		return s, nil
	}
	return "", auth.Invalid("channel", "Invalid channel, supported values are 'sms' or 'whatsapp'. 'whatsapp' is only supported if Twilio or Twilio Verify is used as the provider.")
}
