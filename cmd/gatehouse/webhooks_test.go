package main

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// privately lets servers call the receivers of these tests, which listen on
// loopback addresses.
const privately = "GATEHOUSE_OUTGOING_ALLOW_PRIVATE=true"

// notice is an event as a receiver got it.
type notice struct {
	id, kind, user, tenant string
	data                   map[string]any
	header                 http.Header
	body                   []byte
	status                 int // of the answer
}

// subscriber is an endpoint: a server that is told of events.
type subscriber struct {
	t    *testing.T
	web  *httptest.Server
	id   string // the endpoint's
	mu   sync.Mutex
	got  []notice
	live map[string]int // requests under way for a user
	most int            // of them at one time

	answer atomic.Pointer[func(w http.ResponseWriter, r *http.Request, n notice) int]
}

// listenHook starts a receiver. answer returns the status that it answered
// with; nil: 204.
func listenHook(t *testing.T, answer func(w http.ResponseWriter, r *http.Request, n notice) int) *subscriber {
	t.Helper()
	h := &subscriber{t: t, live: map[string]int{}}
	h.answers(answer)
	h.web = httptest.NewServer(h)
	t.Cleanup(h.web.Close)
	return h
}

func (h *subscriber) answers(answer func(w http.ResponseWriter, r *http.Request, n notice) int) {
	if answer == nil {
		answer = answersWith(http.StatusNoContent)
	}
	h.answer.Store(&answer)
}

func answersWith(status int) func(http.ResponseWriter, *http.Request, notice) int {
	return func(w http.ResponseWriter, _ *http.Request, _ notice) int {
		w.WriteHeader(status)
		return status
	}
}

// ServeHTTP reads an event (http.Handler).
func (h *subscriber) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var in struct {
		Type, ID, Tenant string
		Data             map[string]any
	}
	err = errors.Join(err, json.Unmarshal(body, &in))
	n := notice{id: r.Header.Get("Webhook-Id"), kind: in.Type, tenant: in.Tenant, data: in.Data, header: r.Header.Clone(), body: body}
	n.user, _ = in.Data["user_id"].(string)
	if err != nil || r.Method != http.MethodPost || n.id != in.ID || n.kind == "" || r.Header.Get("Content-Type") != "application/json" {
		h.t.Errorf("%s %s of %q, %v: %s", r.Method, n.id, r.Header.Get("Content-Type"), err, body)
	}
	h.mu.Lock()
	h.live[n.user]++
	h.most = max(h.most, h.live[n.user])
	h.mu.Unlock()
	n.status = (*h.answer.Load())(w, r, n)
	h.mu.Lock()
	h.live[n.user]--
	h.got = append(h.got, n)
	h.mu.Unlock()
}

// accepted are the events that were answered well, in the order they came.
func (h *subscriber) accepted() (list []notice) {
	for _, n := range h.all() {
		if n.status/100 == 2 {
			list = append(list, n)
		}
	}
	return list
}

// all are all that came, whatever became of them.
func (h *subscriber) all() []notice {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.got)
}

// ids are those of notices, each as often as it came.
func ids(list []notice) map[string]int {
	n := map[string]int{}
	for _, x := range list {
		n[x.id]++
	}
	return n
}

// verifies reports whether a secret signed a notice, as Standard Webhooks has it.
func (n notice) verifies(secret string) bool {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, "whsec_"))
	if err != nil || len(key) != 32 {
		return false
	}
	mac := hmac.New(sha256.New, key)
	fmt.Fprintf(mac, "%s.%s.%s", n.id, n.header.Get("Webhook-Timestamp"), n.body)
	return slices.Contains(strings.Fields(n.header.Get("Webhook-Signature")), "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)))
}

// tell makes h an endpoint of s and returns its secret.
func (s *server) tell(h *subscriber, events ...string) (secret string) {
	s.t.Helper()
	a := s.do(201, "POST", "/admin/webhooks", object{"url": h.web.URL + "/hook", "events": append([]string{}, events...)}, bearer(operator))
	h.id = a.text("id")
	return a.text("secret")
}

// set changes data of a user; the event names what was changed.
func (s *server) set(user, name string) error {
	a, err := s.ask("PUT", "/admin/users/"+user, object{"user_metadata": object{name: true}}, bearer(operator))
	if err == nil && a.status != 200 {
		err = fmt.Errorf("%d %s", a.status, a.body)
	}
	return err
}

// deliveries lists an endpoint's, of a state or all.
func (s *server) deliveries(h *subscriber, state string) (list []object) {
	s.t.Helper()
	for cursor := ""; ; {
		a := s.do(200, "GET", "/admin/webhooks/"+h.id+"/deliveries?limit=100&state="+state+"&cursor="+cursor, nil, bearer(operator))
		page, _ := a.at("deliveries").([]any)
		for _, d := range page {
			list = append(list, d.(object))
		}
		cursor = a.text("next_cursor")
		if cursor == "" {
			return list
		}
	}
}

