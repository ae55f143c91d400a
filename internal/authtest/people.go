package authtest

import (
	"testing"

	"gatehouse/internal/auth"
	"gatehouse/internal/store"
)

// Kinds are the questions an edge lets a mailed secret answer when the client
// does not say which it means.
func Kinds() []auth.Kind {
	return []auth.Kind{
		auth.KindConfirmation, auth.KindInvite, auth.KindRecovery, auth.KindMagicLink, auth.KindChangeNew, auth.KindChangeCurrent,
	}
}

// Caller is somebody on the internet.
func Caller() auth.Caller {
	return auth.Caller{IP: "203.0.113.7", Agent: "authtest", RequestID: "r-1"}
}

// Operator is whoever runs the house.
func Operator() auth.Caller {
	return auth.Caller{IP: "127.0.0.1", Agent: "authtest", RequestID: "r-2", Actor: "operator"}
}

// Join signs an address up and confirms it by the mailed link, where the
// policy asks for that. It returns the first session.
func (h *House) Join(t testing.TB, email, password string) *auth.Grant {
	t.Helper()
	g, err := h.SignUp(t.Context(), Caller(), auth.NewUser{Email: email, Password: password}, Flow())
	if err != nil {
		t.Fatalf("sign up %s: %v", email, err)
	}
	if g.Access != "" {
		return g
	}
	return h.Follow(t, h.Mail(t, email).Token)
}

// JoinByPhone signs a number up, written without +, and confirms it by the code
// of the text message, where the policy asks for that.
func (h *House) JoinByPhone(t testing.TB, number, password string) *auth.Grant {
	t.Helper()
	g, err := h.SignUp(t.Context(), Caller(), auth.NewUser{Phone: number, Password: password}, Flow())
	if err != nil {
		t.Fatalf("sign up %s: %v", number, err)
	}
	if g.Access != "" {
		return g
	}
	g, err = h.BySMS(t, number, h.SMS(t, number).Code, auth.KindSMS)
	if err != nil {
		t.Fatalf("confirm %s: %v", number, err)
	}
	return g
}

// Visit signs somebody up who is nobody in particular.
func (h *House) Visit(t testing.TB) *auth.Grant {
	t.Helper()
	g, err := h.SignUp(t.Context(), Caller(), auth.NewUser{}, Flow())
	if err != nil {
		t.Fatalf("sign up anonymously: %v", err)
	}
	return g
}

// Follow signs in by the secret of a mailed link.
func (h *House) Follow(t testing.TB, token string) *auth.Grant {
	t.Helper()
	g, err := h.ByLink(t, token, Kinds()...)
	if err != nil {
		t.Fatalf("follow the link: %v", err)
	}
	return g
}

// Enter signs in by password.
func (h *House) Enter(t testing.TB, email, password string) *auth.Grant {
	t.Helper()
	g, err := h.ByPassword(t, email, password)
	if err != nil {
		t.Fatalf("sign in as %s: %v", email, err)
	}
	return g
}

// Trade refreshes.
func (h *House) Trade(t testing.TB, refresh string) *auth.Grant {
	t.Helper()
	g, err := h.Refresh(t.Context(), Caller(), refresh)
	if err != nil {
		t.Fatalf("refresh: %v", err)
	}
	return g
}

// View returns whose access token this is.
func (h *House) View(t testing.TB, access string) *auth.Viewer {
	t.Helper()
	v, err := h.Authenticate(t.Context(), Caller(), access)
	if err != nil {
		t.Fatalf("authenticate: %v", err)
	}
	return v
}

// ByPassword tries to sign in by password.
func (h *House) ByPassword(t testing.TB, email, password string) (*auth.Grant, error) {
	return h.SignIn(t.Context(), Caller(), "password", auth.Input{Email: email, Password: password}, false)
}

// ByLink tries to sign in by the long secret of a mail.
func (h *House) ByLink(t testing.TB, token string, kinds ...auth.Kind) (*auth.Grant, error) {
	return h.SignIn(t.Context(), Caller(), "emaillink", auth.Input{Token: token, Kinds: kinds}, true)
}

// ByCode tries to sign in by the short secret of a mail.
func (h *House) ByCode(t testing.TB, email, code string, kinds ...auth.Kind) (*auth.Grant, error) {
	return h.SignIn(t.Context(), Caller(), "emailcode", auth.Input{Email: email, Code: code, Kinds: kinds}, false)
}

// BySMS tries to sign in by the code of a text message; the number is written
// without +.
func (h *House) BySMS(t testing.TB, number, code string, kinds ...auth.Kind) (*auth.Grant, error) {
	return h.SignIn(t.Context(), Caller(), "smscode", auth.Input{Phone: number, Code: code, Kinds: kinds}, false)
}

// ByAuthCode tries to trade an authorization code.
func (h *House) ByAuthCode(t testing.TB, code, verifier string) (*auth.Grant, error) {
	return h.SignIn(t.Context(), Caller(), "pkce", auth.Input{Token: code, Verifier: verifier}, false)
}

// Count returns how many users there are.
func (h *House) Count(t testing.TB) int {
	t.Helper()
	_, total, err := h.Users(t.Context(), Operator(), auth.UserFilter{Limit: 1})
	if err != nil {
		t.Fatal(err)
	}
	return total
}

// Session returns a session as it is stored, ended or not.
func (h *House) Session(t testing.TB, id auth.SessionID) auth.Session {
	t.Helper()
	var s auth.Session
	err := h.DB.Read(t.Context(), store.TenantID{}, func(tx *store.Tx) (err error) {
		s, err = tx.Session(id)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Events returns what happened to a user, newest first.
func (h *House) Events(t testing.TB, id auth.UserID) []auth.Event {
	t.Helper()
	list, err := h.EventsOf(t.Context(), Operator(), id, 1000)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// WrongCode returns a code that differs from the right one.
func WrongCode(right string) string {
	b := []byte(right)
	b[0] = '0' + (b[0]-'0'+1)%10
	return string(b)
}
