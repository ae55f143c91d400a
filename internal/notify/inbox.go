package notify

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/html"
)

// inboxSize is how many mails an Inbox keeps.
const inboxSize = 500

// Received is a mail as an Inbox keeps it.
type Received struct {
	ID      string    `json:"id"`
	Kind    Kind      `json:"kind"`
	To      string    `json:"to"`
	Subject string    `json:"subject"`
	HTML    string    `json:"html"`
	Text    string    `json:"text"`
	Links   []string  `json:"links"` // where the HTML leads, in order, each once
	Code    string    `json:"code"`  // the six digits, or empty
	At      time.Time `json:"at"`
}

// Inbox is a Sender for development and tests: it sends nothing and keeps the
// newest 500 mails in memory. It holds working codes and links, so it must not
// be reachable by strangers. It is safe for concurrent use.
type Inbox struct {
	now func() time.Time

	mu    sync.Mutex // guards what follows
	mails []Received // oldest first
	count int        // mails ever, to name those without an ID
}

// NewInbox returns an empty Inbox whose mails are dated by now.
func NewInbox(now func() time.Time) *Inbox { return &Inbox{now: now} }

// Send keeps the mail. A mail with an ID that is here already takes the place
// of the earlier one, as a mail reader does with a Message-ID. It never fails.
func (i *Inbox) Send(_ context.Context, m Mail, r Rendered) error {
	got := Received{
		ID: m.ID, Kind: m.Kind, To: m.To, Subject: r.Subject, HTML: r.HTML, Text: r.Text,
		Links: links(r.HTML), Code: m.Vars.Token, At: i.now(),
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.count++
	if got.ID == "" {
		got.ID = "inbox-" + strconv.Itoa(i.count)
	}
	i.mails = slices.DeleteFunc(i.mails, func(o Received) bool { return o.ID == got.ID })
	if over := len(i.mails) - inboxSize + 1; over > 0 {
		i.mails = slices.Delete(i.mails, 0, over)
	}
	i.mails = append(i.mails, got)
	return nil
}

// Messages returns what is here, newest first.
func (i *Inbox) Messages() []Received {
	i.mu.Lock()
	list := slices.Clone(i.mails)
	i.mu.Unlock()
	slices.Reverse(list)
	for n := range list {
		list[n].Links = slices.Clone(list[n].Links)
	}
	return list
}

// Find returns the mail with the given ID.
func (i *Inbox) Find(id string) (Received, bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, m := range i.mails {
		if m.ID == id {
			m.Links = slices.Clone(m.Links)
			return m, true
		}
	}
	return Received{}, false
}

// links returns the targets of the anchors in page.
func links(page string) []string {
	found := []string{}
	z := html.NewTokenizer(strings.NewReader(page))
	for {
		switch z.Next() {
		case html.ErrorToken:
			return found
		case html.StartTagToken, html.SelfClosingTagToken:
			t := z.Token()
			if t.Data != "a" {
				continue
			}
			for _, a := range t.Attr {
				if a.Key == "href" && a.Val != "" && !slices.Contains(found, a.Val) {
					found = append(found, a.Val)
				}
			}
		}
	}
}
