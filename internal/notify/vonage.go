package notify

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"

	"gatehouse/internal/fetch"
)

// VonageOptions say which account of Vonage's (once Nexmo) sends.
type VonageOptions struct {
	APIKey    string
	APISecret string
	From      string // a number, or a name where the receiver's country allows it
	BaseURL   string // empty: Vonage's
}

// Vonage is a Texter by Vonage's SMS API. It is safe for concurrent use.
type Vonage struct {
	opt  VonageOptions
	line gateway
}

// NewVonage checks o. It connects to nobody.
func NewVonage(client *fetch.Client, o VonageOptions) (*Vonage, error) {
	if err := required("vonage", "API key", o.APIKey, "API secret", o.APISecret, "sender", o.From); err != nil {
		return nil, err
	}
	line, err := newGateway("vonage", client, o.BaseURL, "https://rest.nexmo.com", func([]byte) int { return 0 })
	if err != nil {
		return nil, err
	}
	return &Vonage{opt: o, line: line}, nil
}

// Text sends one message. Vonage answers 200 whatever happened; the verdict is
// the status of each part in the body.
func (v *Vonage) Text(ctx context.Context, m SMS, body string) error {
	if err := v.line.onlySMS(m); err != nil {
		return err
	}
	fields := url.Values{
		"api_key": {v.opt.APIKey}, "api_secret": {v.opt.APISecret},
		"from": {v.opt.From}, "to": {m.To}, "text": {body}, "type": {"text"},
	}
	if !gsm7(body) {
		fields.Set("type", "unicode")
	}
	answer, err := v.line.form(ctx, "/sms/json", fields, nil)
	if err != nil {
		return err
	}
	var got struct {
		Messages []struct {
			Status *number `json:"status"`
		} `json:"messages"`
	}
	if err := json.Unmarshal(answer, &got); err != nil || len(got.Messages) == 0 {
		return v.line.unreadable()
	}
	for _, part := range got.Messages {
		if part.Status == nil {
			return v.line.unreadable()
		}
		switch code := int(*part.Status); code {
		case 0:
		case 1, 5, 10, 13: // too fast, a fault of theirs, too many connections, no connection
			return v.line.refused(http.StatusOK, code, false)
		default: // parameters, key, credit, a barred number, a sender that is not allowed …
			return v.line.refused(http.StatusOK, code, true)
		}
	}
	return nil
}
