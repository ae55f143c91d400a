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

// inboxSize is how many messages an Inbox keeps.
const inboxSize = 500

// channelMail is Received.Channel of mails.
const channelMail = "mail"

// Received is a message as an Inbox keeps it.
type Received struct {
	ID      string    `json:"id"`
	Channel string    `json:"channel"` // "mail", ChannelSMS or ChannelWhatsApp
	Kind    Kind      `json:"kind"`    // of a text message: its SMSKind
	To      string    `json:"to"`      // an address, or a number with +
	Subject string    `json:"subject"` // empty for text messages, like HTML
	HTML    string    `json:"html"`
	Text    string    `json:"text"`
	Links   []string  `json:"links"` // where the HTML leads, in order, each once
	Code    string    `json:"code"`  // the digits, or empty
	At      time.Time `json:"at"`
}

// Inbox is a Sender and a Texter for development and tests: it sends nothing
// and keeps the newest 500 messages in memory. It holds working codes and
// links, so it must not be reachable by strangers. It is safe for concurrent
// use.
type Inbox struct {
	now func() time.Time

	mu       sync.Mutex // guards what follows
	messages []Received // oldest first
	count    int        // messages ever, to name those without an ID
}

// NewInbox returns an empty Inbox whose messages are dated by now.
func NewInbox(now func() time.Time) *Inbox { return &Inbox{now: now} }

// Send keeps the mail. A mail with an ID that is here already takes the place
// of the earlier one, as a mail reader does with a Message-ID. It never fails.
func (i *Inbox) Send(_ context.Context, m Mail, r Rendered) error {
	i.keep(Received{
		ID: m.ID, Channel: channelMail, Kind: m.Kind, To: m.To, Subject: r.Subject, HTML: r.HTML, Text: r.Text,
		Links: links(r.HTML), Code: m.Vars.Token, At: i.now(),
	})
	return nil
}

// Text keeps the text message, as Send keeps a mail. It never fails.
func (i *Inbox) Text(_ context.Context, m SMS, body string) error {
	channel := m.Channel
	if channel == "" {
		channel = ChannelSMS
	}
	i.keep(Received{
		ID: m.ID, Channel: channel, Kind: Kind(m.Kind), To: "+" + m.To, Text: body,
		Links: []string{}, Code: m.Code, At: i.now(),
	})
	return nil
}

func (i *Inbox) keep(got Received) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.count++
	if got.ID == "" {
		got.ID = "inbox-" + strconv.Itoa(i.count)
	}
	i.messages = slices.DeleteFunc(i.messages, func(o Received) bool { return o.ID == got.ID })
	if over := len(i.messages) - inboxSize + 1; over > 0 {
		i.messages = slices.Delete(i.messages, 0, over)
	}
	i.messages = append(i.messages, got)
}

// Messages returns what is here, newest first.
func (i *Inbox) Messages() []Received {
	i.mu.Lock()
	list := slices.Clone(i.messages)
	i.mu.Unlock()
	slices.Reverse(list)
	for n := range list {
		list[n].Links = slices.Clone(list[n].Links)
	}
	return list
}

// Find returns the message with the given ID.
func (i *Inbox) Find(id string) (Received, bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, m := range i.messages {
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
