package main

import (
	"net/url"
	"strings"
	"testing"
)

// One life of a user, by the way of each family of clients.
//
// Mission: R08, R12, V01, V03, V06, V07, S01, S20, T20, T24, U01, U03, U17, T11
func TestFlow_signUpToSignOut(t *testing.T) {
	t.Parallel()
	onEngines(t, func(t *testing.T, d database) {
		s := start(t, d.settings()...)
		for name, c := range map[string]struct {
			prefix  string
			netlify bool
		}{
			"at the root":    {"", false},
			"like Supabase":  {"/auth/v1", false},
			"like Netlify":   {"/.netlify/identity", true},
			"by its headers": {"", true},
		} {
			t.Run(name, func(t *testing.T) {
				s := *s
				s.t = t
				email := strings.ToLower(strings.ReplaceAll(name, " ", "-")) + "@example.com"
				family := "X-Client-Info: supabase-js/2"
				if c.netlify {
					family = "X-Nf-Client: 1"
				}
				do := func(status int, method, path string, body any, headers ...string) answer {
					t.Helper()
					return s.do(status, method, c.prefix+path, body, append(headers, family)...)
				}
				// By address or by form: both forms of the password grant.
				grant := func(status int) answer {
					t.Helper()
					if c.netlify {
						return do(status, "POST", "/token", url.Values{"grant_type": {"password"}, "username": {email}, "password": {password}})
					}
					return do(status, "POST", "/token?grant_type=password", object{"email": email, "password": password})
				}

				// A user, a mail, and no session yet.
				a := do(200, "POST", "/signup", object{"email": strings.ToUpper(email), "password": password, "data": object{"name": "Ada", "age": 36, "tall": true}})
				if a.text("id") == "" || a.text("email") != email || a.text("confirmation_sent_at") == "" || a.at("confirmed_at") != nil || a.at("access_token") != nil {
					t.Fatalf("sign-up is answered %s", a.body)
				}
				if a.text("user_metadata", "name") != "Ada" || a.at("user_metadata", "age") != 36.0 || a.at("user_metadata", "tall") != true {
					t.Errorf("the metadata is %v", a.at("user_metadata"))
				}
				grant(400)
				m := s.mail(email, 1)

				// The link.
				var access, refresh string
				link, err := url.Parse(m.Links[0])
				if err != nil {
					t.Fatal(err)
				}
				if c.netlify {
					secret, ok := strings.CutPrefix(link.Fragment, "confirmation_token=")
					if !ok || !strings.HasPrefix(m.Links[0], s.url+"/#") {
						t.Fatalf("the link is %s, want the site with a confirmation_token", m.Links[0])
					}
					a = do(200, "POST", "/verify", object{"type": "signup", "token": secret})
					access, refresh = a.text("access_token"), a.text("refresh_token")
				} else {
					s.do(200, "HEAD", m.Links[0], nil) // a scanner
					s.do(200, "GET", m.Links[0], nil)  // another
					target, said := s.follow(m.Links[0])
					if strings.TrimSuffix(target, "/") != s.url || said.Get("type") != "signup" {
						t.Errorf("the link leads to %s with %v", target, said)
					}
					access, refresh = said.Get("access_token"), said.Get("refresh_token")
				}
				if access == "" || refresh == "" {
					t.Fatal("the link gave no session")
				}

				// The session.
				do(401, "GET", "/user", nil)
				bad := 403
				if c.netlify {
					bad = 401
				}
				do(bad, "GET", "/user", nil, bearer("rubbish"))
				a = do(200, "GET", "/user", nil, bearer(access))
				if a.text("email") != email || a.text("confirmed_at") == "" || a.text("created_at") == "" || a.text("updated_at") == "" || a.text("last_sign_in_at") == "" {
					t.Errorf("the user is %s", a.body)
				}
				do(200, "PUT", "/user", object{"data": object{"age": 37, "name": nil, "note": "x"}}, bearer(access))
				a = do(200, "GET", "/user", nil, bearer(access))
				if meta, _ := a.at("user_metadata").(object); meta["age"] != 37.0 || meta["tall"] != true || meta["note"] != "x" || meta["name"] != nil {
					t.Errorf("after a change the metadata is %v", a.at("user_metadata"))
				}

				// Signing in and refreshing.
				a = grant(200)
				if a.text("access_token") == "" || a.text("token_type") != "bearer" || a.at("expires_in") != 3600.0 || a.text("refresh_token") == "" {
					t.Errorf("the password grant is answered %s", a.body)
				}
				var next answer
				if c.netlify {
					next = do(200, "POST", "/token", url.Values{"grant_type": {"refresh_token"}, "refresh_token": {a.text("refresh_token")}})
				} else {
					next = do(200, "POST", "/token?grant_type=refresh_token", object{"refresh_token": a.text("refresh_token")})
				}
				if next.text("refresh_token") == a.text("refresh_token") || next.text("refresh_token") == "" {
					t.Errorf("refreshing is answered %s", next.body)
				}
				do(200, "GET", "/user", nil, bearer(next.text("access_token")))

				// Signing out ends this session and the one the link opened.
				do(204, "POST", "/logout", nil, bearer(next.text("access_token")))
				for _, dead := range []string{next.text("refresh_token"), refresh} {
					do(400, "POST", "/token?grant_type=refresh_token", object{"refresh_token": dead})
				}
				do(bad, "GET", "/user", nil, bearer(access))
			})
		}
	})
}

