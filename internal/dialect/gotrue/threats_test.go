package gotrue_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

// Each test here is a line of docs/threats.md: something that went wrong in
// another server. What they share is in links_test.go, guard_test.go and
// hostile_test.go.

func TestThreat_H01_mailLinksAreNotBuiltFromTheRequest(t *testing.T) {
	t.Parallel()
	linksAreNotBuiltFromTheRequest(t)
	linksOfNetlifyLeadToTheSiteAlone(t)
}

func TestThreat_H02_redirectTargetsAreComparedAsURLs(t *testing.T) {
	t.Parallel()
	linksLeadNowhereElse(t, elsewhere)
	verifySendsNobodyElsewhere(t, elsewhere)
}

func TestThreat_H03_noSchemeRunsAScript(t *testing.T) {
	t.Parallel()
	var scripts []string
	for _, scheme := range []string{"javascript", "data", "vbscript", "file", "blob", "intent", "view-source"} {
		for _, spelt := range []string{scheme, strings.ToUpper(scheme), strings.ToUpper(scheme[:1]) + scheme[1:], " " + scheme, "\x01" + scheme, scheme[:2] + "\n" + scheme[2:]} {
			scripts = append(scripts, spelt+":alert(1)")
		}
	}
	scripts = append(scripts, "javascript://site.example/%0aalert(1)", "JAVASCRIPT://preview.example.com/%0aalert(1)")
	linksLeadNowhereElse(t, scripts[:6])
	verifySendsNobodyElsewhere(t, scripts)
}

func TestThreat_H04_redirectToCannotAddParametersToALink(t *testing.T) {
	t.Parallel()
	redirectToAddsNoParameters(t)
}

func TestThreat_H05_tokensAreNeverInAQuery(t *testing.T) {
	t.Parallel()
	redirectsCarryTokensInTheFragmentAndMakeAGet(t)
	cookieIsAskedForAndNeverReadBack(t) // and none is read from one
}

func TestThreat_H06_nothingAnAttackerWroteIsShown(t *testing.T) {
	t.Parallel()
	redirectsSayNothingAnAttackerWrote(t)
	pageEscapesWhatItsAddressHolds(t)
}

func TestThreat_H07_scannersThatFollowLinksSpendNothing(t *testing.T) {
	t.Parallel()
	opensSpendNothing(t)
	directLinksAreSpentByAClickAlone(t)
}

func TestThreat_H08_theAnswerToASecretIsA303(t *testing.T) {
	t.Parallel()
	redirectsCarryTokensInTheFragmentAndMakeAGet(t)
}

func TestThreat_H09_pathsAreReadOnce(t *testing.T) {
	t.Parallel()
	oddPathsReachNothingElse(t)
}

func TestThreat_Q01_textIsNeverSQL(t *testing.T) {
	t.Parallel()
	h := newHouse(t, func(s *setup) { s.limits = false })
	op := bearer(h.Policy().OperatorToken)
	h.newUser("anna@example.com")
	h.newUser("o'hara@example.com")
	for _, evil := range []string{`' OR '1'='1`, `" OR "1"="1`, `'; DROP TABLE users; --`, `\' OR 1=1 --`, `$1 OR 1=1`, `?1`, `:id`, `-1) OR (1=1`, "\x00' OR 1=1 --", strings.Repeat("'", 101)} {
		for _, path := range []string{"/admin/users?filter=", "/admin/users?sort=", "/admin/users?page=", "/admin/users?sort=created_at%20"} {
			a := h.do("GET", path+url.QueryEscape(evil), "", op)
			users, _ := a.JSON["users"].([]any)
			if a.Code >= 500 || a.Code == http.StatusOK && len(users) > 0 {
				t.Errorf("GET %s with %q = %d %s", path, evil, a.Code, a.Body)
			}
		}
		if a := h.do("GET", "/admin/users", "", op, "X-JWT-AUD: "+strings.ReplaceAll(evil, "\x00", "")); a.Code >= 500 || strings.Contains(a.Body.String(), "anna@") {
			t.Errorf("GET /admin/users of the audience %q = %d %s", evil, a.Code, a.Body)
		}
		for _, body := range []string{
			fmt.Sprintf(`{"email":%q,"password":"correct horse"}`, "anna@example.com"+strings.ToValidUTF8(strings.ReplaceAll(evil, "\x00", "\\u0000"), "")),
			fmt.Sprintf(`{"email":"anna@example.com","password":%q}`, strings.ReplaceAll(evil, "\x00", "")),
		} {
			refused(t, "a sign-in with "+body, h.do("POST", "/token?grant_type=password", body), 0)
		}
		if a := h.do("GET", "/admin/users/"+url.PathEscape(evil), "", op); a.Code != http.StatusNotFound && a.Code != http.StatusBadRequest {
			t.Errorf("GET /admin/users/%q = %d %s", evil, a.Code, a.Body)
		}
	}
	if got := h.Count(t); got != 2 {
		t.Fatalf("there are %d users, want 2", got)
	}
	a := h.must(http.StatusOK, "POST", "/token?grant_type=password", `{"email":"O'Hara@example.com","password":"correct horse"}`)
	if !strings.Contains(a.Body.String(), `"email":"o'hara@example.com"`) {
		t.Errorf("o'hara signs in as %s", a.Body)
	}
}

