package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// soon is how long a change may take to be in force on other nodes.
const soon = 2 * time.Second

// within waits for what must come about soon, and says if it came late.
func within(t *testing.T, what string, ok func() bool) {
	t.Helper()
	began := time.Now()
	until(t, what, ok)
	if took := time.Since(began); took > soon {
		t.Logf("%s: it took %v", what, took) // on a busy machine
	}
}

func TestTenants_aChangeIsInForceOnEveryNode(t *testing.T) {
	t.Parallel()
	onEngines(t, func(t *testing.T, d database) {
		var nodes []*server
		for range 3 {
			nodes = append(nodes, start(t, d.settings(tenantSettings...)...))
		}
		nodes[0].do(201, "POST", "/admin/tenants", object{"name": "shop", "hosts": []string{"shop.example"}, "settings": object{"MAILER_AUTOCONFIRM": "true"}}, bearer(operator))
		nodes[0].do(201, "POST", "/admin/tenants", object{"name": "store"}, bearer(operator))
		all := func(what string, ok func(*server) bool) {
			t.Helper()
			for i, s := range nodes {
				within(t, fmt.Sprintf("%s on node %d", what, i+1), func() bool { return ok(s) })
			}
		}
		settings := func(s *server, path string, headers ...string) answer {
			a, err := s.ask("GET", path+"/settings", nil, headers...)
			if err != nil {
				t.Fatal(err)
			}
			return a
		}
		all("the tenant", func(s *server) bool {
			return settings(s, "/t/shop").at("mailer_autoconfirm") == true && settings(s, "", "Host: shop.example").at("mailer_autoconfirm") == true
		})
		if settings(nodes[1], "").at("mailer_autoconfirm") != false || settings(nodes[1], "/t/store").at("mailer_autoconfirm") != false {
			t.Error("the setting of one tenant is in force for others")
		}
		in := nodes[1].do(200, "POST", "/t/shop/signup", object{"email": ada, "password": password})
		nodes[2].do(200, "GET", "/t/shop/user", nil, bearer(in.text("access_token")))

		nodes[0].do(200, "PUT", "/admin/tenants/shop", object{"settings": object{"DISABLE_SIGNUP": "true", "MAILER_AUTOCONFIRM": nil}}, bearer(operator))
		if settings(nodes[0], "/t/shop").at("disable_signup") != true { // where it was done at once
			t.Error("the node that made the change has not heard of it")
		}
		all("the change", func(s *server) bool {
			return settings(s, "/t/shop").at("disable_signup") == true && settings(s, "/t/shop").at("mailer_autoconfirm") == false
		})
		nodes[1].do(422, "POST", "/t/shop/signup", object{"email": "new@example.com", "password": password})
		nodes[2].do(200, "GET", "/t/shop/user", nil, bearer(in.text("access_token")))

		nodes[2].do(200, "PUT", "/admin/tenants/shop", object{"name": "boutique", "hosts": []string{"boutique.example"}}, bearer(operator))
		all("the new name", func(s *server) bool {
			return settings(s, "/t/boutique").status == 200 && settings(s, "", "Host: boutique.example").at("disable_signup") == true
		})
		all("the end of the old one", func(s *server) bool {
			return settings(s, "/t/shop").status == 404 && settings(s, "", "Host: shop.example").at("disable_signup") == false
		})
	})
}

