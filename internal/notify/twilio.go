package notify

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"

	"gatehouse/internal/fetch"
	"gatehouse/internal/phone"
)

// TwilioOptions say which account of Twilio's sends.
type TwilioOptions struct {
	AccountSID string
	AuthToken  string
	// Sender is a messaging service (MG…), a number, or a name where the
	// receiver's country allows it.
	Sender string
	// ContentSID is the approved template (HX…) for codes over WhatsApp, whose
	// variable 1 is the code. Empty: plain text, which WhatsApp delivers only
	// to people who wrote first.
	ContentSID string
	BaseURL    string // empty: Twilio's
}

// Twilio is a Texter by Twilio's Messages API. It is safe for concurrent use.
type Twilio struct {
	opt  TwilioOptions
	line gateway
}

// NewTwilio checks o. It connects to nobody.
func NewTwilio(client *fetch.Client, o TwilioOptions) (*Twilio, error) {
	if err := required("twilio", "account SID", o.AccountSID, "auth token", o.AuthToken, "message service SID or number", o.Sender); err != nil {
		return nil, err
	}
	line, err := newGateway("twilio", client, o.BaseURL, "https://api.twilio.com", twilioCode)
	if err != nil {
		return nil, err
	}
	o.Sender = strings.TrimPrefix(strings.TrimSpace(o.Sender), "whatsapp:") // the channel is the message's
	return &Twilio{opt: o, line: line}, nil
}

// Text sends one message.
func (t *Twilio) Text(ctx context.Context, m SMS, body string) error {
	fields := url.Values{}
	channel := ""
	if m.Channel == ChannelWhatsApp {
		channel = "whatsapp:"
	} else if err := t.line.onlySMS(m); err != nil {
		return err
	}
	fields.Set("To", channel+"+"+m.To)
	if strings.HasPrefix(t.opt.Sender, "MG") && len(t.opt.Sender) > 11 { // names have at most 11 characters
		fields.Set("MessagingServiceSid", t.opt.Sender)
	} else {
		fields.Set("From", channel+international(t.opt.Sender))
	}
	if channel != "" && t.opt.ContentSID != "" && m.Code != "" {
		variables, err := json.Marshal(map[string]string{"1": m.Code})
		if err != nil {
			return err
		}
		fields.Set("ContentSid", t.opt.ContentSID)
		fields.Set("ContentVariables", string(variables))
	} else {
		fields.Set("Body", body)
	}
	path := "/2010-04-01/Accounts/" + url.PathEscape(t.opt.AccountSID) + "/Messages.json"
	answer, err := t.line.form(ctx, path, fields, func(r *http.Request) { r.SetBasicAuth(t.opt.AccountSID, t.opt.AuthToken) })
	if err != nil {
		return err
	}
	var got struct {
		SID    string `json:"sid"`
		Status string `json:"status"`
		Code   number `json:"error_code"`
	}
	if err := json.Unmarshal(answer, &got); err != nil || got.SID == "" {
		return t.line.unreadable()
	}
	if got.Code != 0 || got.Status == "failed" || got.Status == "undelivered" || got.Status == "canceled" {
		// 21xxx: this receiver, sender or text will not do. The rest is about
		// networks and queues.
		return t.line.refused(http.StatusOK, int(got.Code), got.Code >= 21000 && got.Code < 22000)
	}
	return nil
}

// twilioCode is the code of an error as all of Twilio's APIs write it.
func twilioCode(body []byte) int {
	var got struct {
		Code number `json:"code"`
	}
	if json.Unmarshal(body, &got) != nil {
		return 0
	}
	return int(got.Code)
}

// international puts + before a sender that is a telephone number; names and
// short codes (up to six digits) stay as they are.
func international(sender string) string {
	if digits, ok := phone.Clean(sender); ok && len(digits) > 6 {
		return "+" + digits
	}
	return sender
}
