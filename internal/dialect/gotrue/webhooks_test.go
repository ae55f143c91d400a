package gotrue_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/audit"
	"gatehouse/internal/secret"
	"gatehouse/internal/store"
)

// picky takes https addresses alone, and names of events that have a point.
func picky(url string, events []string) (string, error) {
	if !strings.HasPrefix(url, "https://") {
		return "url", errors.New("the URL must begin with https://")
	}
	for _, e := range events {
		if !strings.Contains(e, ".") {
			return "events", errors.New("that is no event")
		}
	}
	return "", nil
}

// fanOut puts what has happened into the trail, and so on its way to endpoints.
func (h *house) fanOut() {
	h.t.Helper()
	s := audit.NewSealer(audit.Options{
		DB: h.DB, After: (*store.Tx).FanOut,
		Root: func(context.Context, store.TenantID) (*secret.Root, error) { return h.Root, nil },
	})
	err := errors.Join(s.SealNow(h.t.Context()), s.Release(h.t.Context()))
	if err != nil {
		h.t.Fatal(err)
	}
}

// sent ends what is due, one delivery of each user.
func (h *house) sent(state store.WebhookState, try store.WebhookTry) {
	h.t.Helper()
	err := h.DB.Write(h.t.Context(), store.TenantID{}, func(tx *store.Tx) error {
		list, err := tx.TakeWebhooks(100, time.Minute, 100, nil)
		for _, p := range list {
			if err == nil {
				_, err = tx.EndWebhook(p.WebhookDelivery, state, try)
			}
		}
		return err
	})
	if err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) addHook() answer {
	h.t.Helper()
	return h.must(http.StatusCreated, "POST", "/admin/webhooks", `{"url":"https://hook.example/events"}`, bearer(h.Policy().OperatorToken))
}

func noDelivery(h *house) asks {
	return byAdmin("POST", "/admin/webhooks/"+h.addHook().text("id")+"/deliveries/evt_0b0a0000-0000-4000-8000-00000000abcd/replay", "")(h)
}

func fifty(h *house) asks {
	for range 50 {
		h.addHook()
	}
	return byAdmin("POST", "/admin/webhooks", `{"url":"https://hook.example/events"}`)(h)
}

// The calls of the API, with $hook for an endpoint and $event for a delivery.
var hookCalls = [][3]string{
	{"GET", "/admin/webhooks", ""},
	{"POST", "/admin/webhooks", `{"url":"https://evil.example"}`},
	{"GET", "/admin/webhooks/$hook", ""},
	{"PUT", "/admin/webhooks/$hook", `{"url":"https://evil.example"}`},
	{"POST", "/admin/webhooks/$hook/rotate", ""},
	{"POST", "/admin/webhooks/$hook/replay", ""},
	{"GET", "/admin/webhooks/$hook/deliveries", ""},
	{"POST", "/admin/webhooks/$hook/deliveries/$event/replay", ""},
	{"DELETE", "/admin/webhooks/$hook", ""},
}

// changingHooks are those of changing that are about endpoints.
func changingHooks() map[string]func(h *house) answer {
	call := func(method, path, body string) func(h *house) answer {
		return func(h *house) answer {
			hook := h.addHook().text("id")
			h.fanOut()
			h.sent(store.WebhookDead, store.WebhookTry{})
			fill := strings.NewReplacer("$hook", hook, "$event", h.deliveries(hook, "state=dead")[0]["id"].(string))
			return h.do(method, fill.Replace(path), body, bearer(h.Policy().OperatorToken))
		}
	}
	return map[string]func(h *house) answer{
		"POST /admin/webhooks":                                call("POST", "/admin/webhooks", `{"url":"https://hook.example/events"}`),
		"PUT /admin/webhooks/{id}":                            call("PUT", "/admin/webhooks/$hook", `{"disabled":true}`),
		"POST /admin/webhooks/{id}/rotate":                    call("POST", "/admin/webhooks/$hook/rotate", ""),
		"POST /admin/webhooks/{id}/replay":                    call("POST", "/admin/webhooks/$hook/replay", ""),
		"POST /admin/webhooks/{id}/deliveries/{event}/replay": call("POST", "/admin/webhooks/$hook/deliveries/$event/replay", ""),
		"DELETE /admin/webhooks/{id}":                         call("DELETE", "/admin/webhooks/$hook", ""),
	}
}

// Whoever could name an endpoint would be told of every sign-in.
func TestWebhooks_areAnAdministratorsAlone(t *testing.T) {
	t.Parallel()
	h := newHouse(t, func(s *setup) { s.endpoint = picky })
	h.newUser("anna@example.com")
	access, _ := h.signIn("anna@example.com")
	there := house{House: h.There(), t: t}
	hook := h.addHook()
	h.fanOut()
	h.sent(store.WebhookDead, store.WebhookTry{Asked: true, Status: 500, Error: "status 500"})
	dead := h.deliveries(hook.text("id"), "state=dead")
	if len(dead) == 0 {
		t.Fatal("nothing has died")
	}
	fill := strings.NewReplacer("$hook", hook.text("id"), "$event", dead[0]["id"].(string))
	for who, headers := range map[string][]string{
		"nobody":                  nil,
		"a user":                  {bearer(access)},
		"another tenant's server": {bearer(there.serviceToken())},
		"a guess":                 {bearer("guess")},
	} {
		for _, c := range hookCalls {
			a := h.do(c[0], fill.Replace(c[1]), c[2], headers...)
			if a.Code != http.StatusUnauthorized && a.Code != http.StatusForbidden {
				t.Errorf("%s: %s %s = %d %s", who, c[0], c[1], a.Code, a.Body)
			}
		}
	}
	a := h.must(http.StatusOK, "GET", "/admin/webhooks/"+hook.text("id"), "", bearer(h.Policy().OperatorToken))
	if a.text("url") != "https://hook.example/events" || a.text("updated_at") != a.text("created_at") {
		t.Errorf("the endpoint is %s now", a.Body)
	}
	if got := h.deliveries(hook.text("id"), "state=dead"); len(got) != len(dead) {
		t.Errorf("%d are dead, %d were", len(got), len(dead))
	}
}

