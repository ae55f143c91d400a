package notify

import (
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var _, _ Sender = (*SMTP)(nil), (*Inbox)(nil)

func TestInbox_keepsWhatAPersonWouldRead(t *testing.T) {
	box := NewInbox(func() time.Time { return sent })
	m := mailOf(Confirmation)
	r := render(t, Options{}, m)
	if err := box.Send(t.Context(), m, r); err != nil {
		t.Fatal(err)
	}
	want := Received{
		ID: "m-1", Kind: Confirmation, To: "ann@example.com", Subject: r.Subject, HTML: r.HTML, Text: r.Text,
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
