package gotrue_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"gatehouse/internal/dialecttest"
	"gatehouse/internal/web"
)

// elsewhere are targets no user may be sent to with their tokens.
var elsewhere = []string{
	"https://evil.example/",
	"https://site.example.evil.example/",
	"https://site.example@evil.example/",
	"https://evil.example#https://site.example",
	"https://evil.example?https://site.example",
	`https://evil.example\@site.example/`,
	"https:evil.example",
	"//evil.example/",
	`/\evil.example`,
	"http://site.example/",
	"https://site.example:8443/",
	"https://preview.example.com.evil.example/x",
	"https://preview.example.com/../../x",
	"https://preview.example.com/%2e%2e/x",
	"https://sub.site.example/",
	"http://127.0.0.1:3000/",
	"javascript:alert(document.domain)",
	"JaVaScRiPt://site.example/%0aalert(1)",
	"data:text/html,<script>alert(1)</script>",
	"vbscript:x",
	"\tjavascript:alert(1)",
	"https://site.example\r\nX-Injected: 1",
	"https://site.example\x00.evil.example/",
	"com.example.app.evil://callback/x",
	"/relative",
	"*",
}

// mailFlows are the calls that mail a link, or make one, each for an address
// that has none yet.
var mailFlows = map[string]func(h *house, email, query string, headers ...string) (link string){
	"signup": func(h *house, email, query string, headers ...string) string {
		h.must(http.StatusOK, "POST", "/signup"+query, `{"email":"`+email+`","password":"correct horse"}`, headers...)
		return h.lastMail(email).Link
	},
	"resend": func(h *house, email, query string, headers ...string) string {
		h.must(http.StatusOK, "POST", "/signup", `{"email":"`+email+`","password":"correct horse"}`)
		h.Clock.Advance(2 * time.Minute)
		h.must(http.StatusOK, "POST", "/resend"+query, `{"type":"signup","email":"`+email+`"}`, headers...)
		return h.lastMail(email).Link
	},
	"otp": func(h *house, email, query string, headers ...string) string {
		h.must(http.StatusOK, "POST", "/otp"+query, `{"email":"`+email+`"}`, headers...)
		return h.lastMail(email).Link
	},
	"magiclink": func(h *house, email, query string, headers ...string) string {
		h.newUser(email)
		h.must(http.StatusOK, "POST", "/magiclink"+query, `{"email":"`+email+`"}`, headers...)
		return h.lastMail(email).Link
	},
	"recover": func(h *house, email, query string, headers ...string) string {
		h.newUser(email)
		h.must(http.StatusOK, "POST", "/recover"+query, `{"email":"`+email+`"}`, headers...)
		return h.lastMail(email).Link
	},
	"invite": func(h *house, email, query string, headers ...string) string {
		h.must(http.StatusOK, "POST", "/invite"+query, `{"email":"`+email+`"}`, append(headers, bearer(h.Policy().OperatorToken))...)
		return h.lastMail(email).Link
	},
	"email change": func(h *house, email, query string, headers ...string) string {
		h.newUser(email)
		access, _ := h.signIn(email)
		h.must(http.StatusOK, "PUT", "/user"+query, `{"email":"next.`+email+`"}`, append(headers, bearer(access))...)
		return h.lastMail("next." + email).Link
	},
	"generate_link": func(h *house, email, query string, headers ...string) string {
		h.newUser(email)
		a := h.must(http.StatusOK, "POST", "/admin/generate_link"+query, `{"type":"recovery","email":"`+email+`"}`, append(headers, bearer(h.Policy().OperatorToken))...)
		return a.text("action_link")
	},
}

// parsed reads a link of ours: it has one token, one type and one redirect_to.
func parsed(t *testing.T, link string) *url.URL {
	t.Helper()
	u, err := url.Parse(link)
	if err != nil {
		t.Fatalf("the link %q: %v", link, err)
	}
	q := u.Query()
	for _, k := range []string{"token", "type", "redirect_to"} {
		if len(q[k]) != 1 {
			t.Errorf("the link %s has %s %d times, want once", link, k, len(q[k]))
		}
	}
	if len(q) != 3 || u.Fragment != "" {
		t.Errorf("the link %s has more in it than token, type and redirect_to", link)
	}
	return u
}

// addresses hands out an address nobody has.
func addresses() func() string {
	n := 0
	return func() string {
		n++
		return fmt.Sprintf("u%d@example.com", n)
	}
}

