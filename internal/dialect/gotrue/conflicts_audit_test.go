package gotrue_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/auth"
	"gatehouse/internal/authtest"
)

// entry is one of the audit list.
type entry struct {
	ID      string         `json:"id"`
	IP      string         `json:"ip_address"`
	At      string         `json:"created_at"`
	Payload map[string]any `json:"payload"`
}

func (e entry) String() string {
	return fmt.Sprint(e.Payload["action"], " by ", e.Payload["actor_username"])
}

// audit reads a page of the audit list as the operator.
func (h *house) audit(query string) ([]entry, http.Header) {
	h.t.Helper()
	a := h.must(http.StatusOK, "GET", "/admin/audit"+query, "", "Authorization: Bearer "+authtest.Policy().OperatorToken)
	var list []entry
	err := json.Unmarshal(a.Body.Bytes(), &list)
	if err != nil {
		h.t.Fatal(err)
	}
	return list, a.Header()
}

// Netlify's payload has actor_email and timestamp, Supabase's actor_username,
// actor_via_sso and the address beside it: there is one with all of it.
func TestConflict_C39_theAuditListHasWhatBothFamiliesRead(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	id := h.newUser("anna@example.com").String()
	status(t, "a sign-in", h.do("POST", login, `{"email":"anna@example.com","password":"correct horse"}`), http.StatusOK)
	list, _ := h.audit("")
	if len(list) == 0 {
		t.Fatal("nothing happened")
	}
	e := list[0]
	want := map[string]any{
		"action": "login", "actor_id": id, "log_type": "account", "timestamp": e.At, "traits": map[string]any{"method": "password"},
		"actor_email": "anna@example.com", "actor_username": "anna@example.com", "actor_via_sso": false,
	}
	for key, v := range want {
		if fmt.Sprint(e.Payload[key]) != fmt.Sprint(v) {
			t.Errorf("%s is %v, want %v", key, e.Payload[key], v)
		}
	}
	if _, err := time.Parse(time.RFC3339, e.At); err != nil || e.IP == "" || len(e.ID) != 36 {
		t.Errorf("the entry is %+v", e)
	}
	h.must(http.StatusOK, "PUT", "/admin/users/"+id, `{"user_metadata":{"a":1}}`, "Authorization: Bearer "+h.serviceToken())
	list, _ = h.audit("")
	if p := list[0].Payload; p["actor_id"] != (auth.UserID{}).String() || p["actor_username"] != "service_role" || p["action"] != "user_modified" {
		t.Errorf("an administrator who is no user: %v", p)
	}
	for _, header := range []string{nf, sb} {
		a := h.do("GET", "/admin/audit", "", header)
		if a.Code != http.StatusUnauthorized {
			t.Errorf("without a token as %s: %d", header, a.Code)
		}
		in := h.do("POST", login, `{"email":"anna@example.com","password":"correct horse"}`)
		a = h.do("GET", "/admin/audit", "", header, "Authorization: Bearer "+in.text("access_token"))
		if a.Code != http.StatusForbidden && a.Code != http.StatusUnauthorized {
			t.Errorf("for a user who is no administrator as %s: %d", header, a.Code)
		}
	}
}

var nextPage = regexp.MustCompile(`<([^>]*)>; rel="next"`)

// A list that is followed by its links shows each event once, also when more
// happen meanwhile.
func TestAudit_followsItsLinksAndSearches(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	for _, email := range []string{"anna@example.com", "bob@example.com", "hanna@example.org"} {
		h.newUser(email)
		for range 4 {
			status(t, "a sign-in", h.do("POST", login, `{"email":"`+email+`","password":"correct horse"}`), http.StatusOK)
		}
	}
	all, header := h.audit("?per_page=1000")
	if header.Get("X-Total-Count") != strconv.Itoa(len(all)) || len(all) < 15 {
		t.Fatalf("%d events, and the total is %s", len(all), header.Get("X-Total-Count"))
	}
	var seen []string
	for at := "?per_page=4&query=type:account"; at != ""; {
		page, header := h.audit(at)
		for _, e := range page {
			seen = append(seen, e.ID)
			if e.Payload["log_type"] != "account" {
				t.Errorf("among those of an account is %v", e)
			}
		}
		status(t, "a sign-in", h.do("POST", login, `{"email":"bob@example.com","password":"correct horse"}`), http.StatusOK)
		if len(seen) > 100 {
			t.Fatal("it never ends")
		}
		at = ""
		if m := nextPage.FindStringSubmatch(header.Get("Link")); m != nil {
			if !strings.HasPrefix(m[1], "/admin/audit?page=") {
				t.Fatalf("the next page is %q", m[1])
			}
			at = strings.TrimPrefix(m[1], "/admin/audit")
		}
	}
	if slices.Sort(seen); len(slices.Compact(seen)) != 12 {
		t.Errorf("%d events were seen, want 12", len(seen))
	}
	for query, want := range map[string]int{
		"author:ANNA@example.com": 4, "author:anna": 8, "author:nobody": 0, "action:log": 12, "action:": len(all), "type:team": 3, "type:x": 0,
	} {
		page, _ := h.audit("?per_page=1000&query=" + query)
		n := len(page)
		if strings.HasPrefix(query, "a") && strings.Contains(query, "action") { // bob has signed in meanwhile
			n = 0
			for _, e := range page {
				if slices.ContainsFunc(all, func(a entry) bool { return a.ID == e.ID }) {
					n++
				}
			}
		}
		if n != want {
			t.Errorf("%s: %d events, want %d: %v", query, n, want, page)
		}
	}
	page, _ := h.audit("?page=3&per_page=5&query=author:example")
	first, _ := h.audit("?per_page=1000&query=author:example")
	if len(page) != 5 || page[0].ID != first[10].ID {
		t.Errorf("the third page of five is %v", page)
	}
	for _, query := range []string{"author", "actor:x", ":x", "query", strings.Repeat("a", 300), "author:%00"} {
		a := h.do("GET", "/admin/audit?query="+query, "", "Authorization: Bearer "+authtest.Policy().OperatorToken)
		status(t, "query "+query, a, http.StatusBadRequest)
	}
}

// An event outlives whom it names.
func TestAudit_whoIsGoneIsStillNamed(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	id := h.newUser("anna@example.com").String()
	h.must(http.StatusOK, "DELETE", "/admin/users/"+id, "", "Authorization: Bearer "+authtest.Policy().OperatorToken)
	list, _ := h.audit("?query=action:deleted")
	if len(list) != 1 || list[0].Payload["actor_username"] != "operator" {
		t.Fatalf("the deletion: %v", list)
	}
	if traits, _ := list[0].Payload["traits"].(map[string]any); traits["user_id"] != id || traits["user_email"] != nil {
		t.Errorf("whom it happened to: %v", traits)
	}
	list, _ = h.audit("")
	last := list[len(list)-1].Payload
	if last["actor_id"] == "" || last["action"] == "" {
		t.Errorf("the first event: %v", last)
	}
}
