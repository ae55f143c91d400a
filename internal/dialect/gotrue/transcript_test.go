package gotrue_test

import (
	"testing"
	"time"

	"gatehouse/internal/auth"
	"gatehouse/internal/authtest"
	"gatehouse/internal/dialect/gotrue"
	"gatehouse/internal/dialecttest"
	"gatehouse/internal/notify"
)

// words are what the house section of a transcript may ask for.
var words = map[string]func(*setup){
	"autoconfirm":       func(s *setup) { s.policy.Autoconfirm = true },
	"signup-disabled":   func(s *setup) { s.policy.SignupDisabled = true },
	"email-disabled":    func(s *setup) { s.policy.EmailDisabled = true },
	"no-magic-link":     func(s *setup) { s.policy.MagicLinkDisabled = true },
	"one-confirmation":  func(s *setup) { s.policy.SecureEmailChange = false },
	"digits":            func(s *setup) { s.policy.RequiredCharacters = []string{"0123456789"} },
	"reauthenticate":    func(s *setup) { s.policy.ReauthenticatePW = true },
	"current-password":  func(s *setup) { s.policy.CurrentPW = true },
	"timebox":           func(s *setup) { s.policy.SessionTimebox = 2 * time.Hour },
	"netlify":           func(s *setup) { s.edge.Manners, s.policy.Reveal = gotrue.Netlify, auth.RevealAll },
	"supabase":          func(s *setup) { s.edge.Manners = gotrue.Supabase },
	"direct":            func(s *setup) { s.edge.DirectLinks = true },
	"phone":             func(s *setup) { s.policy.PhoneDisabled = false },
	"phone-autoconfirm": func(s *setup) { s.policy.PhoneDisabled, s.policy.PhoneAutoconfirm = false, true },
	"anonymous":         func(s *setup) { s.policy.AnonymousDisabled = false },
	"linking":           func(s *setup) { s.policy.LinkingDisabled = false },
	"reveal-hint":       func(s *setup) { s.policy.Reveal = auth.RevealHint },
	"reveal-all":        func(s *setup) { s.policy.Reveal = auth.RevealAll },
	"strict-pkce":       func(s *setup) { s.policy.StrictPKCE = true },
	"single-session":    func(s *setup) { s.policy.SingleSession = true },
	"inactivity":        func(s *setup) { s.policy.SessionInactivity = time.Hour },
	"cursor":            func(s *setup) { s.edge.CursorPages = true },
	"only-germany":      func(s *setup) { s.policy.SMSCountries = []string{"DE"} },
	"sms-budget":        func(s *setup) { s.policy.SMSBudget = 2 },
	"mail-only-to":      func(s *setup) { s.policy.MailOnlyTo = []string{"anna@example.com"} },
	"notices": func(s *setup) {
		s.policy.Notices = map[notify.Kind]bool{}
		for _, k := range notify.Kinds() {
			s.policy.Notices[k] = true
		}
	},
	"bare":     bare,
	"accounts": withAccounts,
	"company":  func(s *setup) { new(company).connected(s) },
	"captcha":  withCaptcha,
	"work":     withWork,
	"webhooks": func(s *setup) { s.endpoint = picky },
	"limited":  func(s *setup) { s.server.Clients.Header = "X-Client" },
}

// The wire forms of both families: testdata holds them.
func TestTranscripts(t *testing.T) {
	t.Parallel()
	dialecttest.Each(t, "testdata", func(t *testing.T, wanted []string) dialecttest.Subject {
		users := []string(nil)
		h := newHouse(t, func(s *setup) {
			for _, w := range wanted {
				if f, ok := words[w]; ok {
					f(s)
					continue
				}
				users = append(users, w)
			}
		})
		vars := map[string]string{
			"operator": authtest.Policy().OperatorToken, "service": h.serviceToken(),
			// "correct horse", as other systems keep it
			"bcrypt": "$2a$04$nf1vYq4wVlm1ylsbgfRVXuyqbnDN8ehDTe3v/ZTAt3IZTGzAQMIg6",
			"argon":  "$argon2id$v=19$m=64,t=1,p=1$MDEyMzQ1Njc4OWFiY2RlZg$MjZP1+1U9JUbDWvDvtLyEsZiNXOKEUxfi6O2oe46uxA",
		}
		for name, a := range people() {
			vars[name] = h.Elsewhere.Code(a)
		}
		for _, email := range users { // any other word is the address of somebody who is there already
			vars["id"] = h.newUser(email).String()
		}
		advance := func(d time.Duration) {
			h.Clock.Advance(d)
			h.fanOut()
		}
		return dialecttest.Subject{Handler: h.front, Mails: h.mailsTo, Advance: advance, Vars: vars, Description: description(t)}
	})
}
