package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// However a server dies, what was answered to a client comes to the endpoints,
// by the same id as whatever came before.
func TestWebhooks_aCrashLosesNone(t *testing.T) {
	t.Parallel()
	onEngines(t, func(t *testing.T, d database) {
		// While it sends.
		began, release := make(chan struct{}, 100), make(chan struct{})
		h := listenHook(t, func(w http.ResponseWriter, r *http.Request, _ notice) int {
			began <- struct{}{}
			select {
			case <-release:
			case <-r.Context().Done():
			}
			return 0 // nobody hears it
		})
		other := listenHook(t, nil)
		s := spawn(t, t.TempDir(), d.settings(privately)...)
		s.tell(h, "user.*")
		s.tell(other, "user.*")
		ada := s.person("ada@example.com")
		<-began
		// And between a commit and everything after it.
		for n := range 5 {
			err := s.set(ada, fmt.Sprintf("k%02d", n))
			if err != nil {
				t.Fatal(err)
			}
		}
		bob := s.person("bob@example.com")
		s.kill()
		close(release)
		until(t, "the end of what was sent", func() bool { return len(h.all()) > 0 })
		cut := ids(h.all())
		h.answers(nil)
		d.turnHooks(t, time.Hour)
		d.change(t, `UPDATE leases SET until_at = 1 WHERE name = 'seal'`)

		s = spawn(t, t.TempDir(), d.settings(privately)...)
		s.settled(h, "delivered", 7)
		s.settled(other, "delivered", 7)
		for id := range cut {
			if ids(h.accepted())[id] != 1 {
				t.Errorf("%s, which was cut off, came again %d times, want once", id, ids(h.accepted())[id])
			}
		}
		for name, r := range map[string]*subscriber{"the one that was cut off": h, "the other": other} {
			var order []string
			n := ids(r.accepted())
			for _, x := range r.accepted() {
				if n[x.id] != 1 && (r == h || x.user != ada) { // the other may have had one that nobody could write down
					t.Errorf("%s got %s %d times", name, x.id, n[x.id])
				}
				if x.user == ada && x.kind == "user.updated" && (len(order) == 0 || order[len(order)-1] != changed(x)) {
					order = append(order, changed(x))
				}
			}
			if len(n) != 7 || strings.Join(order, " ") != "k00 k01 k02 k03 k04" {
				t.Errorf("%s got %d events, ada's in the order %v; want 7, in order", name, len(n), order)
			}
		}
		if ids(other.all())[s.deliveries(h, "")[0]["id"].(string)] == 0 || bob == "" {
			t.Error("the two were told by different ids")
		}
	})
}

func TestWebhooks_bothSecretsSignDuringARotation(t *testing.T) {
	t.Parallel()
	h := listenHook(t, nil)
	s := start(t, privately)
	first := s.tell(h, "user.*")
	id := s.person("ada@example.com")
	s.settled(h, "delivered", 1)
	second := s.do(200, "POST", "/admin/webhooks/"+h.id+"/rotate", nil, bearer(operator)).text("secret")
	err := s.set(id, "k00")
	if err != nil {
		t.Fatal(err)
	}
	s.settled(h, "delivered", 2)
	if n := s.db.change(t, `UPDATE webhook_endpoints SET old_secret_until = 1`); n != 1 {
		t.Fatalf("%d endpoints", n)
	}
	err = s.set(id, "k01") // a day later
	if err != nil {
		t.Fatal(err)
	}
	s.settled(h, "delivered", 3)
	for i, want := range [][2]bool{{true, false}, {true, true}, {false, true}} {
		n := h.all()[i]
		if got := [2]bool{n.verifies(first), n.verifies(second)}; got != want {
			t.Errorf("notice %d verifies with the first and the second secret: %v, want %v", i, got, want)
		}
	}
}

