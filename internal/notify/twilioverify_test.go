package notify

import (
	"net/url"
	"testing"

	"gatehouse/internal/fetch"
)

func openVerify(c *fetch.Client, base string) (*TwilioVerify, error) {
	return NewTwilioVerify(c, TwilioVerifyOptions{AccountSID: "AC1", AuthToken: "s3cret", ServiceSID: "VA1", BaseURL: base})
}

func TestTwilioVerify_sendsWithoutCodeAndWords(t *testing.T) {
	for channel, want := range map[string]string{"": "sms", ChannelSMS: "sms", ChannelWhatsApp: "whatsapp"} {
		s := newSMSService(t, 201, `{"sid":"VE1","status":"pending"}`)
		x, err := openVerify(smsClient(t), s.url)
		if err != nil {
			t.Fatal(err)
		}
		if err := x.Text(t.Context(), codeSMS(channel), smsSays); err != nil {
			t.Fatal(err)
		}
		wantRequest(t, s.asked(t), smsRequest{
			Method: "POST", Path: "/v2/Services/VA1/Verifications", Type: "application/x-www-form-urlencoded",
			Auth: basic("AC1", "s3cret"), Form: url.Values{"To": {"+491701234567"}, "Channel": {want}},
		})
	}
}

func TestTwilioVerify_sendsNothingButCodes(t *testing.T) {
	s := newSMSService(t, 201, `{"sid":"VE1","status":"pending"}`)
	x, err := openVerify(smsClient(t), s.url)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []SMS{{Kind: SMSAlreadyRegistered, To: smsTo}, {Kind: SMSCode, To: smsTo, Channel: "pigeon"}} {
		if err := x.Text(t.Context(), m, smsSays); !Permanent(err) {
			t.Errorf("%+v: got %v, want a permanent error", m, err)
		}
	}
	if len(s.got) != 0 {
		t.Error("the service was asked")
	}
}

// Mission: NF03
func TestTwilioVerify_judgesAnswers(t *testing.T) {
	judge(t, append(
		everyStatus("twilio verify"),
		smsAnswer{"no such number", `{"code":60200,"message":"Invalid parameter +491701234567"}`, 400, "twilio verify: status 400, code 60200", true},
		smsAnswer{"five messages to this number", `{"code":60203,"message":"Max send attempts reached"}`, 429, "twilio verify: status 429, code 60203", true},
		smsAnswer{"too fast", `{"code":20429}`, 429, "twilio verify: status 429, code 20429", false},
		smsAnswer{"canceled", `{"sid":"VE1","status":"canceled"}`, 201, "twilio verify: status 200", false},
		smsAnswer{"page", `<html></html>`, 200, "twilio verify: the answer is not understood", false},
	), func(c *fetch.Client, base string) error {
		x, err := openVerify(c, base)
		if err != nil {
			return err
		}
		return x.Text(t.Context(), codeSMS(""), smsSays)
	})
}

func TestTwilioVerify_asksTwilioAboutCodes(t *testing.T) {
	for answer, want := range map[string]bool{
		`{"status":"approved","valid":true}`: true, `{"status":"pending","valid":false}`: false, `{"status":"expired","valid":true}`: false,
	} {
		s := newSMSService(t, 200, answer)
		x, err := openVerify(smsClient(t), s.url)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := x.CheckCode(t.Context(), smsTo, "424242"); got != want || err != nil {
			t.Errorf("%s: got %v, %v, want %v", answer, got, err, want)
		}
		wantRequest(t, s.asked(t), smsRequest{
			Method: "POST", Path: "/v2/Services/VA1/VerificationCheck", Type: "application/x-www-form-urlencoded",
			Auth: basic("AC1", "s3cret"), Form: url.Values{"To": {"+491701234567"}, "Code": {"424242"}},
		})
	}
}

func TestTwilioVerify_doesNotAskAboutWhatIsNoCode(t *testing.T) {
	s := newSMSService(t, 200, `{"status":"approved"}`)
	x, err := openVerify(smsClient(t), s.url)
	if err != nil {
		t.Fatal(err)
	}
	for _, code := range []string{"", "123", "12345678901", "42424x", "424 42", "４２４２４２"} {
		if got, err := x.CheckCode(t.Context(), smsTo, code); got || err != nil {
			t.Errorf("%q: got %v, %v, want no", code, got, err)
		}
	}
	if len(s.got) != 0 {
		t.Error("the service was asked")
	}
}

func TestTwilioVerify_judgesAnswersToChecks(t *testing.T) {
	judge(t, append(
		everyStatus("twilio verify"),
		smsAnswer{"nothing waited for", `{"code":20404,"message":"was not found"}`, 404, "", false},
		smsAnswer{"five wrong codes", `{"code":60202,"message":"Max check attempts reached"}`, 429, "", false},
		smsAnswer{"no such code", `{"code":60200,"message":"Invalid parameter 424242"}`, 400, "", false},
		smsAnswer{"wrong key", `{"code":20003}`, 401, "twilio verify: status 401, code 20003", true},
		smsAnswer{"page", `<html></html>`, 200, "twilio verify: the answer is not understood", false},
	), func(c *fetch.Client, base string) error {
		x, err := openVerify(c, base)
		if err != nil {
			return err
		}
		right, err := x.CheckCode(t.Context(), smsTo, "424242")
		if right {
			t.Error("the code was taken")
		}
		return err
	})
}