// settled waits until so many deliveries of an endpoint are in a state.
func (s *server) settled(h *subscriber, state string, n int) []object {
	s.t.Helper()
	until(s.t, fmt.Sprintf("%d deliveries that are %s", n, state), func() bool { return len(s.deliveries(h, state)) >= n })
	return s.deliveries(h, state)
}

// turnHooks lets rests of endpoints be over, and the pauses of deliveries that
// end within so long, leases too: the test turns the rows' clock and waits for
// none.
func (d database) turnHooks(t *testing.T, within time.Duration) {
	t.Helper()
	d.change(t, fmt.Sprintf(`UPDATE webhook_deliveries SET due_at = 1 WHERE state = 'due' AND due_at < %d`, time.Now().Add(within).UnixMicro()))
	d.change(t, `UPDATE webhook_endpoints SET next_at = 1, rest_until = 0 WHERE next_at > 0`)
}

// Three nodes, two endpoints, users who are changed on all of them.
func TestWebhooks_ofManyNodesComeOnceAndInOrder(t *testing.T) {
	t.Parallel()
	onEngines(t, func(t *testing.T, d database) {
		all, some := listenHook(t, nil), listenHook(t, nil)
		nodes := []*server{start(t, d.settings(privately)...), start(t, d.settings(privately)...), start(t, d.settings(privately)...)}
		secrets := []string{nodes[0].tell(all), nodes[1].tell(some, "user.*")}
		const users, changes = 5, 8
		want := map[string][]string{} // of each user, what was changed
		var people []string
		for i := range users {
			people = append(people, nodes[i%3].person(fmt.Sprintf("u%d@example.com", i)))
		}
		var crowd sync.WaitGroup
		for i, id := range people {
			var names []string
			for n := range changes {
				names = append(names, fmt.Sprintf("k%02d", n))
			}
			want[id] = names
			crowd.Go(func() {
				for n, name := range names {
					err := nodes[(i+n)%3].set(id, name)
					if err != nil {
						t.Errorf("change %d of user %d: %v", n, i, err)
					}
				}
			})
		}
		crowd.Wait()
		for i, h := range []*subscriber{all, some} {
			nodes[2].settled(h, "delivered", users*(changes+1))
			until(t, "nothing on its way", func() bool {
				return len(nodes[0].deliveries(h, "due"))+len(nodes[1].deliveries(h, "waiting")) == 0
			})
			got := map[string][]string{}
			for _, n := range h.all() {
				if !n.verifies(secrets[i]) || n.verifies(secrets[1-i]) {
					t.Errorf("endpoint %d: %s is not signed by the endpoint's secret, and by no other", i, n.id)
				}
				if n.kind == "user.updated" {
					got[n.user] = append(got[n.user], changed(n))
				}
				if n.kind != "user.updated" && n.kind != "user.signed_up" && (h == some || !strings.HasPrefix(n.kind, "webhook.")) {
					t.Errorf("endpoint %d got %s", i, n.body)
				}
			}
			for id, names := range want {
				if !slices.Equal(got[id], names) {
					t.Errorf("endpoint %d: of user %s came %v, want each change once, in order: %v", i, id, got[id], names)
				}
			}
			for id, n := range ids(h.all()) {
				if n != 1 {
					t.Errorf("endpoint %d: %s came %d times", i, id, n)
				}
			}
			if h.most > 1 {
				t.Errorf("endpoint %d: %d of a user came at one time", i, h.most)
			}
		}
		for id := range ids(some.all()) {
			if ids(all.all())[id] != 1 {
				t.Errorf("%s has another id at the other endpoint", id)
			}
		}
	})
}

// changed is the name that set has changed.
func changed(n notice) string {
	text := string(n.body)
	at := strings.Index(text, `"k`)
	if at < 0 {
		return text
	}
	return text[at+1 : at+4]
}

