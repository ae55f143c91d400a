package notify

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"gatehouse/internal/fetch"
)

// SMSWebhookOptions say who is called to send text messages.
type SMSWebhookOptions struct {
	URL string
	// Secrets sign the calls: whsec_<base64> of 24 bytes or more, also as
	// v1,whsec_<base64>; several with | between while one takes the other's
	// place.
	Secrets string
	// Now is the clock of the signature. Nil: time.Now.
	Now func() time.Time
}

// SMSWebhook is a Texter that hands messages to an HTTP server of the
// operator's, signed as Standard Webhooks has it. It is safe for concurrent
// use.
type SMSWebhook struct {
	url  string
	keys [][]byte
	now  func() time.Time
	line gateway
}

// NewSMSWebhook checks o. It connects to nobody.
func NewSMSWebhook(client *fetch.Client, o SMSWebhookOptions) (*SMSWebhook, error) {
	const name = "sms webhook"
	line, err := newGateway(name, client, o.URL, "", func([]byte) int { return 0 })
	if err != nil {
		return nil, err
	}
	w := &SMSWebhook{url: o.URL, now: o.Now, line: line}
	if w.now == nil {
		w.now = time.Now //nolint:forbidigo // where the clock enters
	}
	for secret := range strings.SplitSeq(o.Secrets, "|") {
		if secret = strings.TrimSpace(secret); secret == "" {
			continue
		}
		encoded, ok := strings.CutPrefix(strings.TrimPrefix(secret, "v1,"), "whsec_")
		key, err := base64.StdEncoding.DecodeString(encoded)
		if !ok || err != nil || len(key) < 24 {
			return nil, fmt.Errorf("%s: secret %d is not whsec_ and the base64 of 24 bytes or more", name, len(w.keys)+1)
		}
		w.keys = append(w.keys, key)
	}
	if len(w.keys) == 0 {
		return nil, errors.New(name + ": set a secret, or anybody could send messages in our name")
	}
	return w, nil
}

// webhookCall is the body of a call.
type webhookCall struct {
	ID        string         `json:"id"`
	Type      string         `json:"type"` // "sms.send"
	Timestamp time.Time      `json:"timestamp"`
	Data      webhookMessage `json:"data"`
}

type webhookMessage struct {
	To      string  `json:"to"` // with +
	Channel string  `json:"channel"`
	Kind    SMSKind `json:"kind"`
	Code    string  `json:"code"` // empty where the kind has none
	Body    string  `json:"body"`
}

// Text makes one call; any 2xx answer is a promise to send the message.
func (w *SMSWebhook) Text(ctx context.Context, m SMS, body string) error {
	channel := m.Channel
	if channel == "" {
		channel = ChannelSMS
	}
	now := w.now()
	call, err := json.Marshal(webhookCall{
		ID: m.ID, Type: "sms.send", Timestamp: now.UTC(),
		Data: webhookMessage{To: "+" + m.To, Channel: channel, Kind: m.Kind, Code: m.Code, Body: body},
	})
	if err != nil {
		return &PermanentError{errors.New("sms webhook: the call cannot be written")}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url, bytes.NewReader(call))
	if err != nil {
		return errors.New("sms webhook: the request cannot be written")
	}
	stamp := strconv.FormatInt(now.Unix(), 10)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Webhook-Id", m.ID)
	req.Header.Set("Webhook-Timestamp", stamp)
	req.Header.Set("Webhook-Signature", w.sign(m.ID, stamp, call))
	_, err = w.line.do(ctx, req)
	return err
}

// sign returns one signature per key with spaces between, as Standard Webhooks
// has it; GoTrue's own hooks put ", " there, which no library for the standard
// reads.
func (w *SMSWebhook) sign(id, stamp string, body []byte) string {
	var signatures []string
	for _, key := range w.keys {
		mac := hmac.New(sha256.New, key)
		fmt.Fprintf(mac, "%s.%s.%s", id, stamp, body)
		signatures = append(signatures, "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	}
	return strings.Join(signatures, " ")
}