// The same steps with confirmation on and off, and what differs.
//
// Mission: R06, R07, R08, R13, V06, V13
func TestSignUp_confirmationIsASwitch(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		setting string
		atOnce  bool // usable at once
		mails   int
		again   int // status of a second sign-up
	}{
		"on":  {"GOTRUE_MAILER_AUTOCONFIRM=false", false, 1, 200},
		"off": {"GOTRUE_MAILER_AUTOCONFIRM=true", true, 0, 422},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, c.setting, "GOTRUE_SMTP_MAX_FREQUENCY=0s")
			if a := s.do(200, "GET", "/settings", nil); (a.at("autoconfirm") == true) != c.atOnce || (a.at("mailer_autoconfirm") == true) != c.atOnce {
				t.Errorf("the settings say %s", a.body)
			}
			a := s.do(200, "POST", "/signup", object{"email": "ada@example.com", "password": password})
			if got := a.text("access_token") != ""; got != c.atOnce {
				t.Errorf("a session at once: got %t, want %t: %s", got, c.atOnce, a.body)
			}
			if got := a.text("confirmation_sent_at") != ""; got == c.atOnce {
				t.Errorf("confirmation_sent_at is there: %t: %s", got, a.body)
			}
			s.delivered()
			mails := s.inbox("ada@example.com")
			if len(mails) != c.mails {
				t.Fatalf("got %d mails, want %d", len(mails), c.mails)
			}
			if c.atOnce {
				s.signIn("ada@example.com", password)
			} else {
				refused := s.refuseSignIn(400, "ada@example.com", password)
				if refused.text("error_code") != "email_not_confirmed" {
					t.Errorf("an unconfirmed sign-in is refused with %s", refused.body)
				}
				s.follow(mails[0].Links[0])
				s.signIn("ada@example.com", password)
			}

			// The same address again makes nobody and opens nothing. With
			// confirmation the answer does not even tell that it is taken.
			again := s.do(c.again, "POST", "/signup", object{"email": "ADA@example.com", "password": "another password"})
			if c.atOnce && again.text("error_code") != "user_already_exists" {
				t.Errorf("the second sign-up is answered %s", again.body)
			}
			if again.text("access_token") != "" {
				t.Errorf("the second sign-up opened a session: %s", again.body)
			}
			users := s.do(200, "GET", "/admin/users", nil, bearer(operator))
			if got := users.header.Get("X-Total-Count"); got != "1" {
				t.Errorf("there are %s users, want 1", got)
			}
			s.refuseSignIn(400, "ada@example.com", "another password")
			s.signIn("ada@example.com", password)
		})
	}
}

// Mission: R06, R13
func TestSignUp_tellsThatAnAddressIsTakenWhereAsked(t *testing.T) {
	t.Parallel()
	s := start(t, "GATEHOUSE_DIALECT=netlify")
	s.person("ada@example.com")
	a := s.do(400, "POST", "/signup", object{"email": "ada@example.com", "password": "another password"})
	if got := a.text("msg"); got != "A user with this email address has already been registered" {
		t.Errorf("the second sign-up is answered %s", a.body)
	}
	s.signIn("ada@example.com", password)
}

// Mission: R23
func TestSignUp_refusesWhatIsNoAddress(t *testing.T) {
	t.Parallel()
	s := start(t)
	for _, email := range []string{"not_email", "", "a@", "@b.c", "a b@example.com", "a@example.com\r\nBcc: x@example.com"} {
		s.do(400, "POST", "/signup", object{"email": email, "password": password})
		s.do(422, "POST", "/.netlify/identity/signup", object{"email": email, "password": password})
	}
	if got := s.do(200, "GET", "/admin/users", nil, bearer(operator)).header.Get("X-Total-Count"); got != "0" {
		t.Errorf("there are %s users, want 0", got)
	}
}