func TestThreat_Q02_badTextIsRefusedAsBadText(t *testing.T) {
	t.Parallel()
	h := newHouse(t, func(s *setup) { s.limits = false })
	id := h.newUser("anna@example.com").String()
	for _, r := range routes {
		path, headers := h.call(r, id)
		for _, name := range []string{"a NUL", "a NUL after all", "broken UTF-8", "an overlong slash", "UTF-16"} {
			refused(t, r.path+": "+name, h.do(r.method, path, hostile[name], headers...), http.StatusBadRequest)
		}
	}
	for _, q := range []string{"%00", "%ff%fe", "a%00b"} {
		for _, path := range []string{"/admin/users?filter=", "/admin/users?sort=", "/verify?type=magiclink&token=", "/verify?type=magiclink&token=x&redirect_to=", "/admin/users/"} {
			if a := h.do("GET", path+q, "", bearer(h.Policy().OperatorToken)); a.Code >= 500 {
				t.Errorf("GET %s%s = %d %s", path, q, a.Code, a.Body)
			}
		}
	}
	a := h.form("/token", form("grant_type", "password", "username", "anna@example.com\x00", "password", "correct horse"))
	if a.Code != http.StatusBadRequest {
		t.Errorf("a form with NUL = %d %s", a.Code, a.Body)
	}
}

func TestThreat_Q03_theLogIsNotForged(t *testing.T) {
	t.Parallel()
	logIsNotForged(t)
}

func TestThreat_Q05_mailsHoldNoHTMLOfUsers(t *testing.T) {
	t.Parallel()
	h := newHouse(t, func(s *setup) { s.limits = false })
	const evil = `<a href=https://evil.example>click</a>`
	op := bearer(h.Policy().OperatorToken)
	for _, local := range []string{"a&b", "a'b", "a`b", "{b}", "a=b"} {
		email := local + "@example.com"
		h.must(http.StatusOK, "POST", "/invite", fmt.Sprintf(`{"email":%q,"data":{"full_name":%q,"name":%q}}`, email, evil, evil), op)
		h.Clock.Advance(2 * time.Minute)
		h.must(http.StatusOK, "POST", "/resend", fmt.Sprintf(`{"type":"signup","email":%q}`, email))
		h.Clock.Advance(2 * time.Minute)
		h.must(http.StatusOK, "POST", "/recover", fmt.Sprintf(`{"email":%q}`, email))
		if got := len(h.Mails(t, email)); got != 3 {
			t.Fatalf("%s got %d mails, want 3", email, got)
		}
	}
	for _, m := range h.Inbox.Messages() {
		_, tags := inputs(m.HTML)
		if strings.Contains(m.HTML, "evil.example") || strings.Contains(m.Text, "evil.example") || tags["script"] > 0 || strings.Contains(m.HTML, "a&b@") {
			t.Errorf("the mail to %s holds what a user wrote:\n%s", m.To, m.HTML)
		}
	}
	for _, email := range []string{`"<b>x</b>"@example.com`, `<b>@example.com`, `a@<b>.example.com`, `Eve <a@example.com>`, `a@example.com, b@example.com`, "a@example.com\r\nBcc: b@example.com"} {
		refused(t, "an invitation to "+email, h.do("POST", "/invite", fmt.Sprintf(`{"email":%q}`, email), op), http.StatusBadRequest)
	}
}

func TestThreat_Q06_aFormOfAnotherSiteSignsNobodyIn(t *testing.T) {
	t.Parallel()
	formsSignNoBrowserIn(t)
}

