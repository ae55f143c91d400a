package web

import (
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"
)

func redirects(t testing.TB, site string, patterns ...string) *Redirects {
	t.Helper()
	r, err := NewRedirects(site, patterns)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// Every one of these was a hole in some server's list of redirects, or is a
// neighbour of one.
func TestRedirects_refusesWhatOnlyLooksLikeTheSite(t *testing.T) {
	r := redirects(t, "https://site.example/welcome", "https://*.apps.example/**", "https://www.other.example/app/**")
	for _, raw := range []string{
		"", "/", "/welcome", "welcome", "?x", "#x", "//site.example/", "///site.example", "//evil.example",
		`\\evil.example`, `/\evil.example`, `\/evil.example`,
		// Text before and behind the host.
		"https://site.example.evil.example/", "https://site.exampleevil.com/", "https://site.example-evil.com/",
		"https://evilsite.example/", "https://evil.example/https://site.example/", "https://evil.example?https://site.example/",
		"https://evil.example#https://site.example/", "https://evil.example/#site.example", "https://sub.site.example/",
		"https://site.example.", "https://site.example./", "https://.site.example/", "https://site..example/",
		// Who reads what as the host.
		"https://site.example@evil.example/", "https://site.example:pw@evil.example/", "https://user@site.example/",
		"https://:@site.example/", "https://@site.example/", "https://a@b@site.example/", "https://evil.example@@site.example/",
		"https://site.example:443@evil.example/", "https://site.example%40evil.example/", "https://site.example%2f@evil.example/",
		`https://evil.example\@site.example/`, `https://site.example\@evil.example/`, `https://site.example\.evil.example/`,
		`https:\\site.example/`, `https:/\site.example/`, `https://site.example\`, `https://site.example/\evil.example`,
		"https://evil.example;@site.example/", "https://evil.example&@site.example/", "https://site.example;evil.example/",
		"https://site.example,evil.example/", "https://site.example!evil.example/", "https://site.example$/", "https://(site.example)/",
		"https://site.example%2eevil.example/", "https://site%2eexample/", "https://%73ite.example/", "https://site.example%00.evil.example/",
		"https://site.example%2fevil/", "https://site.example%23.evil.example/", "https://site.example%3f.evil.example/",
		"https://[site.example]/", "https://[::1]site.example/", "https://site.example[::1]/", "https://[::1].site.example/",
		// Schemes.
		"http://site.example/", "ftp://site.example/", "ws://site.example/", "https", "https:", "https:/", "https://", "https:///",
		"https:site.example/", "https:/site.example/", "https:///site.example/", "https:////evil.example", "https://?site.example", "https://#site.example",
		"https ://site.example/", "ht\ttps://site.example/", "https\n://site.example/", "https:\t//site.example/", "://site.example/",
		"hxxps://site.example/", "https+x://site.example/", "1https://site.example/", "ｈttps://site.example/", "httpſ://site.example/",
		"javascript:alert(1)", "JavaScript:alert(1)", "javascript://site.example/%0aalert(1)", "jAvAsCrIpT://site.example/", "java\tscript:alert(1)",
		" javascript:alert(1)", "\x01javascript:alert(1)", "data:text/html,x", "DATA:text/html;base64,eA==", "vbscript:x", "VBScript://site.example/",
		"file:///etc/passwd", "file://site.example/", "blob:https://site.example/1", "view-source:https://site.example/", "about:blank",
		"filesystem:https://site.example/", "intent://site.example/#Intent;package=evil;end", "feed:javascript:alert(1)",
		// Characters that some reader drops or changes.
		" https://site.example/", "https://site.example/ ", "https://site.example/a b", "https://site.example\t/", "https://site\n.example/",
		"https://site.example/\r\nSet-Cookie:x", "https://site.example/\x00", "https://site.example/\x7f", "https://site.example/%0d%0aSet-Cookie:x",
		"https://site.example/%00", "https://site.example/?a=%0A", "https://site.example/\u00a0", "https://site.example/\u2028",
		"https://site.example/\u200b", "https://site.example/\u202etxt", "https://site.example/\ufeff", "https://site.example/\u3000",
		"https://site.example/\xff", "https://site.example/%", "https://site.example/%2", "https://site.example/%zz", "https://site.example/?%u0041",
		`https://site.example/"onload=x`, "https://site.example/<script>", "https://site.example/`x`", `https://site.example/#\`, "https://site.example/#\n",
		// Names that become others on the way to the resolver.
		"https://site。example/", "https://site．example/", "https://site｡example/", "https://ｓite.example/", "https://site.example／evil/",
		"https://site.ⓔxample/", "https://ſite.example/", "https://sıte.example/", "https://si\u00adte.example/", "https://si\u200dte.example/",
		"https://site.example\u2044evil.example/", "https://xn--.apps.example/", "https://xn--a.apps.example/",
		"https://evil.example℀.apps.example/", "https://xn--ls8h=.apps.example/",
		// Ports.
		"https://site.example:8443/", "https://site.example:80/", "https://site.example:/", "https://site.example:0/", "https://site.example:0443/",
		"https://site.example:443:443/", "https://site.example:+443/", "https://site.example:-443/", "https://site.example:65979/",
		"https://site.example:443x/", "https://site.example:４４３/", "https://site.example:%34%34%33/", "https://site.example: 443/",
		// Paths that are others once resolved.
		"https://site.example/..", "https://site.example/../x", "https://site.example/a/./b", "https://site.example/%2e%2e/x",
		"https://site.example/%2E./x", "https://site.example/a/%2f../x", "https://site.example/a%2f%2e%2e%2fx", "https://site.example/a%5c..%5cx",
		"https://site.example/..;/x", "https://site.example/%252e%252e/x", "https://site.example/%25252e./x", "https://site.example/%25%32%65./x",
		"https://site.example/%25/%252e%252e/x", "https://site.example/%c0%ae%c0%ae/x", "https://www.other.example/app/../evil",
		"https://www.other.example/app/..%2fevil", "https://www.other.example/app/%2e%2e", "https://www.other.example/app%2f..%2fevil",
		// Near the patterns.
		"https://apps.example/", "https://a.b.apps.example/", "https://.apps.example/", "https://apps.example.evil.example/",
		"https://evil.example/.apps.example/", "https://evil.example#.apps.example/", "https://evil.example?.apps.example/", "https://a@.apps.example/",
		"https://evilapps.example/", "http://a.apps.example/", "https://a.apps.example:8443/", "https://-.apps.example/", "https://a-.apps.example/",
		"https://*.apps.example/", "https://www.other.example/", "https://www.other.example/application", "https://www.other.example/App/x",
		"https://www.other.example/app", "https://www.other.example//app/x", "https://other.example/app/x", "https://www.other.example/%61pp/x",
		// Addresses.
		"http://127.0.0.1/", "http://localhost/", "https://127.0.0.1/", "https://localhost/", "https://[::1]/", "http://[::1]:3000/",
		"https://2130706433/", "https://0x7f.1/", "https://127.1/", "https://0177.0.0.1/", "https://0x7f000001/", "https://1.2.3.4.5/",
		"https://[fe80::1%25eth0]/", "https://[fe80::1%eth0]/", "https://[::1/", "https://::1/", "https://[]/", "https://[127.0.0.1]/",
		"https://1.apps.0x7f/", "https://a.apps.example.1/",
		"https://site.example/" + strings.Repeat("a", 2048-len("https://site.example/")+1),
		"https://" + strings.Repeat("a", 64) + ".apps.example/",
	} {
		if r.Allowed(raw) {
			t.Errorf("%q is allowed", raw)
		}
	}
}

func TestRedirects_allowsTheSiteWhateverThePath(t *testing.T) {
	r := redirects(t, "https://site.example/welcome")
	for _, raw := range []string{
		"https://site.example", "https://site.example/", "https://site.example/any/path.html", "https://site.example?x=1",
		"https://site.example/?next=/a/../b", "https://site.example/#/route", "https://site.example#access", "https://site.example/@user?mail=a@b.example",
		"https://site.example:443/", "HTTPS://SITE.example/", "hTTps://site.EXAMPLE:443", "https://site.example//a", "https://site.example/a%2Fb",
		"https://site.example/.well-known/x", "https://site.example/a..b/...", "https://site.example/100%25", "https://site.example/日本",
		"https://site.example/%E6%97%A5", "https://site.example/a;b=c,d:e", "https://site.example/a%20b+c", "https://site.example/?u=https://evil.example",
		"https://site.example/" + strings.Repeat("a", 2048-len("https://site.example/")),
	} {
		if !r.Allowed(raw) {
			t.Errorf("%q is refused", raw)
		}
	}
}

func TestRedirects_allowsLoopbackOnlyForASiteOnLoopback(t *testing.T) {
	targets := []string{"http://localhost/", "http://localhost:9/x", "http://127.0.0.1:1234/", "http://127.0.0.2/", "http://[::1]:5/", "http://[0:0::1]/", "http://[::ffff:127.0.0.1]/", "HTTP://LocalHost:1"}
	for _, site := range []string{"http://localhost:3000", "http://127.0.0.1:8000/x", "http://[::1]"} {
		r := redirects(t, site)
		for _, raw := range targets {
			if !r.Allowed(raw) {
				t.Errorf("site %s: %q is refused", site, raw)
			}
		}
		for _, raw := range []string{
			"https://localhost:3000/", "http://localhost.evil.example/", "http://0.0.0.0/", "http://128.0.0.1/", "http://127.1/", "http://0177.0.0.1/",
			"http://localhost:0/", "http://localhost./", "http://localhost@evil.example/", "http://192.168.0.1/",
		} {
			if r.Allowed(raw) {
				t.Errorf("site %s: %q is allowed", site, raw)
			}
		}
	}
	r := redirects(t, "http://site.example:3000")
	for _, raw := range targets {
		if r.Allowed(raw) {
			t.Errorf("site elsewhere: %q is allowed", raw)
		}
	}
	if r := redirects(t, "https://site.example", "http://127.0.0.1:*/**"); !r.Allowed("http://127.0.0.1:51004/cb") || r.Allowed("http://localhost:51004/cb") {
		t.Error("a pattern for 127.0.0.1 must allow that and nothing else")
	}
}

func TestRedirects_matchesPatternsPartByPart(t *testing.T) {
	for _, c := range []struct {
		pattern string
		yes, no []string
	}{
		{"https://a.example", []string{"https://a.example", "https://a.example/", "https://A.example:443#f"}, []string{"https://a.example/x", "https://a.example?x", "https://a.example:444"}},
		{"https://a.example/cb", []string{"https://a.example/cb", "https://a.example/cb#x"}, []string{"https://a.example/cb/", "https://a.example/cb?x", "https://a.example/CB", "https://a.example/cbx"}},
		{"https://a.example/*", []string{"https://a.example/", "https://a.example/cb", "https://a.example"}, []string{"https://a.example/cb/x", "https://a.example/cb.html", "https://a.example/cb?x=1", "https://a.example/a%2Fb", "https://a.example/a%2eb", "https://a.example/a%5cb"}},
		{"https://a.example/*/cb", []string{"https://a.example/x/cb", "https://a.example//cb"}, []string{"https://a.example/cb", "https://a.example/x/y/cb"}},
		{"https://a.example/**", []string{"https://a.example", "https://a.example/x/y.html?z=%2F#f", "https://a.example?x"}, []string{"https://b.example/", "http://a.example/"}},
		{"https://a.example/**/cb", []string{"https://a.example/x/y/cb", "https://a.example/x?y/cb"}, []string{"https://a.example/x/y/cb/z"}},
		{"https://a.example/cb**", []string{"https://a.example/cb", "https://a.example/cb/x", "https://a.example/cb?x=/y.z"}, []string{"https://a.example/c"}},
		{"https://a.example/cb?x=*", []string{"https://a.example/cb?x=1", "https://a.example/cb?x=%2Fa", "https://a.example/cb?x="}, []string{"https://a.example/cb", "https://a.example/cb?y=1", "https://a.example/cb?x=/y", "https://a.example/cb?x=y.z", "https://a.example/cb?x=1?2"}},
		{"https://a.example/v?", []string{"https://a.example/v1", "https://a.example/v?"}, []string{"https://a.example/v", "https://a.example/v12", "https://a.example/v/", "https://a.example/v."}},
		{"https://a.example/[a-c][!0-9]", []string{"https://a.example/ax", "https://a.example/c-"}, []string{"https://a.example/dx", "https://a.example/a1", "https://a.example/a/", "https://a.example/a?", "https://a.example/a"}},
		{"https://*.a.example/**", []string{"https://x.a.example/", "https://X-1.A.EXAMPLE/y"}, []string{"https://a.example/", "https://x.y.a.example/", "https://x.a.example.evil.example/"}},
		{"https://pr-*.a.example/**", []string{"https://pr-1.a.example/", "https://pr-1-x.a.example"}, []string{"https://pr.a.example/", "https://xpr-1.a.example/", "https://pr-1.b.a.example/", "https://pr-.a.example/"}},
		{"https://*.x*y.a.example/", []string{"https://1.xy.a.example/", "https://1.x2y.a.example/"}, []string{"https://x2y.a.example/", "https://1.x.y.a.example/"}},
		{"https://v?.a.example/", []string{"https://v1.a.example/"}, []string{"https://v.a.example/", "https://v12.a.example/"}},
		{"https://**.a.example/", []string{"https://x.a.example/", "https://x.y.z.a.example/"}, []string{"https://a.example/", "https://xa.example/", "https://x.a.example.evil.example/"}},
		{"https://*-team.vercel.app/**", []string{"https://x-team.vercel.app/cb"}, []string{"https://team.vercel.app/", "https://x-team.vercel.app.evil.example/"}},
		{"http://*.localhost:3000/**", []string{"http://a.localhost:3000/x"}, []string{"http://a.localhost/x", "http://localhost:3000/"}},
		{"https://*.internal/**", []string{"https://a.internal/"}, []string{"https://a.b.internal/"}},
		{"http://localhost:*/**", []string{"http://localhost:3000/x", "http://localhost/"}, []string{"http://localhost.evil.example/", "https://localhost:3000/", "http://localhost:x/"}},
		{"http://192.168.*.*:8080/**", []string{"http://192.168.1.2:8080/"}, []string{"http://192.168.1.example:8080/", "http://192.168.evil.example:8080/", "http://192.168.1:8080/", "http://192.168.1.2/", "http://192.168.1.02:8080/"}},
		{"http://[::1]:*/**", []string{"http://[::1]:80/", "http://[0:0:0:0:0:0:0:1]:9/x"}, []string{"http://[::2]:80/", "http://127.0.0.1/"}},
		{"com.example.app://callback", []string{"com.example.app://callback", "COM.example.app://callback", "com.example.app://callback#x"}, []string{"com.example.app://callback/x", "com.example.app:callback", "com.example.app2://callback", "com.example.app://Callback", "com.example.app:/callback", "com.example.app://x@callback"}},
		{"com.example.app://", []string{"com.example.app://"}, []string{"com.example.app://x", "com.example.app:", "com.example.app:/"}},
		{"myapp:/x", []string{"myapp:/x"}, []string{"myapp:x", "myapp://x", "myapp:/x/y", "myapp:///x"}},
		{"myapp://**", []string{"myapp://a/b?c", "myapp://", "myapp:///x"}, []string{"myapp:/x", "myapp:x", "myapp://a@b", "myapp://a/../b", "myapp://a:b/", `myapp://a\b`, "myapp://a b"}},
		{"exp://192.168.*.*:*/**", []string{"exp://192.168.1.5:8081/--/cb"}, []string{"exp://10.0.0.1:8081/"}},
		{"HTTPS://A.Example/Cb", []string{"https://a.example/Cb"}, []string{"https://a.example/cb"}},
	} {
		r := redirects(t, "https://site.example", c.pattern)
		for _, raw := range c.yes {
			if !r.Allowed(raw) {
				t.Errorf("%s refuses %q", c.pattern, raw)
			}
		}
		for _, raw := range c.no {
			if r.Allowed(raw) {
				t.Errorf("%s allows %q", c.pattern, raw)
			}
		}
	}
}

func TestNewRedirects_namesThePatternsThatCannotBeMeant(t *testing.T) {
	for _, p := range []string{
		"", "*", "**", "/welcome", "//a.example", "a.example/**", "*://a.example/**", "http*://a.example/", "http?://a.example/", "https:a.example/", "https:/a.example",
		"javascript:*", "JAVASCRIPT://**", "data://x", "file:///**", "intent://**",
		"https://", "https:///x", "https://*", "https://**", "https://*/**", "https://**/**", "https://*:*/", "https://?.example/..x y",
		"https://a.example*", "https://a.example**", "https://a.*", "https://a.*.*", "https://*.com/**", "https://app-*.com/**", "https://*.co.uk/**",
		"https://**.com/**", "https://**.example/", "https://**.*.a.example/", "https://a.**.b.example/", "https://x**.a.example/", "https://*.*",
		"https://*.vercel.app/**", "https://*.github.io/**", "https://**.github.io", "https://*.1/", "https://*.0.0.1/", "https://1?.0.0.1/", "https://**.0.0.1/", "https://192.*.*.x*/",
		"https://a.example:*1/", "https://a.example:**/", "https://a.example:/", "https://a.example:0/", "https://a.example:99999/", "https://a.example:3000**",
		"https://u@a.example/", "https://*@a.example/", `https://a.example\**`, "https://a.example/#x", "https://a.example/{a}", "https://{a}.example/",
		"https://a.example?x=1", "https://[a-z].a.example/", "https://a.example./", "https://a..example/", "https://-*.a.example/", "https://bücher.example/",
		"https://*.bücher.example/", "https://[::1%25eth0]/", "https://a.example/[", "https://a.example/[]", "https://a.example/[!]", "https://a.example/%zz", "https://a.example/%*",
		"https://127.1/", "myapp:x", "https://a.example/" + strings.Repeat("x", 2048),
	} {
		if _, err := NewRedirects("https://site.example", []string{p}); err == nil {
			t.Errorf("%q is taken for a pattern", p)
		} else if !strings.HasPrefix(err.Error(), "the redirect pattern ") {
			t.Errorf("%q: the error does not name the pattern: %v", p, err)
		}
	}
	_, err := NewRedirects("https://site.example", []string{"https://*.com", "https://fine.example/**", "**"})
	if err == nil || !strings.Contains(err.Error(), "*.com") || !strings.Contains(err.Error(), `"**"`) || strings.Contains(err.Error(), "fine") {
		t.Errorf("got %v, want both faults", err)
	}
	for _, site := range []string{"", "/", "site.example", "//site.example", "javascript:x", "https://user@site.example", "https://bücher.example", "https:site.example"} {
		if _, err := NewRedirects(site, nil); err == nil {
			t.Errorf("%q is taken for a site", site)
		}
	}
}

func TestChoose_takesTheFirstAllowedAndElseTheSite(t *testing.T) {
	r := redirects(t, "https://site.example/home#top", "https://a.example/**")
	for _, c := range []struct {
		candidates []string
		want       string
	}{
		{nil, "https://site.example/home#top"},
		{[]string{"", ""}, "https://site.example/home#top"},
		{[]string{"https://evil.example/"}, "https://site.example/home#top"},
		{[]string{"https://evil.example/", "https://a.example/x#f"}, "https://a.example/x#f"},
		{[]string{"https://site.example/x", "https://a.example/x"}, "https://site.example/x"},
		{[]string{"", "/relative", "https://SITE.example"}, "https://SITE.example"},
	} {
		if got := r.Choose(c.candidates...); got != c.want {
			t.Errorf("%q: got %q, want %q", c.candidates, got, c.want)
		}
	}
}

func TestRedirects_aSiteMayBeAnApp(t *testing.T) {
	r := redirects(t, "myapp://home/start")
	for raw, want := range map[string]bool{
		"myapp://home": true, "myapp://home/x?y#z": true, "myapp://other": false, "myapp:/home": false, "myapp2://home": false, "https://home/": false,
	} {
		if got := r.Allowed(raw); got != want {
			t.Errorf("%q: got %v, want %v", raw, got, want)
		}
	}
}

// The links that go out are read again by net/url and by browsers: what is
// allowed must name the same host to them.
func FuzzRedirects_allowedMeansAListedHost(f *testing.F) {
	site, patterns := "https://site.example/welcome", []string{
		"https://*.apps.example/**", "https://**.deep.example:*/**", "http://192.168.*.*:*/**", "https://pr-?.x.example/cb?x=*", "http://[::1]:*/*", "myapp://**",
	}
	r := redirects(f, site, patterns...)
	for _, seed := range []string{
		"https://site.example/", "https://site.example@evil.example/", "https://a.apps.example/x?y#z", "https://a.b.deep.example:8443/", "http://192.168.1.2:3/x",
		"https://pr-1.x.example/cb?x=1", "http://[::1]:9/x", "http://[0::1]/", "myapp://a:1/b", `https://evil.example\@site.example/`, "https://site.example%2f@e/",
		"https://xn--bcher-kva.apps.example/", "HTTPS://SITE.EXAMPLE:443/%41?%42#%43", "https://site.example/日本", "https:site.example", "https://site.example/[x]{y}|^",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		if !r.Allowed(raw) {
			return
		}
		u, err := url.Parse(raw)
		if err != nil {
			t.Fatalf("%q is allowed, and net/url cannot read it: %v", raw, err)
		}
		ours, err := parseRedirect(raw)
		if err != nil || u.Scheme != ours.scheme || u.User != nil || u.Opaque != "" {
			t.Fatalf("%q: we read %+v (%v), net/url %+v", raw, ours, err, u)
		}
		if u.Scheme != "http" && u.Scheme != "https" {
			if u.Scheme != "myapp" || u.Hostname() != ours.host || u.Port() != ours.port {
				t.Fatalf("%q: we read %+v, net/url %+v", raw, ours, u)
			}
			return
		}
		host := strings.ToLower(u.Hostname())
		if addr, err := netip.ParseAddr(host); err == nil {
			if host = addr.String(); addr.Is6() {
				host = "[" + host + "]"
			}
		}
		if host != ours.host || u.Port() != "" && u.Port() != ours.port {
			t.Fatalf("%q: we read host %s:%s, net/url %s", raw, ours.host, ours.port, u.Host)
		}
		if !listed(host) {
			t.Fatalf("%q is allowed, and host %s is not on the list", raw, host)
		}
		if again := r.Allowed(u.String()); !again {
			t.Fatalf("%q is allowed, and not as net/url writes it: %q", raw, u)
		}
	})
}

// listed is the list of the fuzz target in other words.
func listed(host string) bool {
	labels := strings.Split(host, ".")
	end := func(suffix ...string) bool {
		return len(labels) > len(suffix) && slices.Equal(labels[len(labels)-len(suffix):], suffix)
	}
	switch {
	case host == "site.example", host == "[::1]":
		return true
	case end("apps", "example"):
		return len(labels) == 3
	case end("x", "example"):
		return len(labels) == 3 && len(labels[0]) == 4 && strings.HasPrefix(host, "pr-")
	case end("deep", "example"):
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && netip.MustParsePrefix("192.168.0.0/16").Contains(addr)
}