func TestTenants_settingsThatCannotBeAreRefusedAndNothingIsKept(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.do(201, "POST", "/admin/tenants", object{"name": "shop", "settings": object{"JWT_EXP": "60"}}, bearer(operator))
	before := s.do(200, "GET", "/admin/tenants/shop", nil, bearer(operator)).body
	for name, tc := range map[string]struct {
		settings object
		want     string
	}{
		"the operator's":  {object{"OPERATOR_TOKEN": "my-own-operator-token"}, "the same for all tenants"},
		"the database":    {object{"DATABASE_URL": "sqlite:mine"}, "the same for all tenants"},
		"misspelled":      {object{"DISABLE_SIGNUPS": "true"}, "did you mean DISABLE_SIGNUP"},
		"no number":       {object{"JWT_EXP": "soon"}, "JWT_EXP"},
		"no address":      {object{"SITE_URL": "javascript:alert(1)"}, "SITE_URL"},
		"no pattern":      {object{"URI_ALLOW_LIST": "https://[*"}, "URI_ALLOW_LIST"},
		"broken keys":     {object{"JWT_KEYS": "[{]"}, "JWT_KEYS"},
		"not built":       {object{"MAILER_EMAIL_VALIDATION_EXTENDED": "true"}, "MAILER_EMAIL_VALIDATION_EXTENDED"},
		"a sender's name": {object{"SMTP_HOST": "mail.example:25:25"}, "SMTP"},
	} {
		for _, ask := range [][2]string{{"POST", "/admin/tenants"}, {"PUT", "/admin/tenants/shop"}} {
			body := object{"settings": tc.settings}
			if ask[0] == "POST" {
				body["name"] = "new"
			}
			a, err := s.ask(ask[0], ask[1], body, bearer(operator))
			if err != nil || a.status != 400 || !strings.Contains(a.text("msg"), tc.want) {
				t.Errorf("%s, %s: %d %s, %v; want %q", name, ask[0], a.status, a.body, err, tc.want)
			}
		}
		s.do(404, "GET", "/t/new/settings", nil)
	}
	if after := s.do(200, "GET", "/admin/tenants/shop", nil, bearer(operator)).body; after != before {
		t.Errorf("refusals changed the tenant from %s to %s", before, after)
	}
	own := s.url[len("http://"):strings.LastIndexByte(s.url, ':')]
	if a, _ := s.ask("POST", "/admin/tenants", object{"name": "new", "hosts": []string{own}}, bearer(operator)); a.status != 400 {
		t.Errorf("a tenant took the server's own name: %d %s", a.status, a.body)
	}
}

// A tenant that is deleted is gone for all, and its rows go; the others live on.
func TestTenants_aDeletedOneIsGoneAndItsRowsGo(t *testing.T) {
	t.Parallel()
	onEngines(t, func(t *testing.T, d database) {
		nodes := []*server{start(t, d.settings(tenantSettings...)...), start(t, d.settings(tenantSettings...)...)}
		id := d.addTenant(t, "shop", "--host", "shop.example")
		d.addTenant(t, "store")
		var tokens []string
		for _, at := range []string{"/t/shop", "/t/store", ""} {
			for _, s := range nodes {
				within(t, at, func() bool { a, err := s.ask("GET", at+"/settings", nil); return err == nil && a.status == 200 })
			}
			nodes[0].do(200, "POST", at+"/admin/users", object{"email": ada, "password": password, "email_confirm": true}, bearer(operator))
			tokens = append(tokens, nodes[0].do(200, "POST", at+"/token?grant_type=password", object{"email": ada, "password": password}).text("access_token"))
			nodes[0].do(200, "POST", at+"/recover", object{"email": ada})
		}
		nodes[1].do(200, "DELETE", "/admin/tenants/shop", nil, bearer(operator))
		for _, s := range nodes {
			within(t, "the end", func() bool {
				a, err := s.ask("GET", "/t/shop/settings", nil)
				return err == nil && a.status == 404
			})
			s.do(404, "GET", "/t/shop/user", nil, bearer(tokens[0]))
			s.do(404, "POST", "/t/shop/token?grant_type=password", object{"email": ada, "password": password})
			within(t, "the end of the host", func() bool { // which is the default tenant's now
				a, err := s.ask("GET", "/user", nil, bearer(tokens[0]), "Host: shop.example")
				return err == nil && a.status == 403
			})
			s.do(200, "GET", "/t/store/user", nil, bearer(tokens[1]))
			s.do(200, "GET", "/user", nil, bearer(tokens[2]))
		}
		literal := "x'" + strings.ReplaceAll(id, "-", "") + "'"
		if d.engine == "postgres" {
			literal = `'\x` + strings.ReplaceAll(id, "-", "") + "'"
		}
		for _, table := range []string{"users", "sessions", "credentials", "identities", "signing_keys"} {
			if d.one(t, "SELECT count(*) FROM "+table+" WHERE tenant_id = "+literal) == "0" {
				t.Errorf("the test has no rows in %s to sweep", table)
			}
		}
		start(t, d.settings(tenantSettings...)...) // which sweeps as it begins, unless another does
		d.change(t, "UPDATE leases SET until_at = 0")
		swept := start(t, d.settings(tenantSettings...)...)
		until(t, "the sweep", func() bool {
			for _, table := range []string{"users", "sessions", "credentials", "identities", "signing_keys", "challenges", "outbox", "events", "audit_trail"} {
				if d.one(t, "SELECT count(*) FROM "+table+" WHERE tenant_id = "+literal) != "0" {
					return false
				}
			}
			return true
		})
		swept.do(200, "GET", "/t/store/user", nil, bearer(tokens[1]))
		swept.do(200, "GET", "/user", nil, bearer(tokens[2]))
		again := d.addTenant(t, "shop", "--host", "shop.example")
		within(t, "the next of that name", func() bool {
			a, err := swept.ask("GET", "/t/shop/settings", nil)
			return err == nil && a.status == 200
		})
		if again == id {
			t.Error("the new tenant is the old one")
		}
		swept.do(400, "POST", "/t/shop/token?grant_type=password", object{"email": ada, "password": password})
		swept.do(403, "GET", "/t/shop/user", nil, bearer(tokens[0]))
	})
}

