package notify

import (
	"fmt"
	"net/url"
	"testing"

	"gatehouse/internal/fetch"
)

func openVonage(c *fetch.Client, base string) (*Vonage, error) {
	return NewVonage(c, VonageOptions{APIKey: "key1", APISecret: "s3cret", From: "Gatehouse", BaseURL: base})
}

func TestVonage_saysWhatTheAPIAsksFor(t *testing.T) {
	for body, kind := range map[string]string{smsSays: "text", "Ваш код 424242": "unicode"} {
		s := newSMSService(t, 200, `{"message-count":"1","messages":[{"to":"491701234567","message-id":"1","status":"0"}]}`)
		x, err := openVonage(smsClient(t), s.url)
		if err != nil {
			t.Fatal(err)
		}
		if err := x.Text(t.Context(), codeSMS(""), body); err != nil {
			t.Fatal(err)
		}
		wantRequest(t, s.asked(t), smsRequest{
			Method: "POST", Path: "/sms/json", Type: "application/x-www-form-urlencoded",
			Form: url.Values{
				"api_key": {"key1"}, "api_secret": {"s3cret"}, "from": {"Gatehouse"}, "to": {smsTo}, "text": {body}, "type": {kind},
			},
		})
	}
}

// Mission: NF03
func TestVonage_judgesAnswers(t *testing.T) {
	const lost = "vonage: the answer is not understood"
	list := append(
		everyStatus("vonage"),
		smsAnswer{"two parts", `{"messages":[{"status":"0"},{"status":"0"}]}`, 200, "", false},
		smsAnswer{"status as a number", `{"messages":[{"status":0}]}`, 200, "", false},
		smsAnswer{"second part refused", `{"messages":[{"status":"0"},{"status":"9"}]}`, 200, "vonage: status 200, code 9", true},
		smsAnswer{"no parts", `{"message-count":"0","messages":[]}`, 200, lost, false},
		smsAnswer{"no status", `{"messages":[{"to":"491701234567"}]}`, 200, lost, false},
		smsAnswer{"status of letters", `{"messages":[{"status":"ok"}]}`, 200, lost, false},
		smsAnswer{"page", `<html></html>`, 200, lost, false},
	)
	for code, permanent := range map[int]bool{
		1: false, 5: false, 10: false, 13: false,
		2: true, 3: true, 4: true, 6: true, 7: true, 8: true, 9: true, 11: true, 12: true, 15: true, 29: true, 33: true,
	} {
		list = append(list, smsAnswer{
			fmt.Sprint("status ", code), fmt.Sprintf(`{"messages":[{"to":"491701234567","status":"%d","error-text":"bad s3cret"}]}`, code), 200,
			fmt.Sprintf("vonage: status 200, code %d", code), permanent,
		})
	}
	judge(t, list, func(c *fetch.Client, base string) error {
		x, err := openVonage(c, base)
		if err != nil {
			return err
		}
		return x.Text(t.Context(), codeSMS(""), smsSays)
	})
}
