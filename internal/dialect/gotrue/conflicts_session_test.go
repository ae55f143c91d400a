package gotrue_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"
)

func TestConflict_C19_theAudienceHeaderHoldsForBoth(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	h.newUser("anna@example.com")
	access, _ := h.signIn("anna@example.com")
	for aud, want := range map[string]int{"authenticated": http.StatusOK, "other": http.StatusBadRequest} {
		netlify, supabase := h.both("GET", "/user", "", bearer(access), "X-JWT-AUD: "+aud)
		status(t, "Netlify, "+aud, netlify, want)
		status(t, "Supabase, "+aud, supabase, want)
	}
}

func TestConflict_C20_badTokensHaveEachFamilysStatus(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	netlify, supabase := h.both("GET", "/user", "", "Authorization: Bearer rubbish")
	status(t, "Netlify", netlify, http.StatusUnauthorized)
	status(t, "Supabase", supabase, http.StatusForbidden)
	if got := netlify.Header().Get("Set-Cookie"); !strings.HasPrefix(got, "nf_jwt=;") {
		t.Errorf("Netlify's cookie is not taken away: %q", got)
	}
	netlify, supabase = h.both("GET", "/user", "")
	status(t, "Netlify, none", netlify, http.StatusUnauthorized)
	status(t, "Supabase, none", supabase, http.StatusUnauthorized)
}

func TestConflict_C21_aSignOutHoldsAtOnce(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	h.newUser("anna@example.com")
	for _, header := range []string{nf, sb} {
		access, _ := h.signIn("anna@example.com")
		h.must(http.StatusNoContent, "POST", "/logout", "", bearer(access), header)
		says(t, header, h.do("GET", "/user", "", bearer(access), header), "error_code", "session_not_found")
	}
}

func TestConflict_C22_refreshKeepsToTheStricterRule(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	h.newUser("anna@example.com")
	_, first := h.signIn("anna@example.com")
	second := h.must(http.StatusOK, "POST", refresh, `{"refresh_token":"`+first+`"}`).text("refresh_token")
	again := h.form("/token", form("grant_type", "refresh_token", "refresh_token", first))
	if again.Code != http.StatusOK || again.text("refresh_token") != second {
		t.Errorf("an answer that got lost is not given again: %d %s", again.Code, again.Body)
	}
	tradedThrice(h, "", "", second)
	says(t, "a token from long ago", h.do("POST", refresh, `{"refresh_token":"`+first+`"}`), "error_code", "refresh_token_already_used")
	says(t, "its family", h.do("POST", refresh, `{"refresh_token":"`+second+`"}`), "error_code", "refresh_token_not_found")
}

func TestConflict_C23_howLongASessionLastsIsASetting(t *testing.T) {
	t.Parallel()
	for limit, want := range map[time.Duration]int{0: http.StatusOK, 30 * 24 * time.Hour: http.StatusBadRequest} {
		h := newHouse(t, func(s *setup) { s.policy.SessionInactivity = limit })
		h.newUser("anna@example.com")
		_, token := h.signIn("anna@example.com")
		h.Clock.Advance(31 * 24 * time.Hour)
		status(t, fmt.Sprintf("a refresh after 31 days, limit %s", limit), h.do("POST", refresh, `{"refresh_token":"`+token+`"}`), want)
	}
}

func TestConflict_C24_aCookieIsSetForWhoAsks(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	h.newUser("anna@example.com")
	body := `{"email":"anna@example.com","password":"correct horse"}`
	if got := h.do("POST", login, body, "X-Use-Cookie: 1").Header().Get("Set-Cookie"); !strings.HasPrefix(got, "nf_jwt=ey") {
		t.Errorf("X-Use-Cookie sets %q", got)
	}
	if got := h.do("POST", login, body).Header().Get("Set-Cookie"); got != "" {
		t.Errorf("nobody asked, and %q is set", got)
	}
}

func TestConflict_C25_recoveryTellsNobodyWhoIsThere(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	h.newUser("anna@example.com")
	netlify, supabase := h.both("POST", "/recover", `{}`)
	status(t, "Netlify, nobody", netlify, http.StatusUnprocessableEntity)
	status(t, "Supabase, nobody", supabase, http.StatusBadRequest)
	for _, email := range []string{"anna@example.com", "nobody@example.com"} {
		for i, want := range []int{http.StatusOK, http.StatusTooManyRequests} {
			status(t, fmt.Sprintf("%s, request %d", email, i+1), h.do("POST", "/recover", `{"email":"`+email+`"}`), want)
		}
	}
}

func TestConflict_C26_adminsMakeUsersInTheWordsOfBoth(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	op := bearer(h.Policy().OperatorToken)
	for i, word := range []string{"confirm", "email_confirm"} {
		email := fmt.Sprintf("a%d@example.com", i)
		a := h.must(http.StatusOK, "POST", "/admin/users", fmt.Sprintf(`{"email":%q,"password":"correct horse",%q:true,"role":"editor","app_metadata":{"plan":"gold"}}`, email, word), op)
		has(t, word, a, "confirmed_at", "email_confirmed_at", "app_metadata.plan")
		says(t, word, a, "role", "editor")
		h.signIn(email)
	}
	h.must(http.StatusOK, "POST", "/admin/users", `{"email":"b@example.com"}`, op) // a password is not needed
}

