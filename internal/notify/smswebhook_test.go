package notify

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/internal/fetch"
)

const (
	webhookKey1 = "s3cret-one-of-24-bytes-!"
	webhookKey2 = "s3cret-two-of-more-than-24-bytes"
)

func whsec(key string) string { return "whsec_" + base64.StdEncoding.EncodeToString([]byte(key)) }

func openWebhook(c *fetch.Client, url, secrets string) (*SMSWebhook, error) {
	at := time.Date(2030, 1, 2, 3, 4, 5, 600e6, time.FixedZone("", 3600))
	return NewSMSWebhook(c, SMSWebhookOptions{URL: url, Secrets: secrets, Now: func() time.Time { return at }})
}

func TestSMSWebhook_callsAsStandardWebhooksHasIt(t *testing.T) {
	for _, c := range []struct {
		name string
		m    SMS
		want string
	}{
		{
			"code", codeSMS(""),
			`{"id":"s-1","type":"sms.send","timestamp":"2030-01-02T02:04:05.6Z","data":{"to":"+491701234567","channel":"sms","kind":"code","code":"424242","body":"Your code is 424242"}}`,
		},
		{
			"notice",
			SMS{ID: "s-1", Kind: SMSAlreadyRegistered, To: smsTo, Channel: ChannelWhatsApp},
			`{"id":"s-1","type":"sms.send","timestamp":"2030-01-02T02:04:05.6Z","data":{"to":"+491701234567","channel":"whatsapp","kind":"already_registered","code":"","body":"Your code is 424242"}}`,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSMSService(t, 204, "")
			x, err := openWebhook(smsClient(t), s.url+"/hook/?token=s3cret", "v1,"+whsec(webhookKey1)+" | "+whsec(webhookKey2)+"|")
			if err != nil {
				t.Fatal(err)
			}
			if err := x.Text(t.Context(), c.m, smsSays); err != nil {
				t.Fatal(err)
			}
			r := s.asked(t)
			wantRequest(t, r, smsRequest{Method: "POST", Path: "/hook/?token=s3cret", Type: "application/json"})
			if string(r.body) != c.want {
				t.Errorf("got  %s\nwant %s", r.body, c.want)
			}
			if id, stamp := r.header.Get("webhook-id"), r.header.Get("webhook-timestamp"); id != "s-1" || stamp != "1893549845" {
				t.Errorf("got id %q and timestamp %q", id, stamp)
			}
			var want []string
			for _, key := range []string{webhookKey1, webhookKey2} {
				mac := hmac.New(sha256.New, []byte(key))
				mac.Write([]byte("s-1.1893549845." + string(r.body)))
				want = append(want, "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
			}
			if diff := cmp.Diff(strings.Join(want, " "), r.header.Get("webhook-signature")); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// The values that the standard's own libraries test themselves with.
func TestSMSWebhook_signsLikeTheStandardsLibraries(t *testing.T) {
	x, err := openWebhook(smsClient(t), "https://example.org/", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if err != nil {
		t.Fatal(err)
	}
	got := x.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", []byte(`{"test": 2432232314}`))
	if want := "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// Mission: NF03
func TestSMSWebhook_judgesAnswers(t *testing.T) {
	judge(t, append(
		everyStatus("sms webhook"),
		smsAnswer{"OK", "anything", 200, "", false},
		smsAnswer{"Accepted", "", 202, "", false},
		smsAnswer{"No Content", "", 204, "", false},
	), func(c *fetch.Client, base string) error {
		x, err := openWebhook(c, base, whsec(webhookKey1))
		if err != nil {
			return err
		}
		return x.Text(t.Context(), codeSMS(""), smsSays)
	})
}

func TestNewSMSWebhook_refusesWhatWouldNotBeSafe(t *testing.T) {
	const address = "https://example.org/hook"
	for _, c := range []struct{ url, secrets string }{
		{"", whsec(webhookKey1)},
		{"example.org/s3cret", whsec(webhookKey1)},
		{"ftp://example.org/s3cret", whsec(webhookKey1)},
		{"https://s3cret:[", whsec(webhookKey1)},
		{address, ""},
		{address, " | "},
		{address, webhookKey1},
		{address, "v1," + strings.TrimPrefix(whsec(webhookKey1), "whsec_")},
		{address, "v1a,whsk_s3cret"},
		{address, "whsec_"},
		{address, "whsec_s3cret!"},
		{address, whsec("s3cret-too-short")},
		{address, whsec(webhookKey1) + "|whsec_"},
	} {
		_, err := openWebhook(smsClient(t), c.url, c.secrets)
		if err == nil {
			t.Errorf("%q with %q was taken", c.url, c.secrets)
		}
		quiet(t, err)
	}
}
