package main

import (
	"net/http"
	"testing"
)

func TestNextPage_findsTheNextAndNothingElse(t *testing.T) {
	for _, tc := range []struct{ header, base, want string }{
		{`</admin/users?page=2&per_page=50>; rel="next", </admin/users?page=9&per_page=50>; rel="last"`, "", "/admin/users?page=2&per_page=50"},
		{`</admin/users?page=1>; rel="prev", </admin/users?page=3>; rel=next`, "", "/admin/users?page=3"},
		{`</users?after=a,b;c>; title="x"; REL="next"`, "", "/users?after=a,b;c"},
		{`<https://example.com/auth/v1/users?page=2>; rel="next"`, "/auth/v1", "/users?page=2"},
		{`</auth/v1/users?page=2>; rel="next"`, "/auth/v1", "/users?page=2"},
		{`</admin/users?page=9>; rel="last"`, "", ""},
		{`no bracket; rel="next"`, "", ""},
		{`>; rel="next"<`, "", ""},
		{"", "", ""},
	} {
		if got := nextPage(tc.header, tc.base); got != tc.want {
			t.Errorf("%s: got %q, want %q", tc.header, got, tc.want)
		}
	}
}

// newList returns a driver that may read the list of users of f.
func newList(t *testing.T, f *fake) *driver {
	t.Helper()
	d := newRun(t, f)
	d.operator, d.pages = []byte("operator"), fakePages
	return d
}

func TestPage_asksByNumberForPagesThatAreThere(t *testing.T) {
	f := newFake()
	r, err := newList(t, f).measure(t.Context(), "page", page, short)
	if err != nil || r.Errors != 0 || r.Ops < 4 {
		t.Fatalf("got %+v, %v, want pages and no errors", r, err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.calls["page"] < int(r.Ops) || f.calls["walk"]+f.calls["first"] != 0 {
		t.Errorf("got %v, want only numbered pages", f.calls)
	}
}

func TestWalk_followsTheLinksAndBeginsAnew(t *testing.T) {
	f := newFake()
	r, err := newList(t, f).measure(t.Context(), "walk", walk, 3*short)
	if err != nil || r.Errors != 0 {
		t.Fatalf("got %+v, %v, want no errors", r, err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.calls["page"] != 0 || f.calls["first"] < 8 {
		t.Errorf("got %v, want no numbered page, and each of four callers at the first more than once", f.calls)
	}
	// The walks that were under way at the end are short of their last pages.
	if got, most := f.calls["walk"], f.calls["first"]*(fakePages-1); got > most || got < most-4*fakePages {
		t.Errorf("got %d pages by link from %d first pages, want up to %d", got, f.calls["first"], most)
	}
}

func TestWalk_complainsOfALinkThatIsMissing(t *testing.T) {
	d := newList(t, newFake())
	d.pages = fakePages + 1
	r, err := d.measure(t.Context(), "walk", walk, 3*short)
	if err != nil || r.Errors == 0 {
		t.Errorf("got %+v, %v, want an error at the last page the server knows", r, err)
	}
}

func TestPage_complainsOfAShortPageAndOfARefusal(t *testing.T) {
	d := newList(t, newFake())
	d.pages = 100 * fakePages
	r, err := d.measure(t.Context(), "page", page, 3*short)
	if err == nil && r.Errors == 0 {
		t.Errorf("got %+v, want errors for pages that are empty", r)
	}
	f := newFake()
	f.veto = func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != "/admin/users" {
			return false
		}
		reply(w, 403, map[string]string{"msg": "not you"})
		return true
	}
	if r, err := newList(t, f).measure(t.Context(), "page", page, short); err == nil {
		t.Errorf("got %+v, want the refusal", r)
	}
}
