package notify

import (
	"net/url"
	"testing"

	"gatehouse/internal/fetch"
)

func openTextlocal(c *fetch.Client, base string) (*Textlocal, error) {
	return NewTextlocal(c, TextlocalOptions{APIKey: "s3cret", Sender: "GATEHS", BaseURL: base})
}

func TestTextlocal_saysWhatTheAPIAsksFor(t *testing.T) {
	for body, more := range map[string]url.Values{smsSays: nil, "आपका कोड 424242": {"unicode": {"true"}}} {
		s := newSMSService(t, 200, `{"status":"success","messages":[{"id":"1","recipient":491701234567}]}`)
		x, err := openTextlocal(smsClient(t), s.url)
		if err != nil {
			t.Fatal(err)
		}
		if err := x.Text(t.Context(), codeSMS(""), body); err != nil {
			t.Fatal(err)
		}
		form := url.Values{"apikey": {"s3cret"}, "sender": {"GATEHS"}, "numbers": {smsTo}, "message": {body}}
		for k, v := range more {
			form[k] = v
		}
		wantRequest(t, s.asked(t), smsRequest{Method: "POST", Path: "/send/", Type: "application/x-www-form-urlencoded", Form: form})
	}
}

// Mission: NF03
func TestTextlocal_judgesAnswers(t *testing.T) {
	const lost = "textlocal: the answer is not understood"
	judge(t, append(
		everyStatus("textlocal"),
		smsAnswer{"wrong key", `{"errors":[{"code":3,"message":"Invalid login details s3cret"}],"status":"failure"}`, 200, "textlocal: status 200, code 3", true},
		smsAnswer{"no valid number", `{"warnings":[{"code":3,"message":"Invalid number","numbers":"491701234567"}],"errors":[{"code":4,"message":"No recipients specified"}],"status":"failure"}`, 200, "textlocal: status 200, code 4", true},
		smsAnswer{"errors though success", `{"errors":[{"code":7}],"status":"success"}`, 200, "textlocal: status 200, code 7", true},
		smsAnswer{"failure without a reason", `{"status":"failure"}`, 200, "textlocal: status 200", false},
		smsAnswer{"code in an error status", `{"errors":[{"code":"51"}],"status":"failure"}`, 400, "textlocal: status 400, code 51", true},
		smsAnswer{"taken", `{"status":"success"}`, 200, "", false},
		smsAnswer{"page", `<html></html>`, 200, lost, false},
		smsAnswer{"empty object", `{}`, 200, lost, false},
	), func(c *fetch.Client, base string) error {
		x, err := openTextlocal(c, base)
		if err != nil {
			return err
		}
		return x.Text(t.Context(), codeSMS(""), smsSays)
	})
}
