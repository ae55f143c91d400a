package notify

import (
	"encoding/json"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var (
	_, _ Sender = (*SMTP)(nil), (*Inbox)(nil)
	_    Texter = (*Inbox)(nil)
)

func TestInbox_keepsWhatAPersonWouldRead(t *testing.T) {
	box := NewInbox(func() time.Time { return sent })
	m := mailOf(Confirmation)
	r := render(t, Options{}, m)
	if err := box.Send(t.Context(), m, r); err != nil {
		t.Fatal(err)
	}
	want := Received{
		ID: "m-1", Channel: "mail", Kind: Confirmation, To: "ann@example.com", Subject: r.Subject, HTML: r.HTML, Text: r.Text,
		Links: []string{link, "https://app.example.org"}, Code: "123456", At: sent,
	}
	got, ok := box.Find("m-1")
	if !ok {
		t.Fatal("the mail is not there")
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, ok := box.Find("m-2"); ok {
		t.Error("found a mail that was never sent")
	}
}

func TestInbox_keepsTextMessages(t *testing.T) {
	box := NewInbox(func() time.Time { return sent })
	if err := box.Text(t.Context(), codeSMS(""), smsSays); err != nil {
		t.Fatal(err)
	}
	if err := box.Text(t.Context(), SMS{Kind: SMSAlreadyRegistered, To: smsTo, Channel: ChannelWhatsApp}, "Hello"); err != nil {
		t.Fatal(err)
	}
	want := []Received{
		{ID: "inbox-2", Channel: "whatsapp", Kind: "already_registered", To: "+491701234567", Text: "Hello", Links: []string{}, At: sent},
		{ID: "s-1", Channel: "sms", Kind: "code", To: "+491701234567", Text: smsSays, Links: []string{}, Code: "424242", At: sent},
	}
	if diff := cmp.Diff(want, box.Messages()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	// Delivered a second time it is the same message.
	box.Text(t.Context(), codeSMS(""), "again")
	if got, ok := box.Find("s-1"); !ok || got.Text != "again" || len(box.Messages()) != 2 {
		t.Errorf("got %+v among %d messages", got, len(box.Messages()))
	}
}

func TestInbox_isReadAsJSON(t *testing.T) {
	box := NewInbox(func() time.Time { return time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC) })
	box.Send(t.Context(), Mail{ID: "m-1", Kind: Recovery, To: "ann@example.com"}, Rendered{Subject: "S", HTML: "H", Text: "T"})
	box.Text(t.Context(), codeSMS(""), smsSays)
	got, err := json.Marshal(box.Messages())
	if err != nil {
		t.Fatal(err)
	}
	const want = `[{"id":"s-1","channel":"sms","kind":"code","to":"+491701234567","subject":"","html":"","text":"Your code is 424242","links":[],"code":"424242","at":"2030-01-02T03:04:05Z"},` +
		`{"id":"m-1","channel":"mail","kind":"recovery","to":"ann@example.com","subject":"S","html":"H","text":"T","links":[],"code":"","at":"2030-01-02T03:04:05Z"}]`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestInbox_keepsTheNewest500NewestFirst(t *testing.T) {
	box := NewInbox(time.Now)
	for n := range 600 {
		box.Send(t.Context(), Mail{ID: strconv.Itoa(n)}, Rendered{})
	}
	box.Send(t.Context(), Mail{ID: "300"}, Rendered{Subject: "again"})
	list := box.Messages()
	if len(list) != 500 || list[0].ID != "300" || list[0].Subject != "again" || list[1].ID != "599" || list[499].ID != "100" {
		t.Fatalf("%d mails, first %s, second %s, last %s; want 500, 300, 599, 100", len(list), list[0].ID, list[1].ID, list[len(list)-1].ID)
	}
	seen := 0
	for _, m := range list {
		if m.ID == "300" {
			seen++
		}
	}
	if seen != 1 {
		t.Errorf("a mail sent twice is here %d times, want 1", seen)
	}
}

func TestInbox_namesMailsWithoutID(t *testing.T) {
	box := NewInbox(time.Now)
	box.Send(t.Context(), Mail{To: "a"}, Rendered{})
	box.Send(t.Context(), Mail{To: "b"}, Rendered{})
	list := box.Messages()
	if len(list) != 2 || list[0].ID == list[1].ID || list[0].To != "b" {
		t.Errorf("got %+v, want two mails with names of their own", list)
	}
}

func TestInbox_manyAtOnce(t *testing.T) {
	box := NewInbox(time.Now)
	var wg sync.WaitGroup
	for n := range 50 {
		wg.Go(func() {
			box.Send(t.Context(), Mail{ID: strconv.Itoa(n)}, Rendered{HTML: `<a href="x">`})
			for _, m := range box.Messages() {
				m.Links[0] = "changed"
			}
			box.Find("1")
		})
	}
	wg.Wait()
	for _, m := range box.Messages() {
		if m.Links[0] != "x" {
			t.Fatal("a reader changed the mail that is kept")
		}
	}
}
