package main

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// emails are those of a list of users, in its order.
func emails(a answer) string {
	var all []string
	list, _ := a.at("users").([]any)
	for _, u := range list {
		m, _ := u.(object)
		all = append(all, strings.TrimSuffix(fmt.Sprint(m["email"]), "@example.com"))
	}
	return strings.Join(all, " ")
}

// Mission: U05, U11, U13, U16
func TestAdmin_looksAfterUsers(t *testing.T) {
	t.Parallel()
	onEngines(t, func(t *testing.T, d database) {
		s := start(t, d.settings()...)
		for _, name := range []string{"a", "b", "c", "d", "e"} {
			s.person(name + "@example.com")
		}
		list := func(query string) answer {
			t.Helper()
			return s.do(200, "GET", "/admin/users?"+query, nil, bearer(operator))
		}
		for query, want := range map[string]string{
			"":                              "e d c b a",
			"page=1&per_page=2":             "e d",
			"page=3&per_page=2":             "a",
			"page=4&per_page=2":             "",
			"sort=email+asc":                "a b c d e",
			"sort=email+desc&per_page=2":    "e d",
			"sort=created_at+asc":           "a b c d e",
			"filter=c@ex":                   "c",
			"filter=%25":                    "",
			"page=&per_page=":               "e d c b a",
			"sort=email+asc&filter=example": "a b c d e",
		} {
			if got := emails(list(query)); got != want {
				t.Errorf("%s: got %q, want %q", query, got, want)
			}
		}
		page := list("page=2&per_page=2")
		if got := page.header.Get("X-Total-Count"); got != "5" {
			t.Errorf("X-Total-Count is %q", got)
		}
		link := page.header.Get("Link")
		for _, want := range []string{`?page=1&per_page=2>; rel="prev"`, `rel="last"`} {
			if !strings.Contains(link, want) {
				t.Errorf("the Link header %q has no %q", link, want)
			}
		}
		next := regexp.MustCompile(`</admin/users\?(page=3&per_page=2&after=[^>]+)>; rel="next"`).FindStringSubmatch(link)
		if next == nil {
			t.Errorf("the Link header %q names no next page", link)
		} else if got := emails(list(next[1])); got != "a" {
			t.Errorf("on the next page is %q, want \"a\"", got)
		}
		for _, query := range []string{"page=0", "page=x", "sort=password+asc", "sort=email+sideways", "per_page=-1"} {
			s.do(400, "GET", "/admin/users?"+query, nil, bearer(operator))
		}

		// One of them.
		a := s.do(200, "POST", "/admin/users", object{
			"email": "f@example.com", "password": password, "email_confirm": true, "user_metadata": object{"text": "é", "number": 12345678901, "flag": true},
			"app_metadata": object{"plan": "pro"},
		}, bearer(operator))
		id := a.text("id")
		if !regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`).MatchString(id) {
			t.Errorf("the id is %q", id)
		}
		in := s.signIn("f@example.com", password)
		a = s.do(200, "GET", "/admin/users/"+id, nil, bearer(operator))
		if !strings.Contains(a.body, `"number":12345678901`) || a.text("user_metadata", "text") != "é" || a.at("user_metadata", "flag") != true ||
			a.text("app_metadata", "plan") != "pro" || a.text("app_metadata", "provider") != "email" {
			t.Errorf("the user is %s", a.body)
		}
		s.do(422, "POST", "/admin/users", object{"email": "F@example.com"}, bearer(operator))
		a = s.do(200, "PUT", "/admin/users/"+id, object{"email": "g@example.com", "user_metadata": object{"flag": nil}}, bearer(operator))
		if meta, _ := a.at("user_metadata").(object); a.text("email") != "g@example.com" || meta["text"] != "é" || len(meta) != 2 {
			t.Errorf("after a change the user is %s", a.body)
		}
		s.signIn("g@example.com", password)

		// Gone is gone, with all that hung on it.
		s.do(200, "DELETE", "/admin/users/"+id, nil, bearer(operator))
		s.do(404, "GET", "/admin/users/"+id, nil, bearer(operator))
		s.do(404, "DELETE", "/admin/users/"+id, nil, bearer(operator))
		s.do(403, "GET", "/user", nil, bearer(in.text("access_token")))
		s.refresh(400, in.text("refresh_token"))
		s.refuseSignIn(400, "g@example.com", password)
		for _, table := range []string{"sessions", "identities", "challenges"} {
			if got := s.sql(`SELECT count(*) FROM ` + table + ` WHERE user_id NOT IN (SELECT id FROM users)`); got != "0" {
				t.Errorf("%s rows of %s are left", got, table)
			}
		}
		if got := s.sql(`SELECT count(*) FROM credentials`); got != "5" {
			t.Errorf("there are %s credentials, want 5", got)
		}
		s.do(200, "POST", "/signup", object{"email": "g@example.com", "password": "another password"})
	})
}

// Mission: U03, U04
func TestUser_mergesAndRemovesData(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.person("ada@example.com")
	access := s.signIn("ada@example.com", password).text("access_token")
	for _, step := range []struct {
		put  object
		want string
	}{
		{object{"a": "x", "b": 1, "c": true}, `{"a":"x","b":1,"c":true}`},
		{object{"b": 2.5}, `{"a":"x","b":2.5,"c":true}`},
		{object{"a": nil, "d": "new", "never": nil}, `{"b":2.5,"c":true,"d":"new"}`},
		{object{}, `{"b":2.5,"c":true,"d":"new"}`},
	} {
		s.do(200, "PUT", "/user", object{"data": step.put}, bearer(access))
		a := s.do(200, "GET", "/user", nil, bearer(access))
		if !strings.Contains(a.body, `"user_metadata":`+step.want) {
			t.Errorf("after %v the user is %s, want the metadata %s", step.put, a.body, step.want)
		}
	}
	s.do(400, "PUT", "/user", `{"data":"text"}`, bearer(access))
}

// A ban ends sessions at once and keeps new ones from opening, by every way
// in, until it is over or lifted.
func TestAdmin_aBanHoldsAtOnce(t *testing.T) {
	t.Parallel()
	onEngines(t, func(t *testing.T, d database) {
		s := start(t, d.settings("GOTRUE_SMTP_MAX_FREQUENCY=0s")...)
		id := s.person("ada@example.com")
		in := s.signIn("ada@example.com", password)
		s.do(200, "POST", "/otp", object{"email": "ada@example.com"})
		code := s.mail("ada@example.com", 1).Code
		s.do(401, "PUT", "/admin/users/"+id, object{"ban_duration": "24h"})
		s.do(403, "PUT", "/admin/users/"+id, object{"ban_duration": "24h"}, bearer(in.text("access_token")))
		s.do(400, "PUT", "/admin/users/"+id, object{"ban_duration": "for ever"}, bearer(operator))
		a := s.do(200, "PUT", "/admin/users/"+id, object{"ban_duration": "24h"}, bearer(operator))
		if a.text("banned_until") == "" {
			t.Errorf("the banned user is %s", a.body)
		}
		s.do(403, "GET", "/user", nil, bearer(in.text("access_token")))
		s.refresh(400, in.text("refresh_token"))
		if a := s.refuseSignIn(400, "ada@example.com", password); a.text("error_code") != "user_banned" {
			t.Errorf("the banned user is told %s", a.body)
		}
		// Only who knows the password is told.
		if a := s.refuseSignIn(400, "ada@example.com", "wrong"); a.text("error_code") != "invalid_credentials" {
			t.Errorf("a stranger is told %s", a.body)
		}
		s.do(403, "POST", "/verify", object{"type": "email", "email": "ada@example.com", "token": code})
		s.do(200, "PUT", "/admin/users/"+id, object{"ban_duration": "none"}, bearer(operator))
		s.signIn("ada@example.com", password)
		s.refresh(400, in.text("refresh_token")) // what has ended stays ended
	})
}

// Mission: C12
func TestErrors_haveTheShapeOfWhoAsks(t *testing.T) {
	t.Parallel()
	s := start(t)
	body := object{"email": "ada@example.com", "password": "abc"}
	a := s.do(422, "POST", "/signup", body)
	if a.at("code") != 422.0 || a.text("error_code") != "weak_password" || a.text("msg") == "" {
		t.Errorf("by default: %s", a.body)
	}
	a = s.do(422, "POST", "/.netlify/identity/signup", body)
	if a.at("code") != 422.0 || a.text("msg") == "" {
		t.Errorf("to Netlify's clients: %s", a.body)
	}
	a = s.do(422, "POST", "/signup", body, "X-Supabase-Api-Version: 2024-01-01")
	if a.text("code") != "weak_password" || a.text("message") == "" || a.header.Get("X-Supabase-Api-Version") != "2024-01-01" {
		t.Errorf("to newer clients of Supabase: %s", a.body)
	}
	form, err := s.ask("POST", "/.netlify/identity/token", "grant_type=password&username=x@example.com&password=y", "Content-Type: application/x-www-form-urlencoded")
	if err != nil || form.status != 400 || form.text("error") != "invalid_grant" || form.text("error_description") == "" {
		t.Errorf("to a form: %d %s", form.status, form.body)
	}
}
