package gotrue_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"

	"gatehouse/internal/authtest"
)

const byToken = "/token?grant_type=id_token"

func TestIDToken_signsIn(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	carl := authtest.Person("acme", "c-1", "carl@example.com")
	google := authtest.Person("google", "g-1", "greta@example.com")
	for name, tc := range map[string]struct{ body, email string }{
		"plainly":               {`{"provider":"acme","id_token":%q,"access_token":null,"nonce":null}`, "carl@example.com"},
		"with an issuer":        {`{"provider":"acme","id_token":%q,"issuer":"https://evil.example","client_id":"evil"}`, "carl@example.com"},
		"with nulls":            {`{"provider":"acme","id_token":%q,"link_identity":null}`, "carl@example.com"},
		"as Google's button":    {`{"credential":%q}`, "greta@example.com"},
		"of Google, by its own": {`{"provider":"google","credential":%q}`, "greta@example.com"},
	} {
		who := carl
		if tc.email != carl.Email {
			who = google
		}
		a := h.must(http.StatusOK, "POST", byToken, fmt.Sprintf(tc.body, h.Elsewhere.Code(who)))
		if u, _ := a.JSON["user"].(map[string]any); u["email"] != tc.email || a.text("provider_token") != "at-"+who.Subject {
			t.Errorf("%s: %s", name, a.Body)
		}
	}
	a := h.form("/token", form("grant_type", "id_token", "provider", "acme", "id_token", h.Elsewhere.Code(carl)))
	if a.Code != http.StatusOK {
		t.Errorf("a form: %d %s", a.Code, a.Body)
	}
}

func TestIDToken_isRefusedInTheFormOfOAuth(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	for body, want := range map[string]string{
		`{"id_token":"x","client_id":"c"}`:                    "invalid_request",
		`{"provider":"acme"}`:                                 "invalid_request",
		`{"provider":"acme","id_token":"x"}`:                  "invalid_grant",
		`{"provider":"acme","id_token":"x","nonce":"n"}`:      "invalid_grant",
		`{"provider":"acme","id_token":"x","access_token":1}`: "",
	} {
		for _, family := range []string{"X-Client-Info: supabase-js/2", "X-Supabase-Api-Version: 2024-01-01", "X-Nf-Client: gotrue-js"} {
			a := h.do("POST", byToken, body, family)
			if a.Code != http.StatusBadRequest || a.text("error") != want || want != "" && (a.text("error_description") == "" || len(a.JSON) != 2) {
				t.Errorf("%s of %s = %d %s, want 400 %q", body, family, a.Code, a.Body, want)
			}
		}
	}
}

func TestIDToken_linksToTheBearer(t *testing.T) {
	t.Parallel()
	h := newHouse(t, withLinking)
	id := h.newUser("anna@example.com").String()
	access, _ := h.signIn("anna@example.com")
	body := func() string {
		return fmt.Sprintf(`{"provider":"acme","id_token":%q,"link_identity":true}`, h.Elsewhere.Code(authtest.Person("acme", "1", "elsewhere@example.com")))
	}
	h.must(http.StatusUnauthorized, "POST", byToken, body())
	h.must(http.StatusForbidden, "POST", byToken, body(), "Authorization: Bearer rubbish")
	a := h.must(http.StatusOK, "POST", byToken, body(), bearer(access))
	var s struct {
		User struct {
			ID         string
			Identities []struct{ Provider string }
		}
	}
	err := json.Unmarshal(a.Body.Bytes(), &s)
	if err != nil || s.User.ID != id || len(s.User.Identities) != 2 {
		t.Errorf("the session is %s (%v)", a.Body, err)
	}
	off := newHouse(t, nil)
	off.newUser("anna@example.com")
	access, _ = off.signIn("anna@example.com")
	code := off.Elsewhere.Code(authtest.Person("acme", "1", "elsewhere@example.com"))
	off.must(http.StatusNotFound, "POST", byToken, `{"provider":"acme","id_token":"`+code+`","link_identity":true}`, bearer(access))
}

func TestWallet_signsIn(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	in := authtest.NewWallet(t).SignsIn(site, h.Clock.Now())
	body, err := json.Marshal(map[string]string{"chain": "Solana", "message": in.Token, "signature": in.Code})
	if err != nil {
		t.Fatal(err)
	}
	const path = "/token?grant_type=web3"
	a := h.must(http.StatusOK, "POST", path, string(body))
	u, _ := a.JSON["user"].(map[string]any)
	of, _ := u["identities"].([]any)
	if len(of) != 1 || of[0].(map[string]any)["provider"] != "web3" {
		t.Errorf("the session is %s", a.Body)
	}
	for name, tc := range map[string]struct{ body, want string }{
		"the same once more": {string(body), "invalid_grant"},
		"no message":         {`{"chain":"solana","signature":"x"}`, "invalid_request"},
		"no signature":       {`{"chain":"solana","message":"x"}`, "invalid_request"},
		"rubbish":            {`{"chain":"ethereum","message":"x","signature":"0x00"}`, ""},
		"a wrong signature":  {`{"chain":"solana","message":"x","signature":"x"}`, "invalid_grant"},
	} {
		a := h.do("POST", path, tc.body)
		if tc.want == "" && a.Code == http.StatusUnprocessableEntity { // Ethereum is off in this house
			continue
		}
		if a.Code != http.StatusBadRequest || a.text("error") != tc.want || a.text("error_description") == "" {
			t.Errorf("%s = %d %s, want 400 %s", name, a.Code, a.Body, tc.want)
		}
	}
}

// Signatures of wallets have a limit of their own, also in a form.
func TestWallet_hasALimitOfItsOwn(t *testing.T) {
	t.Parallel()
	for name, byForm := range map[string]bool{"JSON": false, "a form": true} {
		h := newHouse(t, nil)
		var last answer
		for range 31 {
			if byForm {
				last = h.form("/token", form("grant_type", "web3"))
			} else {
				last = h.do("POST", "/token?grant_type=web3", `{}`)
			}
		}
		if last.Code != http.StatusTooManyRequests {
			t.Errorf("the 31st by %s is answered %d", name, last.Code)
		}
		if a := h.do("POST", "/token?grant_type=web3", `{}`); a.Code != http.StatusTooManyRequests {
			t.Errorf("after them JSON is answered %d", a.Code)
		}
		if a := h.do("POST", login, `{"email":"a@example.com","password":"x"}`); !byForm && a.text("error_code") != "invalid_credentials" {
			t.Errorf("passwords are limited by it: %s", a.Body)
		}
	}
}
