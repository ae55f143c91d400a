package web

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"gatehouse/internal/auth"
)

// untouched fails when anything is decoded into it.
type untouched struct{ decoded bool }

func (u *untouched) UnmarshalJSON([]byte) error {
	u.decoded = true
	return nil
}

// A map of the decoder's is many times the size of its text: a few requests at
// once would fill the memory.
func TestThreat_D10_jsonOfManySmallThingsIsRefusedUndecoded(t *testing.T) {
	list := func(n int, value string) string { return "[" + strings.Repeat(value+",", n-1) + value + "]" }
	for _, c := range []struct {
		what, body string
		taken      bool
	}{
		{"1000 keys", `{"a":` + list(999, `{"b":1}`) + `}`, true},
		{"1001 keys", `{"a":` + list(1000, `{"b":1}`) + `}`, false},
		{"100,000 keys", list(100_000, `{"":1}`), false},
		{"10,000 values", list(10_000, "1"), true},
		{"500,000 values", list(500_000, "1"), false},
		{"what is in a string", `"` + strings.Repeat(`:,\"`, 20_000) + `"`, true},
	} {
		var v untouched
		err := Body(httptest.NewRecorder(), httptest.NewRequest("POST", "/", strings.NewReader(c.body)), &v)
		switch {
		case c.taken && (err != nil || !v.decoded):
			t.Errorf("%s: %v, want them taken", c.what, err)
		case !c.taken && (v.decoded || auth.CodeOf(err) != auth.MalformedBody):
			t.Errorf("%s: %v, decoded: %v; want MalformedBody before that", c.what, err, v.decoded)
		}
		if c.taken {
			continue
		}
		n := testing.AllocsPerRun(1, func() {
			_ = Body(httptest.NewRecorder(), httptest.NewRequest("POST", "/", strings.NewReader(c.body)), &v)
		})
		if n > 200 {
			t.Errorf("%s are refused at the cost of %v allocations", c.what, n)
		}
	}
}

// post sends a body past s to a handler that reads it, and returns what it is
// told.
func post(s *Server, body io.Reader, optional bool) (err error) {
	one := *s
	one.Log, one.Now = slog.New(slog.DiscardHandler), time.Now
	one.Next = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var v map[string]any
		if optional {
			err = OptionalBody(w, r, &v)
			return
		}
		err = Body(w, r, &v)
	})
	one.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("POST", "/", body))
	return err
}

const (
	small = `{"a":"b"}`
	place = 64 << 10
)

func largeJSON(n int) string { return `{"a":"` + strings.Repeat("b", n-len(`{"a":""}`)) + `"}` }

func TestThreat_D10_largeBodiesTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &Server{Timeout: 10 * time.Second, Large: make(chan struct{}, 1)}
		more, feed := io.Pipe()
		first := make(chan error, 1)
		go func() { first <- post(s, io.MultiReader(strings.NewReader(largeJSON(place)), more), false) }()
		synctest.Wait()
		if len(s.Large) != 1 {
			t.Fatal("a large body has no place")
		}

		for range 100 {
			if err := post(s, strings.NewReader(largeJSON(place-1)), false); err != nil {
				t.Fatalf("a small body beside a large one: %v", err)
			}
		}
		start := time.Now()
		err := post(s, strings.NewReader(largeJSON(place+1)), false)
		var e *auth.Error
		if !errors.As(err, &e) || e.Code != auth.Busy || e.RetryAfter < time.Second || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a second large body: %v, want Busy with a time to wait", err)
		}
		if waited := time.Since(start); waited != 10*time.Second {
			t.Errorf("it waited %v, want all the time of its request", waited)
		}

		// One that is still waiting when the first is done gets its place.
		next := make(chan error, 1)
		go func() { next <- post(s, strings.NewReader(largeJSON(MaxBody)), false) }()
		synctest.Wait()
		feed.Close()
		if err := <-first; err != nil {
			t.Errorf("the first: %v", err)
		}
		if err := <-next; err != nil {
			t.Errorf("the one that waited: %v", err)
		}
		if len(s.Large) != 0 {
			t.Error("a place was not given back")
		}
	})
}

func TestBody_givesItsPlaceBackHoweverItEnds(t *testing.T) {
	s := &Server{Large: make(chan struct{}, 1)}
	for what, c := range map[string]struct {
		body io.Reader
		code auth.Code
	}{
		"well":       {strings.NewReader(largeJSON(place + 1)), ""},
		"no JSON":    {strings.NewReader(strings.Repeat("x", 2*place)), auth.MalformedBody},
		"blank":      {strings.NewReader(strings.Repeat(" ", 2*place)), auth.MalformedBody},
		"many keys":  {strings.NewReader("[" + strings.Repeat(`{"":1},`, 20_000) + "1]"), auth.MalformedBody},
		"not UTF-8":  {strings.NewReader(strings.Repeat("\xff", 2*place)), auth.MalformedBody},
		"too large":  {strings.NewReader(largeJSON(MaxBody + 1)), auth.BodyTooLarge},
		"broken off": {io.MultiReader(strings.NewReader(largeJSON(2*place)), iotest.ErrReader(io.ErrUnexpectedEOF)), auth.MalformedBody},
		"small":      {strings.NewReader(small), ""},
	} {
		text, err := io.ReadAll(c.body)
		for _, optional := range []bool{false, true} {
			code := c.code
			if optional && what == "blank" {
				code = ""
			}
			body := io.Reader(strings.NewReader(string(text)))
			if err != nil {
				body = io.MultiReader(body, iotest.ErrReader(err))
			}
			got := post(s, body, optional)
			if code == "" && got != nil || code != "" && auth.CodeOf(got) != code {
				t.Errorf("%s: %v, want %q", what, got, code)
			}
			if len(s.Large) != 0 {
				t.Fatalf("%s (optional: %v): the place was not given back", what, optional)
			}
		}
	}
}
