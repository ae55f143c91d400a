package notify

import (
	"net/url"
	"testing"

	"gatehouse/internal/fetch"
)

const messageBirdTaken = `{"id":"m1","recipients":{"totalCount":1,"totalSentCount":1,"items":[{"recipient":491701234567,"status":"sent"}]}}`

func openMessageBird(c *fetch.Client, base string) (*MessageBird, error) {
	return NewMessageBird(c, MessageBirdOptions{AccessKey: "s3cret", Originator: "Gatehouse", BaseURL: base})
}

func TestMessageBird_saysWhatTheAPIAsksFor(t *testing.T) {
	s := newSMSService(t, 201, messageBirdTaken)
	x, err := openMessageBird(smsClient(t), s.url)
	if err != nil {
		t.Fatal(err)
	}
	if err := x.Text(t.Context(), codeSMS(""), smsSays); err != nil {
		t.Fatal(err)
	}
	wantRequest(t, s.asked(t), smsRequest{
		Method: "POST", Path: "/messages", Type: "application/x-www-form-urlencoded", Auth: "AccessKey s3cret",
		Form: url.Values{
			"originator": {"Gatehouse"}, "recipients": {smsTo}, "body": {smsSays}, "type": {"sms"}, "datacoding": {"auto"},
		},
	})
}

// Mission: NF03
func TestMessageBird_judgesAnswers(t *testing.T) {
	const lost = "messagebird: the answer is not understood"
	judge(t, append(
		everyStatus("messagebird"),
		smsAnswer{"wrong key", `{"errors":[{"code":2,"description":"Request not allowed (incorrect access_key s3cret)"}]}`, 401, "messagebird: status 401, code 2", true},
		smsAnswer{"wrong number", `{"errors":[{"code":9,"description":"no (correct) recipients 491701234567"}]}`, 422, "messagebird: status 422, code 9", true},
		smsAnswer{"no credit, with 200", `{"errors":[{"code":25,"description":"Not enough balance"}]}`, 200, "messagebird: status 200, code 25", true},
		smsAnswer{"their fault, with 200", `{"errors":[{"code":99,"description":"Internal error"}]}`, 200, "messagebird: status 200, code 99", false},
		smsAnswer{"taken", messageBirdTaken, 201, "", false},
		smsAnswer{"sent to nobody", `{"id":"m1","recipients":{"totalSentCount":0}}`, 201, "messagebird: status 200", false},
		smsAnswer{"page", `<html></html>`, 200, lost, false},
		smsAnswer{"other object", `{"ok":true}`, 200, lost, false},
		smsAnswer{"null", `null`, 200, lost, false},
	), func(c *fetch.Client, base string) error {
		x, err := openMessageBird(c, base)
		if err != nil {
			return err
		}
		return x.Text(t.Context(), codeSMS(""), smsSays)
	})
}