func TestThreat_Q07_aFilterIsPlainText(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	h.newUser("a_b%c@example.com")
	h.newUser("aXbYc@example.com")
	op := bearer(h.Policy().OperatorToken)
	for filter, want := range map[string]int{
		"": 2, "example.com": 2, "EXAMPLE": 2, "a_b": 1, "b%c": 1, "a%c": 0, "%": 1, "_": 1, "a!_b": 0, "!": 0, "*": 0, "a?b": 0, "[a-z]": 0, `\`: 0, `a\_b`: 0, ")(": 0,
	} {
		a := h.must(http.StatusOK, "GET", "/admin/users?filter="+url.QueryEscape(filter), "", op)
		if users, _ := a.JSON["users"].([]any); len(users) != want {
			t.Errorf("the filter %q finds %d users, want %d", filter, len(users), want)
		}
	}
	refused(t, "a filter of 60,000 bytes", h.do("GET", "/admin/users?filter="+strings.Repeat("%25", 20_000), "", op), http.StatusBadRequest)
}

func TestThreat_X01_onlyTheSiteMaySendCredentials(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	for _, origin := range []string{
		"https://evil.example", "https://site.example.evil.example", "https://evilsite.example", "http://site.example", "https://site.example:8443", "null", "https://SITE.example", site + "/",
	} {
		for _, method := range []string{"OPTIONS", "GET"} {
			a := h.do(method, "/user", "", "Origin: "+origin, "Access-Control-Request-Method: GET")
			if got := a.Header().Get("Access-Control-Allow-Origin"); got != "*" || a.Header().Get("Access-Control-Allow-Credentials") != "" {
				t.Errorf("%s from %s allows %q with credentials %q, want * and none", method, origin, got, a.Header().Get("Access-Control-Allow-Credentials"))
			}
			if !slices.Contains(a.Header().Values("Vary"), "Origin") {
				t.Errorf("%s from %s does not vary by origin: a cache would hand one site's answer to another", method, origin)
			}
		}
	}
	if a := h.do("GET", "/user", "", "Origin: "+site); a.Header().Get("Access-Control-Allow-Origin") != site || a.Header().Get("Access-Control-Allow-Credentials") != "true" {
		t.Errorf("the site itself gets %v", a.Header())
	}
}

func TestThreat_X02_aFormOfAnotherSiteIsRefused(t *testing.T) {
	t.Parallel()
	formOfAnotherSiteIsRefused(t)
}

func TestThreat_X04_thePageIsNotFramed(t *testing.T) {
	t.Parallel()
	pageIsGuarded(t)
}

func TestThreat_X05_noCacheKeepsAToken(t *testing.T) {
	t.Parallel()
	h := newHouse(t, func(s *setup) { s.policy.Autoconfirm, s.edge.DirectLinks = true, true })
	h.newUser("anna@example.com")
	access, refresh := h.signIn("anna@example.com")
	for name, a := range map[string]answer{
		"signup":   h.do("POST", "/signup", `{"email":"new@example.com","password":"correct horse"}`),
		"password": h.do("POST", "/token?grant_type=password", `{"email":"anna@example.com","password":"correct horse"}`),
		"refresh":  h.do("POST", "/token?grant_type=refresh_token", `{"refresh_token":"`+refresh+`"}`),
		"user":     h.do("GET", "/user", "", bearer(access)),
		"error":    h.do("GET", "/user", ""),
		"admin":    h.do("GET", "/admin/users", "", bearer(h.Policy().OperatorToken)),
		"make":     h.do("POST", "/admin/generate_link", `{"type":"recovery","email":"anna@example.com"}`, bearer(h.Policy().OperatorToken)),
		"link":     h.do("GET", "/verify?type=magiclink&token="+h.magicLink("bob@example.com").Token, ""),
	} {
		if got := a.Header().Get("Cache-Control"); got != "no-store" {
			t.Errorf("%s (%d) is answered with Cache-Control %q, want no-store", name, a.Code, got)
		}
	}
}

func TestThreat_X06_theCookieHasItsFlags(t *testing.T) {
	t.Parallel()
	cookieIsAskedForAndNeverReadBack(t)
}

func TestThreat_J17_malformedAuthorizationIsRefused(t *testing.T) {
	t.Parallel()
	malformedBearersAreRefused(t)
}

// A path element that follows the call, and one that a cache would keep, are no
// way to another answer (cache deception).
func TestThreat_X05_noPathLooksLikeAFile(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	h.newUser("anna@example.com")
	access, _ := h.signIn("anna@example.com")
	for _, path := range []string{"/user/a.css", "/user;a.css", "/user%2fa.css", "/user.json", "/user/", "/user%00.css"} {
		if a := h.do("GET", path, "", bearer(access)); a.Code == http.StatusOK {
			t.Errorf("GET %s = 200 %s", path, a.Body)
		}
	}
}

// A link is only as good as the time it was made for.
func TestThreat_H07_oldLinksSayNothing(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	m := h.magicLink("anna@example.com")
	h.Clock.Advance(time.Hour + time.Second)
	a := h.do("GET", strings.TrimPrefix(m.Link, external), "")
	if a.Code != http.StatusSeeOther || !strings.Contains(a.Header().Get("Location"), "error_code=otp_expired") || strings.Contains(a.Body.String(), "anna") {
		t.Errorf("an old link opens %d %s %s", a.Code, a.Header().Get("Location"), a.Body)
	}
}
