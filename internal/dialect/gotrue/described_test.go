package gotrue_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
)

// open are the objects of answers whose keys are not ours.
var open = []string{"app_metadata", "user_metadata", "identity_data", "external", "external_labels", "traits"}

// spoilt returns an answer in all the ways that a mistake of ours could make
// it: without a field, with one too many, with another type; named by what is
// wrong.
func spoilt(at string, v any, put func(any) any, out map[string]any) {
	if v == nil {
		return
	}
	list, isList := v.([]any)
	m, isObject := v.(map[string]any)
	switch {
	case isObject:
		out[at+" as a text"] = put("x")
		if slices.Contains(open, at[strings.LastIndex(at, "/")+1:]) {
			return
		}
		more := maps.Clone(m)
		more["surprise"] = 1
		out[at+" and a field too many"] = put(more)
		for k, field := range m {
			if !mayMiss(k) {
				less := maps.Clone(m)
				delete(less, k)
				out[at+" without "+k] = put(less)
			}
			spoilt(at+"/"+k, field, func(x any) any {
				other := maps.Clone(m)
				other[k] = x
				return put(other)
			}, out)
		}
	case isList:
		out[at+" as an object"] = put(map[string]any{})
		for i := range list {
			spoilt(fmt.Sprintf("%s/%d", at, i), list[i], func(x any) any {
				other := slices.Clone(list)
				other[i] = x
				return put(other)
			}, out)
		}
	default:
		out[at+" as a list"] = put([]any{})
		out[at+" as null"] = put(nil)
	}
}

// mayMiss tells of a field that an answer may leave out.
func mayMiss(name string) bool {
	return strings.HasSuffix(name, "_at") && name != "created_at" && name != "updated_at" && name != "refreshed_at" && name != "expires_at" ||
		slices.Contains([]string{"email", "weak_password", "end_reason", "new_email", "message", "pagination", "actor_name", "traits"}, name)
}

// The check that every other test here relies on must be able to fail.
func TestDescription_tellsEveryMistakeOfAnAnswer(t *testing.T) {
	t.Parallel()
	h, d := newHouse(t, nil), description(t)
	id := h.newUser("anna@example.com").String()
	access, _ := h.signIn("anna@example.com")
	op := bearer(h.Policy().OperatorToken)
	auto := newHouse(t, func(s *setup) { s.policy.Autoconfirm = true })
	for name, c := range map[string]struct {
		h                    *house
		method, target, body string
		headers              []string
		spoils               int // at least so many ways
	}{
		"health":           {h, "GET", "/health", "", nil, 8},
		"settings":         {h, "GET", "/settings", "", nil, 25},
		"keys":             {h, "GET", "/.well-known/jwks.json", "", nil, 20},
		"a sign-in":        {h, "POST", login, `{"email":"anna@example.com","password":"correct horse"}`, nil, 60},
		"a sign-up":        {h, "POST", "/signup", `{"email":"new@example.com","password":"correct horse"}`, nil, 40},
		"the same at once": {auto, "POST", "/signup", `{"email":"new@example.com","password":"correct horse"}`, nil, 100},
		"the user":         {h, "GET", "/user", "", []string{bearer(access)}, 40},
		"sessions":         {h, "GET", "/sessions", "", []string{bearer(access)}, 30},
		"users":            {h, "GET", "/admin/users", "", []string{op}, 25},
		"by cursor":        {h, "GET", "/admin/users?limit=1", "", []string{op}, 25},
		"a link":           {h, "POST", "/admin/generate_link", `{"type":"recovery","email":"anna@example.com"}`, []string{op}, 50},
		"an error":         {h, "GET", "/user", "", nil, 9},
		"a newer one":      {h, "GET", "/user", "", []string{"X-Supabase-Api-Version: 2024-01-01"}, 6},
		"a weak password":  {h, "POST", "/signup", `{"email":"b@example.com","password":"x"}`, nil, 12},
		"a form's error":   {h, "POST", "/token", "grant_type=password", []string{"Content-Type: application/x-www-form-urlencoded"}, 6},
		"the trail":        {h, "GET", "/admin/audit?per_page=1", "", []string{op}, 20},
		"one user":         {h, "GET", "/admin/users/" + id, "", []string{op}, 40},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRequest(c.method, c.target, strings.NewReader(c.body), c.headers...)
			a := c.h.send(r)
			all := map[string]any{}
			var body any
			err := json.Unmarshal(a.Body.Bytes(), &body)
			if err != nil {
				t.Fatal(err)
			}
			spoilt("", body, func(x any) any { return x }, all)
			if len(all) < c.spoils {
				t.Fatalf("%d ways to spoil %s, want more", len(all), a.Body)
			}
			err = d.Answer(r, a.Code, a.Header(), a.Body.Bytes())
			if err != nil {
				t.Fatalf("the answer itself: %v", err)
			}
			for how, v := range all {
				b, err := json.Marshal(v)
				if err != nil {
					t.Fatal(err)
				}
				if d.Answer(r, a.Code, a.Header(), b) == nil {
					t.Errorf("%s is not told: %s", how, b)
				}
			}
			for _, status := range []int{http.StatusCreated, http.StatusPartialContent, http.StatusTeapot, http.StatusNotImplemented} {
				if d.Answer(r, status, a.Header(), a.Body.Bytes()) == nil {
					t.Errorf("the status %d is not told", status)
				}
			}
		})
	}
}