func TestConflict_C27_anIdThatIsNone(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	netlify, supabase := h.both("GET", "/admin/users/nonsense", "", bearer(h.Policy().OperatorToken))
	for name, a := range map[string]answer{"Netlify": netlify, "Supabase": supabase} {
		status(t, name, a, http.StatusNotFound)
		says(t, name, a, "error_code", "validation_failed")
	}
}

func TestConflict_C28_listsOfUsersArePagedForBoth(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	for _, email := range []string{"a@example.com", "b@example.com", "c@example.com"} {
		h.newUser(email)
	}
	a := h.must(http.StatusOK, "GET", "/admin/users?page=2&per_page=1", "", bearer(h.Policy().OperatorToken))
	users, _ := a.JSON["users"].([]any)
	if len(users) != 1 || a.text("aud") == "" || a.Header().Get("X-Total-Count") != "3" {
		t.Fatalf("the page is %s with %v", a.Body, a.Header())
	}
	if u, _ := users[0].(map[string]any); u["identities"] != nil {
		t.Errorf("identities are %v, want null as Supabase's lists have it", u["identities"])
	}
	link := a.Header().Get("Link")
	for _, rel := range []string{"next", "prev", "last"} {
		if !regexp.MustCompile(`<[^>?]+\?page=\d[^>]*>; rel="` + rel + `"(, |$)`).MatchString(link) {
			t.Errorf("no rel=%q with page as first key in %s", rel, link)
		}
	}
}

func TestConflict_C29_aDeletionMayHaveABody(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]int{"": http.StatusNotFound, "{}": http.StatusNotFound, `{"should_soft_delete":false}`: http.StatusNotFound, `{"should_soft_delete":true}`: http.StatusOK} {
		h := newHouse(t, nil)
		id, op := h.newUser("anna@example.com").String(), bearer(h.Policy().OperatorToken)
		h.must(http.StatusOK, "DELETE", "/admin/users/"+id, body, op)
		status(t, "the user after "+body, h.do("GET", "/admin/users/"+id, "", op), want)
	}
}

// Chosen: Netlify's side. user_metadata is what a client sent and nothing
// else: copies of the address there would come back with the next PUT /user of a
// client that sends all it has read, and then be data that nobody keeps true.
// They are in identity_data, where Supabase's clients also look.
func TestConflict_C36_userMetadataHoldsWhatWasSent(t *testing.T) {
	t.Parallel()
	h := newHouse(t, func(s *setup) { s.policy.Autoconfirm = true })
	for i, header := range []string{nf, sb} {
		a := h.must(http.StatusOK, "POST", "/signup", fmt.Sprintf(`{"email":"a%d@example.com","password":"correct horse","data":{"name":"Anna"}}`, i), header)
		var u struct {
			UserMetadata map[string]any `json:"user_metadata"`
			Identities   []struct {
				Data map[string]any `json:"identity_data"`
			}
		}
		err := json.Unmarshal(a.Body.Bytes(), &u)
		if err != nil {
			t.Fatal(err)
		}
		if len(u.UserMetadata) != 1 || u.UserMetadata["name"] != "Anna" {
			t.Errorf("%s: user_metadata is %v, want the name alone", header, u.UserMetadata)
		}
		if d := u.Identities[0].Data; d["sub"] == nil || d["email"] == nil || d["email_verified"] != true || d["phone_verified"] != false {
			t.Errorf("%s: identity_data is %v", header, d)
		}
	}
	a := h.must(http.StatusOK, "POST", "/signup", `{"email":"c@example.com","password":"correct horse"}`, nf)
	if got, ok := a.JSON["user_metadata"].(map[string]any); !ok || len(got) > 0 {
		t.Errorf("user_metadata of nobody's making is %v, want {}: clients of both read keys of it", a.JSON["user_metadata"])
	}
}

func TestConflict_C41_preflightsAllowTheHeadersOfBoth(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	names := []string{"apikey", "X-Client-Info", "X-Supabase-Api-Version", "X-Nf-Client", "X-JWT-AUD", "X-Use-Cookie", "Authorization", "Content-Type"}
	for _, path := range []string{"/token", "/auth/v1/user", "/.netlify/identity/signup", "/sessions"} {
		a := h.do("OPTIONS", path, "", "Origin: "+site, "Access-Control-Request-Method: PUT", "Access-Control-Request-Headers: "+strings.ToLower(strings.Join(names, ",")))
		allowed := strings.ToLower(a.Header().Get("Access-Control-Allow-Headers"))
		for _, name := range names {
			if !strings.Contains(allowed, strings.ToLower(name)) {
				t.Errorf("%s: %s is not among the allowed headers %q", path, name, allowed)
			}
		}
		for _, method := range []string{"GET", "POST", "PUT", "PATCH", "DELETE"} {
			if !strings.Contains(a.Header().Get("Access-Control-Allow-Methods"), method) {
				t.Errorf("%s: %s is not among the allowed methods %q", path, method, a.Header().Get("Access-Control-Allow-Methods"))
			}
		}
	}
	a := h.do("GET", "/admin/users", "", "Origin: "+site, bearer(h.Policy().OperatorToken))
	exposed := strings.ToLower(a.Header().Get("Access-Control-Expose-Headers"))
	for _, name := range []string{"x-total-count", "link", "x-supabase-api-version"} {
		if !strings.Contains(exposed, name) {
			t.Errorf("%s is not among the exposed headers %q", name, exposed)
		}
	}
}