// What one tenant's clients use up is not counted against another's.
func TestTenants_limitsAreEachOnesOwn(t *testing.T) {
	t.Parallel()
	onEngines(t, func(t *testing.T, d database) {
		s := start(t, d.settings("GATEHOUSE_RATE_LIMIT_HEADER=X-Client")...)
		d.addTenant(t, "shop")
		d.addTenant(t, "store")
		within(t, "the tenants", func() bool {
			a, errA := s.ask("GET", "/t/shop/settings", nil)
			b, errB := s.ask("GET", "/t/store/settings", nil)
			return errA == nil && errB == nil && a.status == 200 && b.status == 200
		})
		const client = "X-Client: 198.51.100.7"
		recover := func(at string, i int) answer {
			a, err := s.ask("POST", at+"/recover", object{"email": fmt.Sprintf("u%d@example.com", i)}, client)
			if err != nil {
				t.Fatal(err)
			}
			return a
		}
		n := 0
		for ; n < 100 && recover("/t/shop", n).status == 200; n++ {
		}
		if n == 100 {
			t.Fatal("there is no limit to reach")
		}
		for _, at := range []string{"/t/store", ""} {
			if a := recover(at, 0); a.status != 200 {
				t.Errorf("%q is told %d %s of what the shop's clients did", at, a.status, a.body)
			}
		}
		for _, at := range []string{"/t/shop", "/t/store", ""} {
			s.do(200, "POST", at+"/admin/users", object{"email": ada, "password": password, "email_confirm": true}, bearer(operator))
		}
		wrong := func(at string, i int) int {
			a, err := s.ask("POST", at+"/token?grant_type=password", object{"email": ada, "password": "wrong"}, fmt.Sprintf("X-Client: 198.51.100.%d", i+10))
			if err != nil {
				t.Fatal(err)
			}
			return a.status
		}
		for n = 0; n < 100 && wrong("/t/shop", n) == 400; n++ {
		}
		if n == 100 {
			t.Fatal("passwords can be guessed without end")
		}
		for _, at := range []string{"/t/store", ""} {
			s.do(200, "POST", at+"/token?grant_type=password", object{"email": ada, "password": password}, "X-Client: 198.51.100.200")
		}
	})
}