func linksLeadNowhereElse(t *testing.T, targets []string) {
	for name, flow := range mailFlows {
		h, next := newHouse(t, func(s *setup) { s.limits = false }), addresses()
		for i, target := range targets {
			if i > 7 && name != "otp" { // they share the reading of targets, not the asking for it
				break
			}
			var headers [][]string
			if !strings.ContainsAny(target, "\r\n\x00\x01\t") { // no server lets these through in a header
				headers = [][]string{{"Referer: " + target}, {"Referer: " + target, "redirect_to: " + target}}
			}
			links := []string{flow(h, next(), "?redirect_to="+url.QueryEscape(target), slices.Concat(headers...)...)}
			if headers != nil {
				links = append(links, flow(h, next(), "", headers[i%2]...))
			}
			for _, link := range links {
				if got := parsed(t, link).Query().Get("redirect_to"); got != site {
					t.Errorf("%s with %q mails a link that goes on to %q, want %q", name, target, got, site)
				}
			}
		}
	}
}

func TestLink_keepsAListedTarget(t *testing.T) {
	t.Parallel()
	for name, flow := range mailFlows {
		h, next := newHouse(t, func(s *setup) { s.limits = false }), addresses()
		for _, target := range []string{site + "/deep/path?a=1&b=2", "https://SITE.example/", "https://preview.example.com/x/y?z=1", "com.example.app://callback/in"} {
			if got := parsed(t, flow(h, next(), "?redirect_to="+url.QueryEscape(target))).Query().Get("redirect_to"); got != target {
				t.Errorf("%s with %q mails a link that goes on to %q", name, target, got)
			}
			if got := parsed(t, flow(h, next(), "", "Referer: "+target)).Query().Get("redirect_to"); got != target {
				t.Errorf("%s from %q mails a link that goes on to %q", name, target, got)
			}
		}
	}
}

func redirectToAddsNoParameters(t *testing.T) {
	for name, flow := range mailFlows {
		h, next := newHouse(t, func(s *setup) { s.limits = false }), addresses()
		for _, target := range []string{
			"https://preview.example.com/a?b=1&token=stolen&type=recovery&redirect_to=https://evil.example",
			"https://preview.example.com/a#&token=stolen",
			"https://preview.example.com/a?%26token%3Dstolen",
			"https://preview.example.com/a;token=stolen",
		} {
			u := parsed(t, flow(h, next(), "?redirect_to="+url.QueryEscape(target)))
			if got := u.Query(); got.Get("redirect_to") != target || got.Get("token") == "stolen" {
				t.Errorf("%s with redirect_to %q mails %s", name, target, u)
			}
		}
	}
}

func linksAreNotBuiltFromTheRequest(t *testing.T) {
	for _, listed := range [][]string{nil, {"auth.other.example"}} {
		for name, flow := range mailFlows {
			h, next := newHouse(t, func(s *setup) { s.limits, s.edge.LinkHosts = false, listed }), addresses()
			for _, headers := range [][]string{
				{"Host: evil.example"},
				{"X-Forwarded-Host: evil.example"},
				{"X-Forwarded-Host: auth.other.example, evil.example"},
				{"X-Forwarded-Host: auth.other.example.evil.example"},
				{"X-Forwarded-Host: auth.other.example:443@evil.example"},
				{"Host: evil.example", "X-Forwarded-Host: evil.example", "X-Forwarded-Proto: http", "X-Forwarded-Port: 8443", "X-Forwarded-Prefix: /evil"},
				{"Forwarded: host=evil.example;proto=http"},
				{"X-Original-Host: evil.example", "X-Host: evil.example", "X-Rewrite-Url: https://evil.example/"},
			} {
				if listed != nil && !strings.Contains(headers[0], "auth.other") {
					continue
				}
				if u := parsed(t, flow(h, next(), "", headers...)); u.Scheme+"://"+u.Host+u.Path != external+"/verify" {
					t.Errorf("%s with %q mails a link to %s", name, headers, u)
				}
			}
			if listed == nil {
				continue
			}
			for _, header := range []string{"Host: auth.other.example", "X-Forwarded-Host: auth.other.example"} {
				if u := parsed(t, flow(h, next(), "", header)); u.Host != listed[0] || u.Scheme != "https" {
					t.Errorf("%s with %q, which is listed, mails a link to %s", name, header, u)
				}
			}
		}
	}
}

