package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"

	"gatehouse/internal/auth"
	"gatehouse/internal/dialect/gotrue"
	"gatehouse/internal/notify"
	"gatehouse/internal/outbox"
	"gatehouse/internal/webhook"
)

// byHook has a tenant's messages sent by hooks, where it has such.
func (s *site) byHook(send notify.Sender, words outbox.Templates) (notify.Sender, outbox.Templates) {
	out := hookSender{callees: s.callees, users: func() *auth.Service { return s.auth }, api: s.cfg.Server.ExternalURL}
	out.hook = s.callees.hooks[hookText]
	if out.hook != nil {
		s.texts.sender = out
	}
	out.hook = s.callees.hooks[hookMail]
	if out.hook == nil {
		return send, words
	}
	return out, unwritten{}
}

// unwritten is how mails look that a hook writes itself.
type unwritten struct{}

func (unwritten) Render(context.Context, notify.Mail) (notify.Rendered, error) {
	return notify.Rendered{}, nil
}

// hookSender has a hook send messages, instead of a mail server or a service for
// text messages.
type hookSender struct {
	hook    *webhook.Hook
	callees *callees
	users   func() *auth.Service
	api     string // where links to the server begin
}

// actions are the kinds of mail as Supabase names them; the others have the
// names they have here.
var actions = map[notify.Kind]string{notify.Confirmation: "signup", notify.MagicLink: "magiclink"}

// emailData is what a hook is told of a mail. Which secret is whose in a change
// of address looks crossed: token and token_hash_new are for the address a user
// has, token_new and token_hash for the one they want.
type emailData struct {
	Token        string `json:"token"`
	TokenHash    string `json:"token_hash"`
	RedirectTo   string `json:"redirect_to"`
	Action       string `json:"email_action_type"`
	SiteURL      string `json:"site_url"`
	TokenNew     string `json:"token_new"`
	TokenHashNew string `json:"token_hash_new"`
	OldEmail     string `json:"old_email"`
	OldPhone     string `json:"old_phone"`
	Provider     string `json:"provider"`
	FactorType   string `json:"factor_type"`
	UndoURL      string `json:"undo_url,omitempty"` // of a notice: «this was not me»
}

// Send has the hook send a mail (notify.Sender).
func (s hookSender) Send(ctx context.Context, m notify.Mail, _ notify.Rendered) error {
	user, err := s.user(ctx, m.User, m.To)
	if err != nil {
		return err
	}
	v := m.Vars
	d := emailData{
		Token: v.Token, TokenHash: v.TokenHash, RedirectTo: cmp.Or(v.RedirectTo, v.SiteURL), Action: cmp.Or(actions[m.Kind], string(m.Kind)), SiteURL: s.api,
		OldEmail: v.OldEmail, OldPhone: v.OldPhone, Provider: v.Provider, FactorType: v.FactorType, UndoURL: v.UndoURL,
	}
	if m.Kind == notify.EmailChange && m.To == v.Email {
		d.TokenHash, d.TokenHashNew, d.TokenNew = v.TokenHashNew, v.TokenHash, v.TokenNew
	}
	return s.callees.undelivered(s.hook.Call(ctx, struct {
		aboutUser
		Data emailData `json:"email_data"`
	}{aboutUser{about{s.hook.Metadata("")}, user}, d}, nil), false)
}

// Text has the hook send a text message (notify.Texter). One without a code has
// an empty otp, and says so by its type.
func (s hookSender) Text(ctx context.Context, m notify.SMS, _ string) error {
	user, err := s.user(ctx, m.User, "")
	if err != nil {
		return err
	}
	type sms struct {
		OTP   string `json:"otp"`
		Type  string `json:"sms_type"`
		Phone string `json:"phone"`
	}
	kind := string(m.Kind)
	if m.Kind == notify.SMSCode {
		kind = m.For
	}
	if kind == string(auth.KindSMS) {
		kind = "confirmation" // as Supabase calls it
	}
	return s.callees.undelivered(s.hook.Call(ctx, struct {
		aboutUser
		SMS sms `json:"sms"`
	}{aboutUser{about{s.hook.Metadata("")}, user}, sms{m.Code, kind, m.To}}, nil), false)
}

// user is whom a message is about, as they are now: by id, else by address.
func (s hookSender) user(ctx context.Context, id, email string) (json.RawMessage, error) {
	gone := &notify.PermanentError{Err: errors.New("the user is not there any more")}
	var u *auth.User
	uid, err := auth.ParseUserID(id)
	switch {
	case err == nil:
		u, err = s.users().User(ctx, auth.Caller{Actor: "system"}, uid)
	case email != "":
		u, err = s.users().UserByEmail(ctx, auth.Caller{Actor: "system"}, email)
	default:
		return nil, gone
	}
	if err != nil && auth.CodeOf(err) == auth.UserNotFound {
		return nil, gone
	}
	if err != nil {
		return nil, errors.New("the user cannot be read now")
	}
	return gotrue.UserJSON(u)
}
