package auth_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/auth"
	"gatehouse/internal/authtest"
	"gatehouse/internal/store"
)

const hookURL = "https://hook.example/events"

// picky judges endpoints: an address has to be hookURL's, and no event may be
// called nonsense.
func picky(o *auth.Options) {
	o.Endpoint = func(url string, events []string) (string, error) {
		if !strings.HasPrefix(url, hookURL) {
			return "url", errors.New("not there")
		}
		if slices.Contains(events, "nonsense") {
			return "events", errors.New("not that")
		}
		return "", nil
	}
}

func addHook(t *testing.T, h *authtest.House, events ...string) (*auth.Webhook, []byte) {
	t.Helper()
	w, secret, err := h.AddWebhook(t.Context(), authtest.Operator(), auth.WebhookChanges{URL: ptr(hookURL), Events: &events})
	ok(t, "add an endpoint", err)
	return w, secret
}

// promise gives what happened to a user to the endpoints, as the audit trail
// does.
func promise(t *testing.T, h *authtest.House, id auth.UserID) (list []store.TrailEvent) {
	t.Helper()
	for i, e := range h.Events(t, id) {
		list = append(list, store.TrailEvent{Seq: int64(1000 - i), ID: e.ID, Name: e.Name, UserID: id})
	}
	slices.Reverse(list)
	ok(t, "fan out", h.DB.Write(t.Context(), store.TenantID{}, func(tx *store.Tx) error { return tx.FanOut(list) }))
	return list
}

// send ends what is due, one delivery of each user, in a state.
func send(t *testing.T, h *authtest.House, state auth.WebhookState) {
	t.Helper()
	err := h.DB.Write(t.Context(), store.TenantID{}, func(tx *store.Tx) error {
		list, err := tx.TakeWebhooks(100, time.Minute, 100, nil)
		for _, p := range list {
			if err == nil {
				_, err = tx.EndWebhook(p.WebhookDelivery, state, store.WebhookTry{Asked: true, Status: 200})
			}
		}
		return err
	})
	ok(t, "send", err)
}

func TestWebhook_isWhatAnAdministratorMadeIt(t *testing.T) {
	h := authtest.New(t, picky)
	ctx, op := t.Context(), authtest.Operator()
	made, secret := addHook(t, h, "user.*", "session.opened")
	if len(secret) != 32 || bytes.Contains(made.Secret, secret) {
		t.Errorf("the secret has %d bytes; want 32, and none of them in the row", len(secret))
	}
	plain, err := auth.OpenWebhookSecret(h.Root, made.ID, made.Secret)
	ok(t, "open the secret", err)
	if !bytes.Equal(plain, secret) {
		t.Error("the row holds another secret than was handed out")
	}
	_, err = auth.OpenWebhookSecret(h.Root, store.NewWebhookID(), made.Secret)
	if err == nil {
		t.Error("the secret opens as another endpoint's")
	}

	h.Clock.Advance(time.Minute)
	got, err := h.SetWebhook(ctx, op, made.ID, auth.WebhookChanges{URL: ptr(" " + hookURL + "/two "), Description: ptr("ours"), Disabled: ptr(true)})
	ok(t, "set", err)
	if got.URL != hookURL+"/two" || got.Description != "ours" || !got.Disabled || !slices.Equal(got.Events, []string{"user.*", "session.opened"}) {
		t.Errorf("after a change it is %+v", got)
	}
	got, err = h.SetWebhook(ctx, op, made.ID, auth.WebhookChanges{Events: ptr([]string(nil))})
	ok(t, "set", err)
	read, err := h.Webhook(ctx, made.ID)
	ok(t, "read", err)
	if len(got.Events) != 0 || len(read.Events) != 0 || read.URL != hookURL+"/two" || !read.Disabled || !read.UpdatedAt.After(read.CreatedAt) {
		t.Errorf("after another it is %+v", read)
	}

	next, rotated, err := h.RotateWebhook(ctx, op, made.ID)
	ok(t, "rotate", err)
	newest, err := auth.OpenWebhookSecret(h.Root, made.ID, next.Secret)
	old, err2 := auth.OpenWebhookSecret(h.Root, made.ID, next.OldSecret)
	if err != nil || err2 != nil || bytes.Equal(rotated, secret) || !bytes.Equal(newest, rotated) || !bytes.Equal(old, secret) || !next.OldSecretUntil.Equal(h.Clock.Now().Add(24*time.Hour)) {
		t.Errorf("after the rotation: %v, %v, the old one until %v; want both, the old one for a day", err, err2, next.OldSecretUntil)
	}

	ok(t, "drop", h.DropWebhook(ctx, op, made.ID))
	list, err := h.Webhooks(ctx)
	ok(t, "list", err)
	if len(list) != 0 {
		t.Errorf("%d endpoints are left", len(list))
	}
}

