package main

import (
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// A tenant that named a file of the server's had it mailed to itself.
func TestThreat_K03_aTenantsTemplateIsNoFileOfTheServer(t *testing.T) {
	t.Parallel()
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Write([]byte("from the site " + r.URL.Path)) }))
	defer site.Close()
	dir := t.TempDir()
	shared, secret := filepath.Join(dir, "shared.html"), filepath.Join(dir, "master.key")
	for name, text := range map[string]string{shared: "the server's words", secret: "the master key"} {
		err := os.WriteFile(name, []byte(text), 0o600)
		if err != nil {
			t.Fatal(err)
		}
	}
	m := listenMail(t, false)
	s := start(t, m.settings("GATEHOUSE_MAILER_TEMPLATES_INVITE="+shared, "GATEHOUSE_OUTGOING_ALLOW_PRIVATE=true")...)
	s.do(201, "POST", "/admin/tenants", object{"name": "shop", "settings": object{
		"SITE_URL": site.URL, "MAILER_TEMPLATES_RECOVERY": secret, "MAILER_TEMPLATES_MAGIC_LINK": "../master.key",
	}}, bearer(operator))
	s.do(200, "POST", "/t/shop/invite", object{"email": "invited@example.com"}, bearer(operator))
	s.do(200, "POST", "/t/shop/admin/users", object{"email": "ada@example.com", "password": password, "email_confirm": true}, bearer(operator))
	s.do(200, "POST", "/t/shop/recover", object{"email": "ada@example.com"})
	s.do(200, "POST", "/t/shop/admin/users", object{"email": "bob@example.com", "password": password, "email_confirm": true}, bearer(operator))
	s.do(200, "POST", "/t/shop/otp", object{"email": "bob@example.com"})
	for to, want := range map[string]string{"invited@example.com": "the server's words", "ada@example.com": "from the site " + secret, "bob@example.com": "href="} {
		if got := m.await(t, to, 1).html; !strings.Contains(got, want) || strings.Contains(got, "the master key") {
			t.Errorf("the mail to %s is %q, want %q in it", to, got, want)
		}
	}
}

// At another tenant's host a tenant would share its origin: cookies, storage, and
// the name people trust.
func TestThreat_I01_aTenantIsNotAtAnothersHost(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.do(201, "POST", "/admin/tenants", object{"name": "shop", "hosts": []string{"shop.example"}}, bearer(operator))
	s.do(201, "POST", "/admin/tenants", object{"name": "evil"}, bearer(operator))
	for _, c := range []struct {
		host, path string
		status     int
	}{
		{"shop.example", "/settings", 200},
		{"shop.example", "/t/shop/settings", 200},
		{"shop.example", "/t/evil/settings", 404},
		{"SHOP.example.:443", "/t/evil/verify?token=x&type=signup&redirect_to=https://evil.example", 404},
		{"auth.example", "/t/evil/settings", 200},
		{"auth.example", "/t/shop/settings", 200},
	} {
		if a := s.do(c.status, "GET", c.path, nil, "Host: "+c.host); c.status == 404 && !strings.Contains(a.body, "Unable to locate site configuration") {
			t.Errorf("%s%s: %s", c.host, c.path, a.body)
		}
	}
}

// A mail server inside takes mail from neighbours for anybody.
func TestThreat_K01_aTenantsMailServerIsNotInside(t *testing.T) {
	t.Parallel()
	for name, private := range map[string]bool{"kept out": false, "let in": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			operators, inner := listenMail(t, false), listenMail(t, false)
			s := start(t, operators.settings("GATEHOUSE_OUTGOING_ALLOW_PRIVATE="+strconv.FormatBool(private))...)
			_, port, _ := net.SplitHostPort(inner.l.Addr().String())
			for tenant, settings := range map[string]object{
				"none": {}, "host": {"SMTP_HOST": "localhost", "SMTP_PORT": port}, "port": {"SMTP_PORT": port},
			} {
				s.do(201, "POST", "/admin/tenants", object{"name": tenant, "settings": settings}, bearer(operator))
				s.do(200, "POST", "/t/"+tenant+"/invite", object{"email": tenant + "@example.com"}, bearer(operator))
			}
			operators.await(t, "none@example.com", 1)
			if private {
				inner.await(t, "host@example.com", 1)
				inner.await(t, "port@example.com", 1)
				return
			}
			for _, host := range []string{"localhost", "127.0.0.1"} {
				_, err := s.log.await(`smtp `+host+`:`+port+`: .*the address is not allowed`, s.ended)
				if err != nil {
					t.Error(err)
				}
			}
			if met, _ := inner.counts(); met != 0 {
				t.Errorf("the server inside was called %d times", met)
			}
		})
	}
}