// Whatever a receiver does, no request waits for it, no other receiver, and
// nothing is lost.
func TestWebhooks_ofHostileReceiversHarmNobody(t *testing.T) {
	t.Parallel()
	trap := listenHook(t, nil)
	release := make(chan struct{})
	var sent atomic.Int64 // bytes of the endless answer
	hostile := map[string]*subscriber{
		"500": listenHook(t, answersWith(http.StatusInternalServerError)),
		"hang": listenHook(t, func(w http.ResponseWriter, r *http.Request, _ notice) int {
			select {
			case <-release:
			case <-r.Context().Done():
			}
			return 0
		}),
		"drip": listenHook(t, func(w http.ResponseWriter, r *http.Request, _ notice) int {
			tick := time.NewTicker(time.Second)
			defer tick.Stop()
			for {
				_, err := w.Write([]byte("."))
				err = errors.Join(err, http.NewResponseController(w).Flush())
				select {
				case <-tick.C:
				case <-release:
					return 0
				case <-r.Context().Done():
					return 0
				}
				if err != nil {
					return 0
				}
			}
		}),
		"redirect": listenHook(t, func(w http.ResponseWriter, r *http.Request, _ notice) int {
			http.Redirect(w, r, trap.web.URL+"/hook", http.StatusTemporaryRedirect)
			return http.StatusTemporaryRedirect
		}),
		"metadata": listenHook(t, func(w http.ResponseWriter, r *http.Request, _ notice) int {
			http.Redirect(w, r, "http://169.254.169.254/latest/meta-data/", http.StatusFound)
			return http.StatusFound
		}),
		"1 GB": listenHook(t, func(w http.ResponseWriter, _ *http.Request, _ notice) int {
			block := bytes.Repeat([]byte("x"), 64<<10)
			for range (1 << 30) / len(block) {
				n, err := w.Write(block)
				sent.Add(int64(n))
				if err != nil {
					break
				}
			}
			return 0
		}),
	}
	good := listenHook(t, nil)
	s := start(t, privately)
	t.Cleanup(sync.OnceFunc(func() { close(release) })) // before the server ends, which waits for them
	for _, h := range hostile {
		s.tell(h, "user.*")
	}
	s.tell(good, "user.*")
	const users = 20
	for i := range users {
		id := s.person(fmt.Sprintf("u%d@example.com", i))
		err := s.set(id, "k00")
		if err != nil {
			t.Fatal(err)
		}
		s.signIn(fmt.Sprintf("u%d@example.com", i), password)
	}
	s.settled(good, "delivered", 2*users)
	for id, n := range ids(good.all()) {
		if n != 1 {
			t.Errorf("the good one got %s %d times", id, n)
		}
	}
	wantError := map[string]string{"500": "status 500 Internal Server Error", "redirect": "status 307 Temporary Redirect", "metadata": "status 302 Found", "1 GB": "too large"}
	for name, h := range hostile {
		var failed object
		until(t, name+": a try", func() bool {
			for _, x := range s.deliveries(h, "due") {
				if x["tries"] != 0.0 && (x["error"] != nil || name == "hang" || name == "drip") {
					failed = x
				}
			}
			return failed != nil
		})
		if text, _ := failed["error"].(string); !strings.Contains(text, wantError[name]) {
			t.Errorf("%s: the delivery is %v, want it to say %q", name, failed, wantError[name])
		}
		kept := map[string]int{}
		for _, state := range []string{"due", "waiting"} {
			for _, x := range s.deliveries(h, state) {
				kept[x["id"].(string)]++
			}
		}
		if len(kept) != 2*users {
			t.Errorf("%s: %d deliveries are kept, want %d", name, len(kept), 2*users)
		}
		for id := range ids(good.all()) {
			if kept[id] != 1 {
				t.Errorf("%s: the delivery %s is not kept", name, id)
			}
		}
	}
	if n := len(trap.all()); n != 0 {
		t.Errorf("%d redirects were followed", n)
	}
	if n := sent.Load(); n > 64<<20 {
		t.Errorf("%d MiB of the endless answers were taken", n>>20)
	}

	// They come back, and get what they missed, each by the id it has.
	for _, h := range hostile {
		h.answers(nil)
	}
	for name, h := range hostile {
		if name == "hang" || name == "drip" {
			continue // what they were sent ends with this test
		}
		until(t, name+": all", func() bool {
			s.db.turnHooks(t, 45*time.Second) // not the leases, which are for a minute
			return len(ids(h.accepted())) == 2*users
		})
		for id := range ids(h.accepted()) {
			if ids(good.all())[id] != 1 {
				t.Errorf("%s: %s is an id of its own", name, id)
			}
		}
	}
}

// Without the development setting no receiver inside is called, whatever it is
// called by.
func TestWebhooks_reachNoInnerAddress(t *testing.T) {
	t.Parallel()
	inside := &subscriber{t: t, live: map[string]int{}}
	inside.answers(nil)
	inside.web = httptest.NewTLSServer(inside)
	t.Cleanup(inside.web.Close)
	s := start(t)
	a := s.do(400, "POST", "/admin/webhooks", object{"url": strings.Replace(inside.web.URL, "https:", "http:", 1)}, bearer(operator))
	if !strings.Contains(a.body, "must begin with https://") {
		t.Errorf("plain http is refused by %s", a.body)
	}
	s.tell(inside, "user.*")
	s.person("ada@example.com")
	var said string
	until(t, "a try", func() bool {
		for _, x := range s.deliveries(inside, "due") {
			said, _ = x["error"].(string)
		}
		return said != ""
	})
	if said != "the address is not allowed" || len(inside.all()) != 0 {
		t.Errorf("the delivery says %q after %d visits", said, len(inside.all()))
	}
}
