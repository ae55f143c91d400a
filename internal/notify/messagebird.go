package notify

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"

	"gatehouse/internal/fetch"
)

// MessageBirdOptions say which account of MessageBird's sends.
type MessageBirdOptions struct {
	AccessKey  string
	Originator string // a number, or a name of at most 11 characters
	BaseURL    string // empty: MessageBird's
}

// MessageBird is a Texter by MessageBird's (Bird's) SMS API. It is safe for
// concurrent use.
type MessageBird struct {
	opt  MessageBirdOptions
	line gateway
}

// NewMessageBird checks o. It connects to nobody.
func NewMessageBird(client *fetch.Client, o MessageBirdOptions) (*MessageBird, error) {
	if err := required("messagebird", "access key", o.AccessKey, "originator", o.Originator); err != nil {
		return nil, err
	}
	line, err := newGateway("messagebird", client, o.BaseURL, "https://rest.messagebird.com", firstCode)
	if err != nil {
		return nil, err
	}
	return &MessageBird{opt: o, line: line}, nil
}

// Text sends one message.
func (s *MessageBird) Text(ctx context.Context, m SMS, body string) error {
	if err := s.line.onlySMS(m); err != nil {
		return err
	}
	fields := url.Values{
		"originator": {s.opt.Originator}, "recipients": {m.To}, "body": {body},
		"type": {"sms"}, "datacoding": {"auto"}, // auto: Unicode where the letters need it
	}
	answer, err := s.line.form(ctx, "/messages", fields, func(r *http.Request) {
		r.Header.Set("Authorization", "AccessKey "+s.opt.AccessKey)
	})
	if err != nil {
		return err
	}
	if code := firstCode(answer); code != 0 {
		// 99 is a fault of theirs; the others name ours (2 key, 9 and 10
		// parameters, 20 nothing there, 21 no receiver, 25 no credit).
		return s.line.refused(http.StatusOK, code, code != 99)
	}
	var got struct {
		Recipients *struct {
			Sent int `json:"totalSentCount"`
		} `json:"recipients"`
	}
	if err := json.Unmarshal(answer, &got); err != nil || got.Recipients == nil {
		return s.line.unreadable()
	}
	if got.Recipients.Sent == 0 {
		return s.line.refused(http.StatusOK, 0, false)
	}
	return nil
}

// firstCode is the code of the first error in answers that hold a list
// "errors": MessageBird's and Textlocal's.
func firstCode(body []byte) int {
	var got struct {
		Errors []struct {
			Code number `json:"code"`
		} `json:"errors"`
	}
	if json.Unmarshal(body, &got) != nil || len(got.Errors) == 0 {
		return 0
	}
	return int(got.Errors[0].Code)
}