// Mission: R18, R19, V03
func TestSignUp_closedStillInvites(t *testing.T) {
	t.Parallel()
	s := start(t, "GOTRUE_DISABLE_SIGNUP=true")
	if a := s.do(200, "GET", "/settings", nil); a.at("disable_signup") != true {
		t.Errorf("the settings say %s", a.body)
	}
	ada := object{"email": "ada@example.com", "password": password}
	if a := s.do(422, "POST", "/signup", ada); a.text("error_code") != "signup_disabled" {
		t.Errorf("signing up is answered %s", a.body)
	}
	s.do(403, "POST", "/.netlify/identity/signup", ada)
	// A code that may make no user is answered like any other, and not sent.
	s.do(200, "POST", "/otp", object{"email": "ada@example.com", "create_user": true})
	s.delivered()
	if got := len(s.inbox("ada@example.com")); got != 0 {
		t.Errorf("who may not sign up has %d mails", got)
	}

	// By invitation, accepted as Netlify's clients do and as Supabase's do.
	s.do(401, "POST", "/invite", object{"email": "bob@example.com"})
	for email, prefix := range map[string]string{"bob@example.com": "/.netlify/identity", "eve@example.com": ""} {
		a := s.do(200, "POST", prefix+"/invite", object{"email": email, "data": object{"name": "B"}}, bearer(operator))
		if a.text("invited_at") == "" || a.at("confirmed_at") != nil {
			t.Errorf("the invited user is %s", a.body)
		}
		m := s.mail(email, 1)
		if m.Subject != "You have been invited" {
			t.Errorf("the subject is %q", m.Subject)
		}
		var access string
		if prefix == "" {
			_, said := s.follow(m.Links[0])
			access = said.Get("access_token")
			s.do(200, "PUT", "/user", object{"password": password}, bearer(access))
		} else {
			_, secret, ok := strings.Cut(m.Links[0], "#invite_token=")
			if !ok {
				t.Fatalf("the link is %s, want an invite_token", m.Links[0])
			}
			need := s.do(422, "POST", prefix+"/verify", object{"type": "signup", "token": secret})
			if need.text("msg") != "Invited users must specify a password" {
				t.Errorf("without a password the invitation is answered %s", need.body)
			}
			access = s.do(200, "POST", prefix+"/verify", object{"type": "signup", "token": secret, "password": password}).text("access_token")
		}
		a = s.do(200, "GET", "/user", nil, bearer(access))
		if a.text("email") != email || a.text("confirmed_at") == "" {
			t.Errorf("after the invitation the user is %s", a.body)
		}
		s.signIn(email, password)
	}
}

// Mission: V02
func TestVerify_aDeadLinkSaysSoAndChangesNothing(t *testing.T) {
	t.Parallel()
	s := start(t)
	s.do(200, "POST", "/signup", object{"email": "ada@example.com", "password": password})
	link := s.mail("ada@example.com", 1).Links[0]
	u, err := url.Parse(link)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	wrong := url.Values{"type": q["type"], "redirect_to": q["redirect_to"], "token": {strings.Repeat("A", 43)}}
	dead := func(what string, a answer) {
		t.Helper()
		_, said := s.location(a)
		if said.Get("error") != "access_denied" || said.Get("error_code") != "otp_expired" || said.Has("access_token") {
			t.Errorf("%s leads to %v", what, said)
		}
	}
	dead("a wrong link", s.do(303, "GET", "/verify?"+wrong.Encode(), nil))
	dead("a wrong form", s.do(303, "POST", "/verify", wrong))
	s.do(400, "POST", "/verify", q, "Sec-Fetch-Site: cross-site") // somebody else's page presses the button
	s.refuseSignIn(400, "ada@example.com", password)
	s.follow(link)
	dead("a used link", s.do(303, "GET", link, nil))
	dead("a used form", s.do(303, "POST", "/verify", q))
	s.signIn("ada@example.com", password)
}

// Scanners spend the link where the operator wants clicks to finish at once;
// what browsers fetch ahead does not.
func TestVerify_directLinksFinishAtOnce(t *testing.T) {
	t.Parallel()
	s := start(t, "GATEHOUSE_MAILER_LINK_MODE=direct")
	s.do(200, "POST", "/signup", object{"email": "ada@example.com", "password": password})
	link := s.mail("ada@example.com", 1).Links[0]
	s.do(200, "HEAD", link, nil)
	s.do(200, "GET", link, nil, "Sec-Purpose: prefetch")
	_, said := s.location(s.do(303, "GET", link, nil))
	s.do(200, "GET", "/user", nil, bearer(said.Get("access_token")))
}

