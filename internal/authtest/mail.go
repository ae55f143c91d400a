package authtest

import (
	"context"
	"net/url"
	"regexp"
	"sync/atomic"
	"testing"

	"gatehouse/internal/auth"
	"gatehouse/internal/notify"
)

// Mail is a mail as it arrived.
type Mail struct {
	notify.Received
	Token string // the long secret in its link, or empty
}

// linkToken finds the secret in both forms of link that Flow makes.
var linkToken = regexp.MustCompile(`token=([A-Za-z0-9_-]+)`)

// Flow is what an edge tells the core of a mail: links of two forms, whose
// secret Mail.Token is.
func Flow() auth.Flow {
	return auth.Flow{Links: func(kind auth.Kind, token, redirectTo string) (server, client string) {
		q := url.Values{"token": {token}, "type": {string(kind)}, "redirect_to": {redirectTo}}
		return "https://auth.example/verify?" + q.Encode(), "https://site.example/#" + string(kind) + "_token=" + token
	}}
}

// Mails delivers what is due and returns all mails to an address, newest
// first.
func (h *House) Mails(t testing.TB, to string) []Mail {
	t.Helper()
	h.Deliver(t)
	var list []Mail
	for _, r := range h.Inbox.Messages() {
		if r.To != to {
			continue
		}
		m := Mail{Received: r}
		for _, link := range r.Links {
			found := linkToken.FindStringSubmatch(link)
			if found != nil && m.Token == "" {
				m.Token = found[1]
			}
		}
		list = append(list, m)
	}
	return list
}

// texter is the Inbox, unless it was told to refuse.
type texter struct {
	*notify.Inbox
	refusal atomic.Pointer[error]
}

func (x *texter) Text(ctx context.Context, m notify.SMS, body string) error {
	if why := x.refusal.Load(); why != nil {
		return *why
	}
	return x.Inbox.Text(ctx, m, body)
}

// RefuseTexts has the service that sends text messages answer so from now on,
// whichever node asks it; nil: it sends again.
func (h *House) RefuseTexts(why error) {
	if why == nil {
		h.texter.refusal.Store(nil)
		return
	}
	h.texter.refusal.Store(&why)
}

// Texts delivers what is due and returns all text messages to a number, which
// is written without +, newest first.
func (h *House) Texts(t testing.TB, number string) []Mail {
	t.Helper()
	return h.Mails(t, "+"+number)
}

// Deliver sends what is due, and does what requests left to be done.
func (h *House) Deliver(t testing.TB) {
	t.Helper()
	_, err := h.outbox.DeliverNow(t.Context())
	if err != nil {
		t.Fatal(err)
	}
}

// SMS delivers what is due and returns the newest text message to a number,
// which is written without +.
func (h *House) SMS(t testing.TB, number string) Mail {
	t.Helper()
	return h.Mail(t, "+"+number)
}

// Mail delivers what is due and returns the newest mail to an address.
func (h *House) Mail(t testing.TB, to string) Mail {
	t.Helper()
	list := h.Mails(t, to)
	if len(list) == 0 {
		t.Fatalf("no mail for %s", to)
	}
	return list[0]
}