func TestWebhooks_ofATenantAreTheirsAlone(t *testing.T) {
	t.Parallel()
	onEngines(t, func(t *testing.T, d database) {
		ours, theirs := listenHook(t, nil), listenHook(t, nil)
		s := start(t, d.settings(privately)...)
		s.do(201, "POST", "/admin/tenants", object{"name": "shop", "settings": object{"SITE_URL": "https://shop.example", "API_EXTERNAL_URL": "https://auth.shop.example"}}, bearer(operator))
		tenant := s.do(200, "GET", "/admin/tenants/shop", nil, bearer(operator)).text("id")
		home := s.tell(ours)
		a := s.do(201, "POST", "/t/shop/admin/webhooks", object{"url": theirs.web.URL + "/hook"}, bearer(operator))
		there := a.text("secret")
		for i := range 3 {
			s.person(fmt.Sprintf("home%d@example.com", i))
			s.do(200, "POST", "/t/shop/admin/users", object{"email": fmt.Sprintf("shop%d@example.com", i)}, bearer(operator))
		}
		signUps := func(h *subscriber) (n int) {
			for _, x := range h.all() {
				if x.kind == "user.signed_up" {
					n++
				}
			}
			return n
		}
		until(t, "all sign-ups", func() bool { return signUps(ours) == 3 && signUps(theirs) == 3 })
		for _, n := range ours.all() {
			if n.tenant != "" || !n.verifies(home) || n.verifies(there) {
				t.Errorf("the default tenant's endpoint got %s", n.body)
			}
		}
		for _, n := range theirs.all() {
			if n.tenant != tenant || !n.verifies(there) || n.verifies(home) {
				t.Errorf("the shop's endpoint got %s", n.body)
			}
		}
		users := s.do(200, "GET", "/t/shop/admin/users", nil, bearer(operator)).body
		for _, n := range append(ours.all(), theirs.all()...) {
			if n.user != "" && strings.Contains(users, n.user) != (n.tenant == tenant) {
				t.Errorf("of a user of the other house: %s", n.body)
			}
		}

		// With the tenant its endpoint goes; what waits is sent to nobody.
		theirs.answers(answersWith(http.StatusInternalServerError))
		s.do(200, "POST", "/t/shop/admin/users", object{"email": "shop3@example.com"}, bearer(operator))
		until(t, "a try that fails", func() bool { return signUps(theirs) == 4 })
		until(t, "the end of it", func() bool { return s.sql(`SELECT COUNT(*) FROM webhook_deliveries WHERE status = 500`) == "1" })
		s.do(200, "DELETE", "/admin/tenants/shop", nil, bearer(operator))
		theirs.answers(nil)
		d.turnHooks(t, time.Hour)
		for i := range 2 {
			s.person(fmt.Sprintf("late%d@example.com", i))
			until(t, "the next sign-up at home", func() bool { return signUps(ours) == 4+i })
		}
		if signUps(theirs) != 4 {
			t.Error("the deleted tenant's endpoint got what waited for it")
		}
	})
}

// An endpoint that says it is gone is left in peace; what it refused is sent
// again at wish, by the id it had.
func TestWebhooks_aReplayHasTheSameID(t *testing.T) {
	t.Parallel()
	onEngines(t, func(t *testing.T, d database) {
		h := listenHook(t, answersWith(http.StatusGone))
		dir := t.TempDir()
		s := startIn(t, dir, d.settings(privately)...)
		s.tell(h, "user.*")
		id := s.person("ada@example.com")
		dead := s.settled(h, "dead", 1)[0]
		if a := s.do(200, "GET", "/admin/webhooks/"+h.id, nil, bearer(operator)); a.at("disabled") != true || dead["status"] != 410.0 {
			t.Errorf("after a 410: %s, %v; want it disabled", a.body, dead)
		}
		err := s.set(id, "k00") // told to nobody
		if err != nil {
			t.Fatal(err)
		}
		h.answers(nil)
		s.do(200, "PUT", "/admin/webhooks/"+h.id, object{"disabled": false}, bearer(operator))
		s.do(200, "POST", "/admin/webhooks/"+h.id+"/replay", nil, bearer(operator))
		s.settled(h, "delivered", 1)

		// And by the command line, what was delivered.
		out, err := commandWith(t, dir, d.settings(privately), "webhook", "deliveries", h.id, "--state", "delivered", "--json")
		var listed struct{ Deliveries []struct{ ID string } }
		if err == nil {
			err = json.Unmarshal([]byte(out), &listed)
		}
		if err != nil || len(listed.Deliveries) == 0 || listed.Deliveries[len(listed.Deliveries)-1].ID != dead["id"] {
			t.Fatalf("%v, %s; want %s", err, out, dead["id"])
		}
		_, err = commandWith(t, dir, d.settings(privately), "webhook", "replay", h.id, fmt.Sprint(dead["id"]))
		if err != nil {
			t.Fatal(err)
		}
		until(t, "the replay", func() bool { return ids(h.all())[fmt.Sprint(dead["id"])] == 3 })
		all := h.all()
		if string(all[0].body) != string(all[len(all)-1].body) {
			t.Errorf("it was %s, and is %s", all[0].body, all[len(all)-1].body)
		}
	})
}

// What operators watch.
func TestWebhooks_areCounted(t *testing.T) {
	t.Parallel()
	block := make(chan struct{})
	h := listenHook(t, func(http.ResponseWriter, *http.Request, notice) int { <-block; return 204 })
	s := start(t, privately, "GATEHOUSE_METRICS_ENABLED=true", "GATEHOUSE_METRICS_PORT=0")
	t.Cleanup(sync.OnceFunc(func() { close(block) })) // before the server ends
	s.tell(h, "user.*")
	for i := range 3 {
		s.person(fmt.Sprintf("u%d@example.com", i))
	}
	s.settled(h, "due", 3)
	a := s.do(200, "GET", s.served("metrics")+"/metrics", nil)
	for _, line := range []string{`gatehouse_webhook_deliveries{state="waiting"} 3`, `gatehouse_webhook_deliveries{state="dead"} 0`} {
		if !strings.Contains(a.body, line+"\n") {
			t.Errorf("the metrics lack %s", line)
		}
	}
}
