package gotrue_test

import (
	"testing"
	"time"

	"gatehouse/internal/authtest"
	"gatehouse/internal/dialect/gotrue"
	"gatehouse/internal/dialecttest"
)

// words are what the house section of a transcript may ask for.
var words = map[string]func(*setup){
	"autoconfirm":      func(s *setup) { s.policy.Autoconfirm = true },
	"signup-disabled":  func(s *setup) { s.policy.SignupDisabled = true },
	"email-disabled":   func(s *setup) { s.policy.EmailDisabled = true },
	"no-magic-link":    func(s *setup) { s.policy.MagicLinkDisabled = true },
	"one-confirmation": func(s *setup) { s.policy.SecureEmailChange = false },
	"digits":           func(s *setup) { s.policy.RequiredCharacters = []string{"0123456789"} },
	"reauthenticate":   func(s *setup) { s.policy.ReauthenticatePW = true },
	"current-password": func(s *setup) { s.policy.CurrentPW = true },
	"timebox":          func(s *setup) { s.policy.SessionTimebox = 2 * time.Hour },
	"netlify":          func(s *setup) { s.edge.Manners, s.edge.TellTaken = gotrue.Netlify, true },
	"supabase":         func(s *setup) { s.edge.Manners = gotrue.Supabase },
	"direct":           func(s *setup) { s.edge.DirectLinks = true },
	"limited":          func(s *setup) { s.server.AddressHeader = "X-Client" },
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
		vars := map[string]string{"operator": authtest.Policy().OperatorToken, "service": h.serviceToken()}
		for _, email := range users { // any other word is the address of somebody who is there already
			vars["id"] = h.newUser(email).String()
		}
		return dialecttest.Subject{Handler: h.front, Mails: h.mailsTo, Advance: h.Clock.Advance, Vars: vars}
	})
}