func TestWebhook_refusesWhatCannotBeOne(t *testing.T) {
	h := authtest.New(t, picky)
	ctx, op := t.Context(), authtest.Operator()
	w, _ := addHook(t, h)
	for name, ch := range map[string]auth.WebhookChanges{
		"no address":      {URL: ptr("")},
		"another address": {URL: ptr("https://evil.example")},
		"unknown events":  {URL: ptr(hookURL), Events: ptr([]string{"nonsense"})},
		"a long story":    {URL: ptr(hookURL), Description: ptr(strings.Repeat("x", 501))},
	} {
		_, _, err := h.AddWebhook(ctx, op, ch)
		want(t, name, err, auth.InvalidInput)
		_, err = h.SetWebhook(ctx, op, w.ID, ch)
		want(t, name+", later", err, auth.InvalidInput)
	}
	_, _, err := h.AddWebhook(ctx, op, auth.WebhookChanges{})
	want(t, "nothing", err, auth.InvalidInput)
	list, err := h.Webhooks(ctx)
	ok(t, "list", err)
	if len(list) != 1 || list[0].URL != hookURL {
		t.Errorf("the refused left %+v", list)
	}
}

// However many come at one instant.
func TestAddWebhook_fiftyAreTheMost(t *testing.T) {
	h := authtest.New(t)
	for range 46 {
		addHook(t, h)
	}
	got := tally(together(8, func(int) error {
		_, _, err := h.AddWebhook(t.Context(), authtest.Operator(), auth.WebhookChanges{URL: ptr(hookURL)})
		return err
	}))
	if got[""] != 4 || got[auth.TooManyWebhooks] != 4 {
		t.Errorf("of eight at the 46th: %v; want four made and four refused", got)
	}
	_, _, err := h.There().AddWebhook(t.Context(), authtest.Operator(), auth.WebhookChanges{URL: ptr(hookURL)})
	ok(t, "another tenant's", err)
}

// Two who change one endpoint at an instant write nothing of each other's back.
func TestSetWebhook_twoAtOneInstant(t *testing.T) {
	h := authtest.New(t)
	w, _ := addHook(t, h)
	for i, err := range together(2, func(i int) error {
		ch := auth.WebhookChanges{URL: ptr(hookURL + "/changed")}
		if i == 1 {
			ch = auth.WebhookChanges{Description: ptr("changed")}
		}
		_, err := h.SetWebhook(t.Context(), authtest.Operator(), w.ID, ch)
		return err
	}) {
		ok(t, fmt.Sprint("change ", i), err)
	}
	got, err := h.Webhook(t.Context(), w.ID)
	ok(t, "read", err)
	if got.URL != hookURL+"/changed" || got.Description != "changed" {
		t.Errorf("it is %q, %q; want both changes", got.URL, got.Description)
	}
}

