package notify

import (
	"encoding/base64"
	"net/url"
	"testing"

	"gatehouse/internal/fetch"
)

const twilioTaken = `{"sid":"SM1","status":"queued","error_code":null,"error_message":null}`

func basic(user, pass string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+pass))
}

func TestTwilio_saysWhatTheAPIAsksFor(t *testing.T) {
	const service = "MG0123456789abcdef0123456789abcdef"
	already := SMS{ID: "s-2", Kind: SMSAlreadyRegistered, To: smsTo, Channel: ChannelWhatsApp}
	for _, c := range []struct {
		name, sender, content string
		m                     SMS
		want                  url.Values
	}{
		{
			"service", service, "", codeSMS(""),
			url.Values{"To": {"+491701234567"}, "MessagingServiceSid": {service}, "Body": {smsSays}},
		},
		{
			"number", "15005550006", "", codeSMS(ChannelSMS),
			url.Values{"To": {"+491701234567"}, "From": {"+15005550006"}, "Body": {smsSays}},
		},
		{
			"number with plus and spaces", "+1 500 5550006", "", codeSMS(ChannelSMS),
			url.Values{"To": {"+491701234567"}, "From": {"+15005550006"}, "Body": {smsSays}},
		},
		{
			"name", "MGM Resorts", "", codeSMS(""),
			url.Values{"To": {"+491701234567"}, "From": {"MGM Resorts"}, "Body": {smsSays}},
		},
		{
			"short code", "12345", "", codeSMS(""),
			url.Values{"To": {"+491701234567"}, "From": {"12345"}, "Body": {smsSays}},
		},
		{
			"content is for WhatsApp only", "15005550006", "HX1", codeSMS(""),
			url.Values{"To": {"+491701234567"}, "From": {"+15005550006"}, "Body": {smsSays}},
		},
		{
			"WhatsApp", "15005550006", "", codeSMS(ChannelWhatsApp),
			url.Values{"To": {"whatsapp:+491701234567"}, "From": {"whatsapp:+15005550006"}, "Body": {smsSays}},
		},
		{
			"WhatsApp from a sender that says so", "whatsapp:+15005550006", "", codeSMS(ChannelWhatsApp),
			url.Values{"To": {"whatsapp:+491701234567"}, "From": {"whatsapp:+15005550006"}, "Body": {smsSays}},
		},
		{
			"WhatsApp with content", "15005550006", "HX1", codeSMS(ChannelWhatsApp),
			url.Values{
				"To": {"whatsapp:+491701234567"}, "From": {"whatsapp:+15005550006"},
				"ContentSid": {"HX1"}, "ContentVariables": {`{"1":"424242"}`},
			},
		},
		{
			"WhatsApp from a service", service, "HX1", codeSMS(ChannelWhatsApp),
			url.Values{
				"To": {"whatsapp:+491701234567"}, "MessagingServiceSid": {service},
				"ContentSid": {"HX1"}, "ContentVariables": {`{"1":"424242"}`},
			},
		},
		{
			"WhatsApp without a code", service, "HX1", already,
			url.Values{"To": {"whatsapp:+491701234567"}, "MessagingServiceSid": {service}, "Body": {smsSays}},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newSMSService(t, 201, twilioTaken)
			x, err := NewTwilio(smsClient(t), TwilioOptions{
				AccountSID: "AC1", AuthToken: "s3cret", Sender: c.sender, ContentSID: c.content, BaseURL: s.url + "/",
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := x.Text(t.Context(), c.m, smsSays); err != nil {
				t.Fatal(err)
			}
			wantRequest(t, s.asked(t), smsRequest{
				Method: "POST", Path: "/2010-04-01/Accounts/AC1/Messages.json", Type: "application/x-www-form-urlencoded",
				Auth: basic("AC1", "s3cret"), Form: c.want,
			})
		})
	}
}

// Mission: NF03
func TestTwilio_judgesAnswers(t *testing.T) {
	const lost = "twilio: the answer is not understood"
	judge(t, append(
		everyStatus("twilio"),
		smsAnswer{"no such number", `{"code":21211,"message":"The 'To' number +491701234567 is not valid","status":400}`, 400, "twilio: status 400, code 21211", true},
		smsAnswer{"wrong key", `{"code":20003,"message":"Authenticate s3cret","status":401}`, 401, "twilio: status 401, code 20003", true},
		smsAnswer{"too fast", `{"code":20429,"message":"Too Many Requests","status":429}`, 429, "twilio: status 429, code 20429", false},
		smsAnswer{"taken", twilioTaken, 201, "", false},
		smsAnswer{"taken with 200", twilioTaken, 200, "", false},
		smsAnswer{"failed", `{"sid":"SM1","status":"failed","error_code":null}`, 201, "twilio: status 200", false},
		smsAnswer{"failed, overflow", `{"sid":"SM1","status":"failed","error_code":30001}`, 201, "twilio: status 200, code 30001", false},
		smsAnswer{"failed, unsubscribed", `{"sid":"SM1","status":"failed","error_code":"21610"}`, 201, "twilio: status 200, code 21610", true},
		smsAnswer{"undelivered", `{"sid":"SM1","status":"undelivered","error_code":30003}`, 200, "twilio: status 200, code 30003", false},
		smsAnswer{"page", `<html>Welcome to our hotel</html>`, 200, lost, false},
		smsAnswer{"empty", ``, 200, lost, false},
		smsAnswer{"other object", `{"ok":true}`, 200, lost, false},
	), func(c *fetch.Client, base string) error {
		x, err := NewTwilio(c, TwilioOptions{AccountSID: "AC1", AuthToken: "s3cret", Sender: "15005550006", BaseURL: base})
		if err != nil {
			return err
		}
		return x.Text(t.Context(), codeSMS(""), smsSays)
	})
}