// No way of writing a path or a host leads past its tenant.
//
// Mission: U14
func TestThreat_I12_aTenantIsFoundByItsPlainNameAlone(t *testing.T) {
	t.Parallel()
	s := start(t)
	for _, name := range []string{"shop", "store"} {
		s.do(201, "POST", "/admin/tenants", object{"name": name, "hosts": []string{name + ".example"}, "settings": object{"JWT_AUD": name}}, bearer(operator))
		s.do(200, "POST", "/t/"+name+"/admin/users", object{"email": name + "@example.com", "password": password, "email_confirm": true}, bearer(operator))
	}
	for _, path := range []string{
		"/t/shop%2F..%2Fstore/admin/users", "/t/shop%2fadmin/users", "/t/%73hop/admin/users", "/t/SHOP/admin/users", "/t/shop%00/admin/users", "/t/shop./admin/users",
		"/t//admin/users", "/t/shop%20/admin/users", "/t/default/admin/users", "/t/../store/admin/users", "/t/" + strings.Repeat("a", 5000) + "/admin/users", "/t/shop/t/store/admin/users", "/t",
	} {
		a, err := s.ask("GET", path, nil, bearer(operator))
		if err != nil || a.status < 300 || strings.Contains(a.body, "store@example.com") || strings.Contains(a.body, "shop@example.com") {
			t.Errorf("%.60s: %d %.200s, %v", path, a.status, a.body, err)
		}
	}
	for host, want := range map[string]string{
		"shop.example": "shop@", "SHOP.example": "shop@", "shop.example.": "shop@", "shop.example:8081": "shop@", "store.example": "store@",
		"evil.shop.example": "", "shop.example.evil": "", "xshop.example": "", "example": "", "shop": "",
	} {
		a := s.do(200, "GET", "/admin/users", nil, bearer(operator), "Host: "+host)
		if got := strings.Contains(a.body, "@example.com"); got != (want != "") || !strings.Contains(a.body, want) {
			t.Errorf("Host %s: %s", host, a.body)
		}
		// A host that a proxy names for its own ends picks nothing.
		a = s.do(200, "GET", "/admin/users", nil, bearer(operator), "X-Forwarded-Host: "+host, "Forwarded: host="+host, "X-Original-Host: "+host)
		if strings.Contains(a.body, "@example.com") {
			t.Errorf("X-Forwarded-Host %s: %s", host, a.body)
		}
	}
	// Pages name their neighbours from where they are, below the slash.
	if a := s.do(308, "GET", "/t/shop", nil); a.header.Get("Location") != "/t/shop/" {
		t.Errorf("/t/shop leads to %q", a.header.Get("Location"))
	}
	s.do(404, "GET", "/t/nobody", nil)
	// At another tenant's host a path names nobody; at its own it does.
	s.do(404, "GET", "/t/shop/admin/users", nil, bearer(operator), "Host: store.example")
	if a := s.do(200, "GET", "/t/shop/admin/users", nil, bearer(operator), "Host: shop.example"); !strings.Contains(a.body, "shop@example.com") {
		t.Errorf("by path and host: %s", a.body)
	}
	// Without multi-instance mode the header of a proxy means nothing.
	id := s.do(200, "GET", "/admin/tenants/shop", nil, bearer(operator)).text("id")
	if a := s.do(200, "GET", "/admin/users", nil, bearer(operator), xnf(t, id, nil)); strings.Contains(a.body, "shop@example.com") {
		t.Errorf("x-nf-sign: %s", a.body)
	}
	s.do(401, "GET", "/admin/tenants", nil)
	s.do(404, "GET", "/t/shop/admin/tenants", nil, bearer(operator)) // tenants are no tenant's
}