func linksOfNetlifyLeadToTheSiteAlone(t *testing.T) {
	h := newHouse(t, nil)
	a := h.do("POST", "/.netlify/identity/signup?redirect_to=https://preview.example.com/x", `{"email":"anna@example.com","password":"correct horse"}`,
		"Host: evil.example", "Referer: https://evil.example/", "X-Forwarded-Host: evil.example")
	if a.Code != http.StatusOK {
		t.Fatalf("signup = %d %s", a.Code, a.Body)
	}
	if link := h.lastMail("anna@example.com").Link; !strings.HasPrefix(link, site+"/#confirmation_token=") {
		t.Errorf("the link is %s, want one to %s", link, site)
	}
}

// magicLink mails a link to a new user and returns its secret.
func (h *house) magicLink(email string) dialecttest.Mail {
	h.t.Helper()
	h.newUser(email)
	h.must(http.StatusOK, "POST", "/otp", `{"email":"`+email+`"}`)
	return h.lastMail(email)
}

// mint makes a magic link for a user without a mail.
func (h *house) mint(email string) (token string) {
	h.t.Helper()
	a := h.must(http.StatusOK, "POST", "/admin/generate_link", `{"type":"magiclink","email":"`+email+`"}`, bearer(h.Policy().OperatorToken))
	return a.text("hashed_token")
}

func (h *house) works(token string) bool {
	h.t.Helper()
	a := h.form("/verify", url.Values{"token": {token}, "type": {"magiclink"}})
	return a.Code == http.StatusSeeOther && strings.Contains(a.Header().Get("Location"), "#access_token=")
}

// prefetches are how browsers and mail programs say that nobody has clicked.
var prefetches = []string{"Sec-Purpose: prefetch", "Sec-Purpose: prefetch;prerender", "Purpose: prefetch", "X-Purpose: preview", "X-Moz: prefetch"}

func opensSpendNothing(t *testing.T) {
	h := newHouse(t, nil)
	m := h.magicLink("anna@example.com")
	path := strings.TrimPrefix(m.Link, external)
	for range 3 {
		h.must(http.StatusOK, "GET", path, "")
	}
	h.must(http.StatusOK, "HEAD", path, "")
	for _, p := range prefetches {
		h.must(http.StatusOK, "GET", path, "", p)
	}
	if !h.works(m.Token) {
		t.Fatal("the link is used up, and nobody has clicked the button")
	}
	if h.works(m.Token) {
		t.Error("the link works twice")
	}
}

func directLinksAreSpentByAClickAlone(t *testing.T) {
	h := newHouse(t, func(s *setup) { s.edge.DirectLinks = true })
	m := h.magicLink("anna@example.com")
	path := strings.TrimPrefix(m.Link, external)
	h.must(http.StatusOK, "HEAD", path, "")
	for _, p := range prefetches {
		h.must(http.StatusOK, "GET", path, "", p)
	}
	if a := h.do("GET", path, ""); a.Code != http.StatusSeeOther || !strings.Contains(a.Header().Get("Location"), "#access_token=") {
		t.Fatalf("GET of a direct link = %d to %q, want 303 with tokens", a.Code, a.Header().Get("Location"))
	}
	if a := h.do("GET", path, ""); strings.Contains(a.Header().Get("Location"), "access_token") {
		t.Error("the link works twice")
	}
}

func pageEscapesWhatItsAddressHolds(t *testing.T) {
	h := newHouse(t, nil)
	m := h.magicLink("o'hara&b@example.com")
	hostile := `"><script>alert(1)</script><form action="https://evil.example">`
	a := h.must(http.StatusOK, "GET", "/verify?"+url.Values{"token": {m.Token}, "type": {"magiclink"}, "redirect_to": {hostile}, "title": {"call +1 555"}}.Encode(), "")
	fields, tags := inputs(a.Body.String())
	if fields["redirect_to"] != hostile || fields["token"] != m.Token || fields["type"] != "magiclink" {
		t.Errorf("the page's form holds %q", fields)
	}
	if tags["script"] > 0 || tags["form"] != 1 || tags["iframe"] > 0 || strings.Contains(a.Body.String(), "555") {
		t.Errorf("the page has %v in it:\n%s", tags, a.Body)
	}
	got := h.form("/verify", url.Values{"token": {fields["token"]}, "type": {fields["type"]}, "redirect_to": {fields["redirect_to"]}})
	if to := got.Header().Get("Location"); got.Code != http.StatusSeeOther || !strings.HasPrefix(to, site+"#access_token=") {
		t.Errorf("the page's form leads to %q (%d), want the site", to, got.Code)
	}
}