// Mission: P02, P04, P07, P09
func TestRecover_givesANewPassword(t *testing.T) {
	t.Parallel()
	onEngines(t, func(t *testing.T, d database) {
		s := start(t, d.settings("GOTRUE_SMTP_MAX_FREQUENCY=0s")...)
		s.person("ada@example.com")
		other := s.signIn("ada@example.com", password)

		// Nobody learns who is here.
		known := s.do(200, "POST", "/recover", object{"email": "ada@example.com"})
		unknown := s.do(200, "POST", "/recover", object{"email": "nobody@example.com"})
		if known.body != unknown.body {
			t.Errorf("known %s, unknown %s", known.body, unknown.body)
		}
		first := s.mail("ada@example.com", 1)

		// The newer link replaces the older.
		s.do(200, "POST", "/recover", object{"email": "ada@example.com"})
		second := s.mail("ada@example.com", 2)
		_, said := s.location(s.do(303, "POST", first.Links[0], mustQuery(t, first.Links[0])))
		if said.Get("error_code") != "otp_expired" {
			t.Errorf("the older link leads to %v", said)
		}
		s.do(403, "POST", "/verify", object{"type": "recovery", "email": "ada@example.com", "token": first.Code})
		a := s.do(200, "POST", "/verify", object{"type": "recovery", "token_hash": mustQuery(t, second.Links[0]).Get("token")})
		access := a.text("access_token")

		// Rules hold here too, and the old password is over at once.
		weak := s.do(422, "PUT", "/user", object{"password": "abc"}, bearer(access))
		if weak.text("error_code") != "weak_password" {
			t.Errorf("a weak password is answered %s", weak.body)
		}
		s.do(422, "PUT", "/user", object{"password": password}, bearer(access))
		s.do(200, "PUT", "/user", object{"password": "quite another one"}, bearer(access))
		s.refuseSignIn(400, "ada@example.com", password)
		s.signIn("ada@example.com", "quite another one")
		s.refresh(400, other.text("refresh_token")) // whoever knew the old one is out
		s.do(200, "GET", "/user", nil, bearer(access))
		s.delivered()
		if got := s.inbox("nobody@example.com"); len(got) != 0 {
			t.Errorf("a stranger got %d mails", len(got))
		}
	})
}

func mustQuery(t *testing.T, link string) url.Values {
	t.Helper()
	u, err := url.Parse(link)
	if err != nil {
		t.Fatal(err)
	}
	return u.Query()
}

// Mission: V11
func TestMail_comesOnceInAWhile(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		frequency     string
		status, mails int
	}{
		"within a minute":   {"1m", 429, 1},
		"without any limit": {"0s", 200, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, "GOTRUE_SMTP_MAX_FREQUENCY="+c.frequency)
			s.person("ada@example.com")
			s.do(200, "POST", "/recover", object{"email": "ada@example.com"})
			s.mail("ada@example.com", 1)
			a := s.do(c.status, "POST", "/recover", object{"email": "ada@example.com"})
			if wait := a.header.Get("Retry-After"); (wait != "") != (c.status == 429) {
				t.Errorf("Retry-After is %q", wait)
			}
			s.delivered()
			if got := len(s.inbox("ada@example.com")); got != c.mails {
				t.Errorf("got %d mails, want %d", got, c.mails)
			}
		})
	}
}

// Mission: M06
func TestRedirect_leadsOnlyWhereTheListSays(t *testing.T) {
	t.Parallel()
	s := start(t, "GOTRUE_SITE_URL=https://app.example.com/home", "GOTRUE_URI_ALLOW_LIST=https://*.preview.example.com/**,app://done", "GOTRUE_SMTP_MAX_FREQUENCY=0s", "GATEHOUSE_MAILER_MAX_PER_RECIPIENT=0")
	s.person("ada@example.com")
	n := 0
	for asked, want := range map[string]string{
		"":                                            "https://app.example.com/home",
		"https://app.example.com/other":               "https://app.example.com/other",
		"https://a.preview.example.com/x?y=z":         "https://a.preview.example.com/x?y=z",
		"app://done":                                  "app://done",
		"https://evil.example":                        "https://app.example.com/home",
		"https://app.example.com.evil.example":        "https://app.example.com/home",
		"https://app.example.com@evil.example":        "https://app.example.com/home",
		"//evil.example":                              "https://app.example.com/home",
		"https://evil.example/a.preview.example.com/": "https://app.example.com/home",
		"javascript:alert(1)":                         "https://app.example.com/home",
		"http://127.0.0.1:9/":                         "https://app.example.com/home",
	} {
		n++
		s.do(200, "POST", "/recover?redirect_to="+url.QueryEscape(asked), object{"email": "ada@example.com"})
		link := s.mail("ada@example.com", n).Links[0]
		target, said := s.follow(link)
		if target != want || said.Get("access_token") == "" {
			t.Errorf("%q leads to %q, want %q", asked, target, want)
		}
		// Nor does a link somebody has changed on the way.
		s.do(200, "POST", "/recover", object{"email": "ada@example.com"})
		n++
		q := mustQuery(t, s.mail("ada@example.com", n).Links[0])
		q.Set("redirect_to", asked)
		target, _ = s.location(s.do(303, "POST", "/verify", q))
		if target != want {
			t.Errorf("a link changed to %q leads to %q, want %q", asked, target, want)
		}
	}
}