func TestWebhooks_tellASecretOnce(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	op := bearer(h.Policy().OperatorToken)
	made := h.addHook()
	path := "/admin/webhooks/" + made.text("id")
	turned := h.must(http.StatusOK, "POST", path+"/rotate", "", op)
	form := regexp.MustCompile(`^whsec_[A-Za-z0-9+/]{43}=$`)
	if !form.MatchString(made.text("secret")) || !form.MatchString(turned.text("secret")) || made.text("secret") == turned.text("secret") {
		t.Fatalf("the secrets are %q and %q; want two of Standard Webhooks' form", made.text("secret"), turned.text("secret"))
	}
	if turned.text("old_secret_until") == "" || made.text("old_secret_until") != "" {
		t.Errorf("the old secret lives until %q, at first %q", turned.text("old_secret_until"), made.text("old_secret_until"))
	}
	for _, c := range hookCalls {
		if strings.HasSuffix(c[1], "/rotate") || c[0] == "POST" && c[1] == "/admin/webhooks" {
			continue // they tell another
		}
		a := h.do(c[0], strings.NewReplacer("$hook", made.text("id"), "$event", "evt_x").Replace(c[1]), strings.Replace(c[2], "evil", "good", 1), op)
		if strings.Contains(a.Body.String(), "secret\"") || strings.Contains(a.Body.String(), "whsec_") {
			t.Errorf("%s %s tells a secret: %s", c[0], c[1], a.Body)
		}
	}
	for _, s := range []string{made.text("secret"), turned.text("secret")} {
		if strings.Contains(h.log.String(), strings.TrimPrefix(s, "whsec_")) {
			t.Error("a secret is in the log")
		}
	}
}

// deliveries reads all pages of an endpoint's list.
func (h *house) deliveries(hook, query string) (list []map[string]any) {
	h.t.Helper()
	for cursor := ""; ; {
		a := h.must(http.StatusOK, "GET", "/admin/webhooks/"+hook+"/deliveries?"+query+"&cursor="+cursor, "", bearer(h.Policy().OperatorToken))
		page, _ := a.JSON["deliveries"].([]any)
		for _, d := range page {
			list = append(list, d.(map[string]any))
		}
		cursor = a.text("next_cursor")
		if cursor == "" {
			return list
		}
	}
}

func TestWebhooks_listDeliveriesByPage(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	hook := h.addHook().text("id")
	for i := range 7 {
		email := fmt.Sprintf("u%d@example.com", i)
		h.newUser(email)
		h.signIn(email)
	}
	h.fanOut()
	h.sent(store.WebhookDead, store.WebhookTry{Asked: true, Status: 500, Error: "status 500 Internal Server Error"})
	h.sent(store.WebhookDelivered, store.WebhookTry{Asked: true, Status: 204})
	whole := h.deliveries(hook, "limit=100")
	if len(whole) < 14 {
		t.Fatalf("%d deliveries, want those of seven sign-ups", len(whole))
	}
	ids := func(list []map[string]any) (ids []string) {
		for _, d := range list {
			ids = append(ids, d["id"].(string))
		}
		return ids
	}
	if sorted := slices.Sorted(slices.Values(ids(whole))); func() bool { slices.Reverse(sorted); return !slices.Equal(sorted, ids(whole)) }() {
		t.Errorf("the list is not the newest first: %v", ids(whole))
	}
	for _, state := range []string{"", "waiting", "due", "delivered", "dead"} {
		all := h.deliveries(hook, "limit=100&state="+state)
		for _, limit := range []string{"1", "2", "7"} {
			if got := h.deliveries(hook, "limit="+limit+"&state="+state); !slices.Equal(ids(got), ids(all)) {
				t.Errorf("%s by pages of %s: %v, want %v", state, limit, ids(got), ids(all))
			}
		}
		for _, d := range all {
			ended := d["state"] == "dead" || d["state"] == "delivered"
			if state != "" && d["state"] != state || ended == (d["ended_at"] == nil) || ended != (d["due_at"] == nil) {
				t.Errorf("%s: %v", state, d)
			}
		}
	}
	died := h.deliveries(hook, "state=dead")
	dead := died[0]
	if dead["status"] != 500.0 || dead["error"] != "status 500 Internal Server Error" || dead["tries"] != 1.0 {
		t.Errorf("a dead one is %v", dead)
	}

	// Sent again it has its id, and nobody is asked twice about one.
	op := bearer(h.Policy().OperatorToken)
	replay := "/admin/webhooks/" + hook + "/deliveries/" + dead["id"].(string) + "/replay"
	h.must(http.StatusOK, "POST", replay, "", op)
	h.must(http.StatusNotFound, "POST", replay, "", op)
	again := h.deliveries(hook, "state=due")
	again = append(again, h.deliveries(hook, "state=waiting")...)
	if !slices.Contains(ids(again), dead["id"].(string)) {
		t.Errorf("%s is not on its way again: %v", dead["id"], again)
	}
	a := h.must(http.StatusOK, "POST", "/admin/webhooks/"+hook+"/replay", "", op)
	if a.JSON["replayed"] != float64(len(died)-1) || len(h.deliveries(hook, "state=dead")) != 0 {
		t.Errorf("%s, and %d are dead; want all the others sent again", a.Body, len(h.deliveries(hook, "state=dead")))
	}
}
