package auth_test

import (
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/internal/auth"
	"gatehouse/internal/authtest"
	"gatehouse/internal/notify"
	"gatehouse/internal/store"
)

const (
	ann = "ann@example.com"
	bob = "bob@example.com"
	pw  = "correct horse"
	pw2 = "battery staple"

	minute = time.Minute
	hour   = time.Hour

	annsPhone = "4915112345678"
	bobsPhone = "4915187654321"
)

// want ends the test unless err carries that code.
func want(t *testing.T, what string, err error, code auth.Code) {
	t.Helper()
	if err == nil || auth.CodeOf(err) != code {
		t.Fatalf("%s: got error %v, want %s", what, err, code)
	}
}

// ok ends the test if there is an error.
func ok(t *testing.T, what string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// together calls fn n times at one instant, as near as can be, and returns the
// errors by call.
func together(n int, fn func(i int) error) []error {
	errs := make([]error, n)
	gate := make(chan struct{})
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			<-gate
			errs[i] = fn(i)
		})
	}
	close(gate)
	wg.Wait()
	return errs
}

// tally counts errors by code; "" counts the calls without one.
func tally(errs []error) map[auth.Code]int {
	m := map[auth.Code]int{}
	for _, err := range errs {
		if err == nil {
			m[""]++
		} else {
			m[auth.CodeOf(err)]++
		}
	}
	return m
}

// names lists what happened to a user, oldest first.
func names(h *authtest.House, t *testing.T, id auth.UserID) []auth.EventName {
	t.Helper()
	var list []auth.EventName
	for _, e := range h.Events(t, id) {
		list = append(list, auth.EventName(e.Name))
	}
	slices.Reverse(list)
	return list
}

// tamper changes a user's row behind the back of the rules.
func tamper(t *testing.T, h *authtest.House, id auth.UserID, change func(*auth.User)) {
	t.Helper()
	err := h.DB.Write(t.Context(), store.TenantID{}, func(tx *store.Tx) error {
		u, err := tx.User(id)
		if err != nil {
			return err
		}
		change(&u)
		return tx.SetUser(&u)
	})
	ok(t, "tamper", err)
}

// read returns a user as it is stored.
func read(t *testing.T, h *authtest.House, id auth.UserID) auth.User {
	t.Helper()
	u, err := h.User(t.Context(), authtest.Operator(), id)
	ok(t, "read user", err)
	return *u
}

// over checks that a session has ended for every purpose.
func over(t *testing.T, what string, h *authtest.House, g *auth.Grant) {
	t.Helper()
	_, err := h.Authenticate(t.Context(), authtest.Caller(), g.Access)
	want(t, what+": access token", err, auth.SessionGone)
	_, err = h.Refresh(t.Context(), authtest.Caller(), g.Refresh)
	want(t, what+": refresh token", err, auth.RefreshNotFound)
}

// lives checks that a session's access token is good.
func lives(t *testing.T, what string, h *authtest.House, g *auth.Grant) {
	t.Helper()
	_, err := h.Authenticate(t.Context(), authtest.Caller(), g.Access)
	ok(t, what, err)
}

// newPassword is a change of password, and no more.
func newPassword(password string) auth.Changes { return auth.Changes{Password: &password} }

// newEmail is a change of address, and no more.
func newEmail(email string) auth.Changes { return auth.Changes{Email: &email} }

func amr(t *testing.T, s auth.Session) []string {
	t.Helper()
	var list []auth.AMR
	ok(t, "amr", json.Unmarshal(s.AMR, &list))
	var methods []string
	for _, a := range list {
		methods = append(methods, a.Method)
	}
	return methods
}

func ptr[T any](v T) *T { return &v }

// guesses is how so many wrong codes for one address are answered: ten in an
// hour are compared, and no more.
func guesses(n int) map[auth.Code]int {
	if n <= 10 {
		return map[auth.Code]int{auth.CodeFailed: n}
	}
	return map[auth.Code]int{auth.CodeFailed: 10, auth.TooMany: n - 10}
}

// afterGuesses is how the right code is answered after so many wrong ones.
func afterGuesses(n int) auth.Code {
	if n < 10 {
		return auth.CodeFailed
	}
	return auth.TooMany
}

// onceOf is how n answers with one secret are answered at one instant: one of
// them is taken. Codes are guesses, too, and so few that most are not looked
// at.
func onceOf(n int, no auth.Code) map[auth.Code]int {
	if no != auth.CodeFailed {
		return map[auth.Code]int{"": 1, no: n - 1}
	}
	return map[auth.Code]int{"": 1, auth.CodeFailed: 10, auth.TooMany: n - 11}
}

// withNotices has users told of every change, with a link that undoes it.
func withNotices(o *auth.Options) {
	o.Policy.Notices = map[notify.Kind]bool{}
	for _, k := range notify.Kinds() {
		o.Policy.Notices[k] = true
	}
	o.UndoURL = func(token string) string { return "https://auth.example/undo?token=" + token }
}

// undoToken is the secret in a notice.
func undoToken(t *testing.T, m authtest.Mail) string {
	t.Helper()
	for _, link := range m.Links {
		_, token, found := strings.Cut(link, "/undo?token=")
		if found {
			return token
		}
	}
	t.Fatalf("the mail %s to %s has no link that undoes: %q", m.Kind, m.To, m.Links)
	return ""
}

// identityOf is the id of a user's identity of a provider.
func identityOf(t *testing.T, h *authtest.House, id auth.UserID, provider string) auth.IdentityID {
	t.Helper()
	u := read(t, h, id)
	for _, i := range u.Identities {
		if i.Provider == provider {
			return i.ID
		}
	}
	t.Fatalf("no identity %q among %d", provider, len(u.Identities))
	return auth.IdentityID{}
}

// codeOf is what a client is told, nothing where nothing failed.
func codeOf(err error) auth.Code {
	if err == nil {
		return ""
	}
	return auth.CodeOf(err)
}