func TestWebhook_ofNobodyOrOfAnotherTenantIsNotFound(t *testing.T) {
	h := authtest.New(t)
	g := h.Join(t, ann, pw)
	ctx, op := t.Context(), authtest.Operator()
	theirs, _ := addHook(t, h)
	event := promise(t, h, g.User.ID)[0].ID
	send(t, h, store.WebhookDead)
	there := h.There()
	for name, id := range map[string]auth.WebhookID{"nobody's": store.NewWebhookID(), "another tenant's": theirs.ID} {
		_, err := there.Webhook(ctx, id)
		want(t, name+": show", err, auth.WebhookNotFound)
		_, err = there.SetWebhook(ctx, op, id, auth.WebhookChanges{URL: ptr("https://evil.example")})
		want(t, name+": set", err, auth.WebhookNotFound)
		_, _, err = there.RotateWebhook(ctx, op, id)
		want(t, name+": rotate", err, auth.WebhookNotFound)
		want(t, name+": drop", there.DropWebhook(ctx, op, id), auth.WebhookNotFound)
		_, err = there.Deliveries(ctx, id, "", auth.WebhookPlace{}, 0)
		want(t, name+": deliveries", err, auth.WebhookNotFound)
		want(t, name+": replay", there.Replay(ctx, op, id, event), auth.DeliveryNotFound)
		_, err = there.ReplayDead(ctx, op, id)
		want(t, name+": replay all", err, auth.WebhookNotFound)
	}
	list, err := there.Webhooks(ctx)
	ok(t, "list", err)
	got, err := h.Webhook(ctx, theirs.ID)
	ok(t, "the endpoint", err)
	dead, err := h.Deliveries(ctx, theirs.ID, store.WebhookDead, auth.WebhookPlace{}, 0)
	ok(t, "its deliveries", err)
	if len(list) != 0 || got.URL != hookURL || !bytes.Equal(got.Secret, theirs.Secret) || len(dead) != 1 {
		t.Errorf("the other tenant lists %d; the endpoint is %+v with %d dead", len(list), got, len(dead))
	}
}

func TestReplay_makesWhatHasEndedDueAgain(t *testing.T) {
	h := authtest.New(t)
	g := h.Join(t, ann, pw)
	ctx, op := t.Context(), authtest.Operator()
	w, _ := addHook(t, h)
	events := promise(t, h, g.User.ID)
	if len(events) < 3 {
		t.Fatalf("%d events of a sign-up, want a few", len(events))
	}
	states := func() (n map[auth.WebhookState]int) {
		n = map[auth.WebhookState]int{}
		var after auth.WebhookPlace
		for {
			list, err := h.Deliveries(ctx, w.ID, "", after, 1)
			ok(t, "deliveries", err)
			if len(list) == 0 {
				return n
			}
			n[list[0].State]++
			after = auth.PlaceAfter(list[0])
		}
	}
	want(t, "one that is on its way", h.Replay(ctx, op, w.ID, events[0].ID), auth.DeliveryNotFound)
	want(t, "one that is none", h.Replay(ctx, op, w.ID, store.EventID(store.NewDeliveryID())), auth.DeliveryNotFound)
	for range events {
		send(t, h, store.WebhookDead)
	}
	if got := states(); got[store.WebhookDead] != len(events) {
		t.Fatalf("the deliveries are %v", got)
	}
	ok(t, "replay", h.Replay(ctx, op, w.ID, events[1].ID))
	if got := states(); got[store.WebhookDead] != len(events)-1 || got[store.WebhookDue] != 1 {
		t.Errorf("after the replay of one they are %v", got)
	}
	send(t, h, store.WebhookDelivered)
	ok(t, "replay of what was delivered", h.Replay(ctx, op, w.ID, events[1].ID))
	n, err := h.ReplayDead(ctx, op, w.ID)
	ok(t, "replay the dead", err)
	if got := states(); n != len(events)-1 || got[store.WebhookDue] != 1 || got[store.WebhookWaiting] != n {
		t.Errorf("%d were replayed, and they are %v; want all, one due and the rest behind it", n, got)
	}
	before := len(h.Events(t, auth.UserID{}))
	n, err = h.ReplayDead(ctx, op, w.ID)
	ok(t, "replay none", err)
	if n != 0 || len(h.Events(t, auth.UserID{})) != before {
		t.Errorf("%d were replayed of none, or an event tells so", n)
	}
}
