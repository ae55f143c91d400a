package auth_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"gatehouse/internal/auth"
	"gatehouse/internal/authtest"
	"gatehouse/internal/notify"
	"gatehouse/internal/store"
)

func TestDeviceName_saysBrowserAndSystem(t *testing.T) {
	for agent, wanted := range map[string]string{
		"": "",
		"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0":                                                                  "Firefox on Linux",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36":                         "Chrome on Windows",
		"Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1": "Safari on iOS",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36 Edg/140.0.0.0":           "Edge on Windows",
		"curl/8.5.0": "curl",
	} {
		if got := auth.DeviceName(agent); got != wanted {
			t.Errorf("%q is %q, want %q", agent, got, wanted)
		}
	}
}

// A client writes its own name; a mail and a list show it.
func TestDeviceName_isShortAndOnOneLineWhateverAClientSays(t *testing.T) {
	for _, agent := range []string{
		strings.Repeat("x", 10_000), "a\r\nBcc: victim@example.com", "\x00\x01\x02", "\xff\xfe\xfd", strings.Repeat("ä", 300), "Mozilla/5.0 (" + strings.Repeat("(", 400),
		"name\u2028name", strings.Repeat(" ", 400) + "x", "Firefox/" + strings.Repeat("9", 500),
	} {
		got := auth.DeviceName(agent)
		if len(got) > 130 || strings.ContainsAny(got, "\r\n\x00\x7f") || !utf8.ValidString(got) {
			t.Errorf("%.40q is %q", agent, got)
		}
	}
}

// opened returns what waits in the outbox, unsealed: bodies by kind, and the
// sealed ones. It takes nothing away.
func opened(t *testing.T, h *authtest.House) (plain map[string][][]byte, sealed [][]byte) {
	t.Helper()
	back := errors.New("put it back")
	plain = map[string][][]byte{}
	err := h.DB.Write(t.Context(), store.TenantID{}, func(tx *store.Tx) error {
		clear(plain)
		sealed = nil
		list, err := tx.TakeDeliveries(100, hour)
		if err != nil {
			return err
		}
		for _, d := range list {
			body, err := h.Root.Open(store.DeliverySeal, d.ID[:], d.Body)
			if err != nil {
				return err
			}
			plain[d.Kind] = append(plain[d.Kind], body)
			sealed = append(sealed, d.Body)
		}
		return back
	})
	if !errors.Is(err, back) {
		t.Fatal(err)
	}
	return plain, sealed
}

func TestLanguages_ofTheUserComeBeforeThoseOfTheBrowser(t *testing.T) {
	c := authtest.Caller()
	c.AcceptLanguage = "fr, en"
	for _, d := range []struct {
		data   map[string]any
		wanted []string
	}{
		{nil, []string{"fr", "en"}},
		{map[string]any{"locale": "pt_BR"}, []string{"pt-BR", "fr", "en"}},
		{map[string]any{"locale": "de", "language": "it", "lang": "es"}, []string{"de", "it", "es", "fr", "en"}},
		{map[string]any{"locale": 5, "language": strings.Repeat("x", 36), "lang": ""}, []string{"fr", "en"}},
	} {
		h := authtest.New(t)
		_, err := h.SignUp(t.Context(), c, auth.NewUser{Email: ann, Password: pw, Data: d.data}, authtest.Flow())
		ok(t, "sign up", err)
		_, err = h.SignUp(t.Context(), c, auth.NewUser{Phone: annsPhone, Password: pw, Data: d.data}, authtest.Flow())
		ok(t, "sign up by phone", err)
		plain, _ := opened(t, h)
		var mail notify.Mail
		var text notify.SMS
		if len(plain[store.DeliverMail]) != 1 || len(plain[store.DeliverSMS]) != 1 {
			t.Fatalf("%d mails and %d text messages wait", len(plain[store.DeliverMail]), len(plain[store.DeliverSMS]))
		}
		ok(t, "mail", json.Unmarshal(plain[store.DeliverMail][0], &mail))
		ok(t, "text message", json.Unmarshal(plain[store.DeliverSMS][0], &text))
		if diff := cmp.Diff(d.wanted, mail.Languages); diff != "" {
			t.Errorf("mail with %v (-want +got):\n%s", d.data, diff)
		}
		if diff := cmp.Diff(d.wanted, text.Languages); diff != "" {
			t.Errorf("text message with %v (-want +got):\n%s", d.data, diff)
		}
		// Through a task as well: the request is over when it is written.
		h.Deliver(t)
		h.Clock.Advance(minute)
		ok(t, "magic link", h.MagicLink(t.Context(), c, auth.CodeRequest{Email: bob, Create: true, Data: d.data}, authtest.Flow()))
		list := langsOfTask(t, h)
		if diff := cmp.Diff(d.wanted, list); diff != "" {
			t.Errorf("mail of a task with %v (-want +got):\n%s", d.data, diff)
		}
	}
}

// langsOfTask does the one task that waits and reads the mail it leaves.
func langsOfTask(t *testing.T, h *authtest.House) []string {
	t.Helper()
	plain, _ := opened(t, h)
	if len(plain[store.DeliverTask]) != 1 {
		t.Fatalf("%d tasks wait", len(plain[store.DeliverTask]))
	}
	ok(t, "work", h.Work(t.Context(), plain[store.DeliverTask][0], nothing))
	plain, _ = opened(t, h)
	if len(plain[store.DeliverMail]) != 1 {
		t.Fatalf("%d mails wait", len(plain[store.DeliverMail]))
	}
	var mail notify.Mail
	ok(t, "mail", json.Unmarshal(plain[store.DeliverMail][0], &mail))
	return mail.Languages
}