// inputs reads a page: its form's fields, and how often each tag comes.
func inputs(page string) (fields map[string]string, tags map[string]int) {
	fields, tags = map[string]string{}, map[string]int{}
	z := html.NewTokenizer(strings.NewReader(page))
	for {
		switch z.Next() {
		case html.ErrorToken:
			return fields, tags
		case html.StartTagToken, html.SelfClosingTagToken:
			t := z.Token()
			tags[t.Data]++
			attr := map[string]string{}
			for _, a := range t.Attr {
				attr[a.Key] = a.Val
			}
			if t.Data == "input" {
				fields[attr["name"]] = attr["value"]
			}
		}
	}
}

func pageIsGuarded(t *testing.T) {
	h := newHouse(t, nil)
	m := h.magicLink("anna@example.com")
	a := h.must(http.StatusOK, "GET", strings.TrimPrefix(m.Link, external), "")
	for header, want := range map[string]string{
		"Content-Security-Policy": "default-src 'none'", "X-Frame-Options": "DENY", "Cache-Control": "no-store",
		"X-Content-Type-Options": "nosniff", "Content-Type": "text/html; charset=utf-8", "X-Robots-Tag": "noindex",
	} {
		if got := a.Header().Get(header); !strings.HasPrefix(got, want) {
			t.Errorf("%s is %q, want it to begin with %q", header, got, want)
		}
	}
	if got := a.Header().Get("Referrer-Policy"); got != "no-referrer" && got != "same-origin" {
		t.Errorf("Referrer-Policy is %q: another site may read the secret in the page's address", got)
	}
}

func formOfAnotherSiteIsRefused(t *testing.T) {
	h := newHouse(t, nil)
	m := h.magicLink("anna@example.com")
	v := url.Values{"token": {m.Token}, "type": {"magiclink"}}
	for _, headers := range [][]string{
		{"Sec-Fetch-Site: cross-site"},
		{"Sec-Fetch-Site: same-site"},
		{"Sec-Fetch-Site: cross-site", "Origin: " + external},
		{"Origin: https://evil.example"},
		{"Origin: https://auth.example.evil.example", "Host: auth.example"},
		{"Origin: null"},
	} {
		if a := h.form("/verify", v, headers...); a.Code != http.StatusBadRequest || a.Header().Get("Location") != "" {
			t.Errorf("a form with %q = %d to %q, want 400", headers, a.Code, a.Header().Get("Location"))
		}
	}
	if !h.works(m.Token) {
		t.Error("the link is used up by forms of other sites")
	}
}

func verifySendsNobodyElsewhere(t *testing.T, targets []string) {
	h := newHouse(t, func(s *setup) { s.limits, s.edge.DirectLinks = false, true })
	h.newUser("anna@example.com")
	for i, target := range targets {
		ways := []func(token string) answer{
			func(token string) answer {
				return h.form("/verify", url.Values{"token": {token}, "type": {"magiclink"}, "redirect_to": {target}})
			},
			func(token string) answer {
				return h.do("GET", "/verify?"+url.Values{"token": {token}, "type": {"magiclink"}, "redirect_to": {target}}.Encode(), "")
			},
			func(token string) answer {
				return h.form("/verify?redirect_to="+url.QueryEscape(target), url.Values{"token": {token}, "type": {"magiclink"}})
			},
		}
		for n, redeem := range ways {
			tokens := map[string]string{"unknown": site + "#error=", "pkce_unknown": site + "?error="}
			if n == i%len(ways) {
				tokens[h.mint("anna@example.com")] = site + "#access_token="
			}
			for token, want := range tokens {
				a := redeem(token)
				if to := a.Header().Get("Location"); a.Code != http.StatusSeeOther || !strings.HasPrefix(to, want) {
					t.Errorf("way %d with redirect_to %q = %d to %q, want 303 to %s…", n, target, a.Code, to, want)
				}
			}
		}
	}
}

