package notify

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"

	"gatehouse/internal/fetch"
)

// TextlocalOptions say which account of Textlocal's sends.
type TextlocalOptions struct {
	APIKey  string
	Sender  string // 3 to 11 characters, registered with Textlocal
	BaseURL string // empty: Textlocal India; https://api.txtlocal.com is the one in Britain
}

// Textlocal is a Texter by Textlocal's API. It is safe for concurrent use.
type Textlocal struct {
	opt  TextlocalOptions
	line gateway
}

// NewTextlocal checks o. It connects to nobody.
func NewTextlocal(client *fetch.Client, o TextlocalOptions) (*Textlocal, error) {
	if err := required("textlocal", "API key", o.APIKey, "sender", o.Sender); err != nil {
		return nil, err
	}
	line, err := newGateway("textlocal", client, o.BaseURL, "https://api.textlocal.in", firstCode)
	if err != nil {
		return nil, err
	}
	return &Textlocal{opt: o, line: line}, nil
}

// Text sends one message. Textlocal answers 200 whatever happened; the verdict
// is in the body.
func (t *Textlocal) Text(ctx context.Context, m SMS, body string) error {
	if err := t.line.onlySMS(m); err != nil {
		return err
	}
	fields := url.Values{"apikey": {t.opt.APIKey}, "sender": {t.opt.Sender}, "numbers": {m.To}, "message": {body}}
	if !gsm7(body) {
		fields.Set("unicode", "true")
	}
	answer, err := t.line.form(ctx, "/send/", fields, nil)
	if err != nil {
		return err
	}
	var got struct {
		Status string `json:"status"`
	}
	if err := json.Unmarshal(answer, &got); err != nil || got.Status == "" {
		return t.line.unreadable()
	}
	if code := firstCode(answer); code != 0 || got.Status != "success" {
		// Every code there is names the account, the receiver or the text (3
		// key, 4 and 51 numbers, 7 credit, 43 sender, 80 template …); a failure
		// without one says nothing, and may pass.
		return t.line.refused(http.StatusOK, code, code != 0)
	}
	return nil
}