// Mission: U14
func TestMulti_instancesAreServedAsNetlifysServerDoes(t *testing.T) {
	t.Parallel()
	onEngines(t, func(t *testing.T, d database) {
		s := newServerOf(t, d)
		s.do(200, "GET", "/health", nil)
		s.do(200, "GET", "/", nil, bearer(operator))
		s.do(401, "GET", "/", nil)
		for _, page := range []string{"/setup", "/dev/inbox"} { // no browser reaches them without the header
			if strings.Contains(s.out.String(), page) {
				t.Errorf("the banner speaks of %s: %s", page, s.out)
			}
		}
		make := func(uuid string, config object) string {
			made := s.do(201, "POST", "/instances", object{"uuid": uuid, "config": config}, bearer(operator))
			if got := made.text("endpoint"); got != s.url {
				t.Errorf("endpoint: got %q, want %q", got, s.url)
			}
			return made.text("id")
		}
		one := make("one", object{"site_url": "https://one.example", "mailer": object{"autoconfirm": true}, "jwt": object{"exp": 120}})
		two := make("two", object{"site_url": "https://two.example", "smtp": object{"max_frequency": 0}})
		s.do(400, "POST", "/instances", object{"uuid": "one"}, bearer(operator))
		for name, header := range map[string]string{
			"missing": "X-A: b", "rubbish": "X-Nf-Sign: rubbish", "nobody's id": xnf(t, "", nil), "the default tenant's id": xnf(t, "00000000-0000-0000-0000-000000000000", nil),
			"expired": xnf(t, one, jwt.MapClaims{"exp": 1}),
		} {
			for _, ask := range [][2]string{{"GET", "/settings"}, {"GET", "/user/health"}, {"POST", "/health"}, {"POST", "/signup"}, {"GET", "/admin/users"}, {"GET", "/dev/inbox.json"}} {
				a, err := s.ask(ask[0], ask[1], object{}, header, bearer(operator))
				if err != nil || a.status != http.StatusBadRequest || !strings.HasPrefix(a.text("msg"), "Operator microservice headers") {
					t.Errorf("%s %s, %s: %d %s, %v", ask[0], ask[1], name, a.status, a.body, err)
				}
			}
		}
		s.do(404, "GET", "/settings", nil, xnf(t, "0b0a0000-0000-4000-8000-00000000abcd", nil))

		in := s.do(200, "POST", "/signup", object{"email": ada, "password": password}, xnf(t, one, nil))
		access := in.text("access_token")
		if exp := in.at("expires_in"); exp != 120.0 {
			t.Errorf("the token of one is good for %v seconds, want 120", exp)
		}
		s.do(200, "GET", "/user", nil, bearer(access), xnf(t, one, nil))
		s.do(200, "GET", "/user", nil, bearer(access), xnf(t, one, jwt.MapClaims{"site_url": "https://preview.example"}))
		s.do(403, "GET", "/user", nil, bearer(access), xnf(t, two, nil))

		// The claim's site wins, for this request alone.
		link := func(claim jwt.MapClaims) string {
			s.do(200, "POST", "/recover", object{"email": ada}, xnf(t, one, claim), "X-Nf-Client: gotrue-js")
			var links []string
			until(t, "mail", func() bool {
				var mails []struct{ Links []string }
				_ = json.Unmarshal([]byte(s.do(200, "GET", "/dev/inbox.json", nil, xnf(t, one, nil)).body), &mails)
				if len(mails) > 0 {
					links = mails[0].Links
				}
				return len(mails) > 0 && slices.ContainsFunc(links, func(l string) bool { return claim == nil || strings.Contains(l, "preview.example") })
			})
			return strings.Join(links, " ")
		}
		if l := link(jwt.MapClaims{"site_url": "https://preview.example"}); !strings.Contains(l, "https://preview.example/") {
			t.Errorf("the link leads to %s", l)
		}
		s.do(200, "PUT", "/instances/"+one, object{"config": object{"disable_signup": true}}, bearer(operator))
		for _, claim := range []jwt.MapClaims{nil, {"site_url": "https://preview.example"}} {
			if a := s.do(200, "GET", "/settings", nil, xnf(t, one, claim)); a.at("disable_signup") != true || a.at("autoconfirm") != true {
				t.Errorf("after the change, with %v: %s", claim, a.body)
			}
		}
		s.do(204, "DELETE", "/instances/"+one, nil, bearer(operator))
		s.do(404, "GET", "/settings", nil, xnf(t, one, nil))
		s.do(404, "GET", "/user", nil, bearer(access), xnf(t, one, jwt.MapClaims{"site_url": "https://preview.example"}))
		s.do(200, "GET", "/settings", nil, xnf(t, two, nil))
	})
}

// newServerOf starts a multi-instance server.
func newServerOf(t *testing.T, d database, own ...string) *server {
	t.Helper()
	return start(t, append(d.settings(tenantSettings...), append(own, "GATEHOUSE_MULTIINSTANCEMODE=true")...)...)
}

// Mission: U14
func TestThreat_I01_norWhereAProxySignsForTenants(t *testing.T) {
	t.Parallel()
	onEngines(t, func(t *testing.T, d database) {
		s := newServerOf(t, d)
		var list []entrance
		for _, name := range []string{"one", "two", "three"} {
			id := s.do(201, "POST", "/instances", object{"uuid": name}, bearer(operator)).text("id")
			list = append(list, entrance{t: t, name: "instance " + name, tenant: id, id: id, nodes: []*server{s}, next: new(atomic.Int64), headers: []string{xnf(t, id, nil)}})
		}
		isolated(t, list, d.issue(t))
	})
}
