package authtest

import (
	"net/url"
	"regexp"
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
	_, err := h.outbox.DeliverNow(t.Context())
	if err != nil {
		t.Fatal(err)
	}
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

// Mail delivers what is due and returns the newest mail to an address.
func (h *House) Mail(t testing.TB, to string) Mail {
	t.Helper()
	list := h.Mails(t, to)
	if len(list) == 0 {
		t.Fatalf("no mail for %s", to)
	}
	return list[0]
}
