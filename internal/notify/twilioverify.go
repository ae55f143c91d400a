package notify

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"gatehouse/internal/fetch"
)

// TwilioVerifyOptions say which service of Twilio Verify sends.
type TwilioVerifyOptions struct {
	AccountSID string
	AuthToken  string
	ServiceSID string // VA…
	BaseURL    string // empty: Twilio's
}

// TwilioVerify is a CodeKeeper by Twilio Verify, which makes up codes, sends
// them in words of its own, and judges them. It is safe for concurrent use.
type TwilioVerify struct {
	opt  TwilioVerifyOptions
	line gateway
}

// NewTwilioVerify checks o. It connects to nobody.
func NewTwilioVerify(client *fetch.Client, o TwilioVerifyOptions) (*TwilioVerify, error) {
	if err := required("twilio verify", "account SID", o.AccountSID, "auth token", o.AuthToken, "service SID", o.ServiceSID); err != nil {
		return nil, err
	}
	line, err := newGateway("twilio verify", client, o.BaseURL, "https://verify.twilio.com", twilioCode)
	if err != nil {
		return nil, err
	}
	return &TwilioVerify{opt: o, line: line}, nil
}

// Faults of Twilio Verify about one receiver (Verify API, error codes).
const (
	verifyBadValue = 60200 // a number or a code of the wrong form
	verifyChecked  = 60202 // five wrong codes
	verifySent     = 60203 // five messages in ten minutes
	verifyNone     = 20404 // nothing is waited for: too late, used up, or never asked
)

// Text has Twilio send a code of its own. m.Code and body do not matter, and
// messages that are not codes are a *PermanentError: Verify has no other.
func (t *TwilioVerify) Text(ctx context.Context, m SMS, _ string) error {
	if m.Kind != SMSCode {
		return &PermanentError{errors.New("twilio verify: sends nothing but codes")}
	}
	channel := ChannelSMS
	if m.Channel == ChannelWhatsApp {
		channel = ChannelWhatsApp
	} else if err := t.line.onlySMS(m); err != nil {
		return err
	}
	answer, err := t.ask(ctx, "Verifications", url.Values{"To": {"+" + m.To}, "Channel": {channel}})
	if r := refusalOf(err); r != nil && r.code == verifySent {
		// About this receiver alone, though it comes as 429: counted as a
		// failure of the service, one impatient person would close the line
		// for everybody.
		return &PermanentError{r}
	}
	if err != nil {
		return err
	}
	switch verifyStatus(answer) {
	case "pending", "approved":
		return nil
	case "":
		return t.line.unreadable()
	}
	return t.line.refused(http.StatusOK, 0, false)
}

// CheckCode has Twilio judge code.
func (t *TwilioVerify) CheckCode(ctx context.Context, to, code string) (bool, error) {
	if len(code) < 4 || len(code) > 10 || strings.Trim(code, "0123456789") != "" {
		return false, nil // no code of Verify's looks like this: not worth a question
	}
	answer, err := t.ask(ctx, "VerificationCheck", url.Values{"To": {"+" + to}, "Code": {code}})
	if r := refusalOf(err); r != nil {
		switch r.code {
		case verifyNone, verifyBadValue, verifyChecked:
			return false, nil
		}
	}
	if err != nil {
		return false, err
	}
	status := verifyStatus(answer)
	if status == "" {
		return false, t.line.unreadable()
	}
	return status == "approved", nil
}

func (t *TwilioVerify) ask(ctx context.Context, what string, fields url.Values) ([]byte, error) {
	path := "/v2/Services/" + url.PathEscape(t.opt.ServiceSID) + "/" + what
	return t.line.form(ctx, path, fields, func(r *http.Request) { r.SetBasicAuth(t.opt.AccountSID, t.opt.AuthToken) })
}

// verifyStatus is the state of a verification, or "" if the answer has none.
func verifyStatus(answer []byte) string {
	var got struct {
		Status string `json:"status"`
	}
	if json.Unmarshal(answer, &got) != nil {
		return ""
	}
	return got.Status
}

// refusalOf returns the refusal inside err, or nil.
func refusalOf(err error) *smsRefusal {
	var r *smsRefusal
	if errors.As(err, &r) {
		return r
	}
	return nil
}