// redirects follows good and bad links by every way there is.
func redirects(h *house, next func() string) map[string]answer {
	target := "https://preview.example.com/in?a=1"
	ok := func() url.Values {
		return url.Values{"token": {h.magicLink(next()).Token}, "type": {"magiclink"}, "redirect_to": {target}}
	}
	bad := url.Values{"token": {"unknown"}, "type": {"magiclink"}, "redirect_to": {target}}
	return map[string]answer{
		"form": h.form("/verify", ok()), "bad form": h.form("/verify", bad),
		"link": h.do("GET", "/verify?"+ok().Encode(), ""), "bad link": h.do("GET", "/verify?"+bad.Encode(), ""),
	}
}

func redirectsCarryTokensInTheFragmentAndMakeAGet(t *testing.T) {
	h := newHouse(t, func(s *setup) { s.edge.DirectLinks = true })
	for name, a := range redirects(h, addresses()) {
		if a.Code != http.StatusSeeOther {
			t.Errorf("%s = %d, want 303: 307 and 308 send the secret on, 302 leaves it to the browser", name, a.Code)
		}
		u, err := url.Parse(a.Header().Get("Location"))
		if err != nil {
			t.Fatal(err)
		}
		frag, err := url.ParseQuery(u.EscapedFragment())
		if err != nil {
			t.Fatal(err)
		}
		if has := frag.Get("access_token") != "" && frag.Get("refresh_token") != ""; has == strings.HasPrefix(name, "bad") {
			t.Errorf("%s leads to %s", name, u)
		}
		if u.RawQuery != "a=1" {
			t.Errorf("%s leads to the query %q, which servers, proxies and histories keep; want a=1 alone", name, u.RawQuery)
		}
		if a.Header().Get("Cache-Control") != "no-store" || a.Header().Get("Referrer-Policy") != "no-referrer" {
			t.Errorf("%s is sent with %v", name, a.Header())
		}
		if a.Body.Len() > 0 {
			t.Errorf("%s has a body: %s", name, a.Body)
		}
	}
}

func redirectsSayNothingAnAttackerWrote(t *testing.T) {
	h := newHouse(t, nil)
	const text = "Call+1-555-0100"
	a := h.do("GET", "/verify?token=unknown&type=magiclink&error="+text+"&error_description="+text+"&message="+text, "")
	if to := a.Header().Get("Location"); strings.Contains(to, "555") {
		t.Errorf("a bad link leads to %s", to)
	}
	for _, path := range []string{"/verify?token=" + text + "&type=" + text, "/verify?type=magiclink&error_description=" + text} {
		if a := h.do("GET", path, ""); strings.Contains(a.Body.String(), "555") {
			t.Errorf("GET %s says %s", path, a.Body)
		}
	}
}

// A path is read once, by one router: what it makes of dots and slashes leads
// nowhere else, and never past a check.
func oddPathsReachNothingElse(t *testing.T) {
	h := newHouse(t, nil)
	id := h.newUser("anna@example.com").String()
	for _, path := range []string{
		"//evil.example/token", "///evil.example", "/\\evil.example", "/verify/..//evil.example", "/./admin/users", "/admin//users", "/%2e%2e/admin/users",
		"/admin/users/..%2f..%2fsettings", "/admin/users/%2e%2e", "/admin/users/" + id + "/../" + id, "/admin/users/" + id + "%00", "/admin/users/" + id + "%2f",
		"/auth/v1//admin/users", "/auth/v1/../admin/users", "/.netlify/identity/%2e%2e/admin/users", "/auth/v1admin/users", "/ADMIN/users", "/admin/users/",
	} {
		for _, method := range []string{"GET", "POST"} {
			r := newRequest(method, "/", strings.NewReader("{}"))
			u, err := url.ParseRequestURI(path)
			if err != nil {
				continue // net/http answers these itself
			}
			r.URL, r.RequestURI = u, path
			a := h.send(r)
			if a.Code < 300 || a.Code >= 500 {
				t.Errorf("%s %s = %d %s", method, path, a.Code, a.Body)
			}
			to := a.Header().Get("Location")
			if to != "" && (!strings.HasPrefix(to, "/") || strings.HasPrefix(to, "//") || strings.HasPrefix(to, "/\\")) {
				t.Errorf("%s %s redirects to %q, which is another server", method, path, to)
			}
		}
	}
}

func TestRedirects_ofTheTestsAreThoseOfTheServer(t *testing.T) {
	t.Parallel()
	r, err := web.NewRedirects(site, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, target := range elsewhere {
		if r.Allowed(target) {
			t.Errorf("%q is allowed: it does not belong on the list", target)
		}
	}
}
