package main

import (
	"bytes"
	"errors"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// slowly writes one batch at a time and remembers how many there were.
type slowly struct {
	mu      sync.Mutex
	b       bytes.Buffer
	batches int
	gate    chan struct{} // closed: batches pass
}

func (s *slowly) Write(b []byte) (int, error) {
	<-s.gate
	s.mu.Lock()
	defer s.mu.Unlock()
	s.batches++
	return s.b.Write(b)
}

func TestJournal_readsBackWhatItWrote(t *testing.T) {
	var file bytes.Buffer
	j := newJournal(&file, time.Now)
	id, err := j.ask(ask{Op: opSignIn, Email: ada, Password: "first"})
	if err != nil {
		t.Fatal(err)
	}
	other, err := j.ask(ask{Op: opRefresh, Email: ada, Session: "s1", Token: "r1"})
	if err != nil || other == id {
		t.Fatalf("a second request: id %d, %v", other, err)
	}
	err = j.told(id, opens("s1", "r1"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := readJournal(&file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(j.all(), got); diff != "" {
		t.Errorf("(-kept +read):\n%s", diff)
	}
	if got[1].Told.outcome() != unknown {
		t.Error("a request without an answer is taken for answered")
	}
}

// A request must be on record before it is sent: nobody goes on before the
// line is written, and those who wait together are written together.
func TestJournal_isWrittenBeforeAnybodyGoesOn(t *testing.T) {
	s := &slowly{gate: make(chan struct{})}
	j := newJournal(s, time.Now)
	const callers = 50
	went := make(chan error, callers)
	for range callers {
		go func() {
			_, err := j.ask(ask{Op: opUser, Email: ada})
			s.mu.Lock()
			lines := strings.Count(s.b.String(), "\n")
			s.mu.Unlock()
			if err == nil && lines == 0 {
				err = errors.New("went on with nothing written")
			}
			went <- err
		}()
	}
	for waiting := int64(0); waiting < callers; runtime.Gosched() {
		j.mu.Lock()
		waiting = j.added
		j.mu.Unlock()
	}
	close(s.gate)
	for range callers {
		if err := <-went; err != nil {
			t.Error(err)
		}
	}
	if s.batches != 2 {
		t.Errorf("got %d batches, want the first line and then all others at once", s.batches)
	}
	if lines := strings.Count(s.b.String(), "\n"); lines != callers {
		t.Errorf("got %d lines, want %d", lines, callers)
	}
	ids := map[int64]bool{}
	ops, err := readJournal(&s.b)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range ops {
		ids[o.ID] = true
	}
	if len(ids) != callers {
		t.Errorf("got %d different ids, want %d", len(ids), callers)
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

func TestJournal_thatCannotBeWrittenLetsNothingBeSent(t *testing.T) {
	j := newJournal(full{}, time.Now)
	for range 2 {
		_, err := j.ask(ask{Op: opUser, Email: ada})
		if err == nil || !strings.Contains(err.Error(), "no space") {
			t.Errorf("got %v, want what the disk said", err)
		}
	}
}

// The journals of these tests are written by hand, byte for byte.
func TestReadJournal(t *testing.T) {
	const begun = `{"id":1,"at":"2030-01-02T03:04:05Z","ask":{"op":"sign-up","email":"ada@example.com","password":"first"}}` + "\n" +
		`{"id":1,"at":"2030-01-02T03:04:06Z","told":{"status":200,"user":"u","session":"s1","refresh":"r1"}}` + "\n" +
		`{"id":2,"at":"2030-01-02T03:04:07Z","ask":{"op":"refresh","email":"ada@example.com","session":"s1","token":"r1"}}` + "\n"
	ops, err := readJournal(strings.NewReader(begun + `{"id":2,"at":"2030-01-02T03:04:08Z","told":{"status":400,"err":"refresh_token_not_found"}}` + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{ruleLost}, rules(judge(ops))); diff != "" {
		t.Errorf("a lost session (-want +got):\n%s", diff)
	}
	ops, err = readJournal(strings.NewReader(begun + `{"id":2,"at":"2030-01-02T03:0`)) // the driver was killed
	if err != nil || len(ops) != 2 || len(judge(ops).findings) != 0 {
		t.Errorf("a cut last line: got %v, %v; want two requests and no loss", ops, err)
	}
	for _, text := range []string{"rubbish\n", `{"id":7,"told":{"status":200}}` + "\n", begun + begun} {
		_, err = readJournal(strings.NewReader(text))
		if err == nil || !strings.Contains(err.Error(), "line ") {
			t.Errorf("%.30q: got %v, want the line that is wrong", text, err)
		}
	}
}

func TestTold_outcome(t *testing.T) {
	for status, want := range map[int]outcome{
		0: unknown, 200: okay, 204: okay, 302: unknown, 400: refused, 401: refused, 403: refused, 408: unknown, 422: refused, 429: unknown, 500: unknown, 502: unknown, 503: unknown, 504: unknown,
	} {
		if got := (&told{Status: status}).outcome(); got != want {
			t.Errorf("%d: got %v, want %v", status, got, want)
		}
	}
}
