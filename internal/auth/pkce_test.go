package auth_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/internal/auth"
	"gatehouse/internal/authtest"
	"gatehouse/internal/store"
)

const verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk" // RFC 7636, appendix B

func s256(verifier string) auth.PKCE {
	sum := sha256.Sum256([]byte(verifier))
	return auth.PKCE{Challenge: base64.RawURLEncoding.EncodeToString(sum[:]), Method: "s256"}
}

// withPKCE signs ann up with a challenge and follows the mailed link to an
// authorization code.
func withPKCE(t *testing.T, h *authtest.House, p auth.PKCE) string {
	t.Helper()
	f := authtest.Flow()
	f.PKCE = p
	_, err := h.SignUp(t.Context(), authtest.Caller(), auth.NewUser{Email: ann, Password: pw}, f)
	ok(t, "sign up", err)
	g := h.Follow(t, h.Mail(t, ann).Token)
	if g.AuthCode == "" || g.Access != "" || g.Refresh != "" {
		t.Fatalf("the link gave code %q, access %q, refresh %q; want only a code", g.AuthCode, g.Access, g.Refresh)
	}
	return g.AuthCode
}

func TestPKCE_tradesTheCodeForTokensOnce(t *testing.T) {
	if got, want := s256(verifier).Challenge, "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"; got != want { // appendix B
		t.Fatalf("challenge %s, want %s", got, want)
	}
	for _, p := range []auth.PKCE{s256(verifier), {Challenge: verifier, Method: "plain"}} {
		t.Run(p.Method, func(t *testing.T) {
			h := authtest.New(t)
			code := withPKCE(t, h, p)
			g, err := h.ByAuthCode(t, code, verifier)
			ok(t, "trade", err)
			lives(t, "the session", h, g)
			if diff := cmp.Diff([]string{"email/signup"}, amr(t, g.Session)); diff != "" {
				t.Errorf("amr (-want +got):\n%s", diff)
			}
			_, err = h.ByAuthCode(t, code, verifier)
			want(t, "trade again", err, auth.FlowNotFound)
			lives(t, "the session after that", h, g)
		})
	}
}

func TestPKCE_aWrongVerifierSpendsATryAndNotTheCode(t *testing.T) {
	h := authtest.New(t)
	code := withPKCE(t, h, s256(verifier))
	for _, wrong := range []string{"", "wrong", s256(verifier).Challenge, verifier + "x"} {
		_, err := h.ByAuthCode(t, code, wrong)
		want(t, "verifier "+wrong, err, auth.VerifierFailed)
	}
	_, err := h.ByAuthCode(t, code, verifier)
	ok(t, "the fifth try, right", err)
}

func TestPKCE_fiveWrongVerifiersSpendTheCode(t *testing.T) {
	h := authtest.New(t)
	code := withPKCE(t, h, s256(verifier))
	for range 5 {
		_, err := h.ByAuthCode(t, code, "wrong")
		want(t, "wrong verifier", err, auth.VerifierFailed)
	}
	_, err := h.ByAuthCode(t, code, verifier)
	want(t, "the right verifier", err, auth.FlowNotFound)
}

func TestPKCE_aCodeLivesFiveMinutes(t *testing.T) {
	for _, c := range []struct {
		after time.Duration
		code  auth.Code
	}{{5*minute - time.Second, ""}, {5 * minute, auth.FlowExpired}} {
		h := authtest.New(t)
		code := withPKCE(t, h, s256(verifier))
		h.Clock.Advance(c.after)
		_, err := h.ByAuthCode(t, code, verifier)
		if c.code == "" {
			ok(t, c.after.String(), err)
		} else {
			want(t, c.after.String(), err, c.code)
		}
	}
}

func TestPKCE_aVerifierAloneIsNoProof(t *testing.T) {
	h := authtest.New(t)
	g := h.Join(t, ann, pw) // asked without a challenge: tokens at once, and no code
	if g.AuthCode != "" {
		t.Errorf("a link asked for without a challenge gave a code")
	}
	_, err := h.ByAuthCode(t, "no such code", verifier)
	want(t, "an unknown code", err, auth.FlowNotFound)

	// Were there a code without a challenge, no verifier would be right for it.
	h = authtest.New(t)
	id := h.Join(t, ann, pw).User.ID
	for _, p := range []auth.PKCE{{}, {Method: "plain"}, {Method: "s256"}} {
		cid := store.NewChallengeID()
		sum := h.Root.MAC("link", []byte(auth.KindPKCE), []byte(cid.String()))
		data, err := json.Marshal(auth.Question{PKCE: p})
		ok(t, "question", err)
		err = h.DB.Write(t.Context(), store.TenantID{}, func(tx *store.Tx) error {
			return tx.SetChallenge(store.Challenge{
				ID: cid, Kind: string(auth.KindPKCE), Subject: cid[:], UserID: id, TokenHash: sum[:], CodeHash: []byte{},
				Data: data, ExpiresAt: tx.Now.Add(minute),
			}, 0)
		})
		ok(t, "plant a code", err)
		for _, v := range []string{"", verifier} {
			_, err = h.ByAuthCode(t, cid.String(), v)
			want(t, "a code without a challenge, verifier "+v, err, auth.VerifierFailed)
		}
	}
}

func TestPKCE_theLinkIsUsedUpByTheCode(t *testing.T) {
	h := authtest.New(t)
	code := withPKCE(t, h, s256(verifier))
	_, err := h.ByLink(t, h.Mail(t, ann).Token, authtest.Kinds()...)
	want(t, "the link again", err, auth.LinkFailed)
	_, err = h.ByLink(t, code, auth.KindPKCE)
	want(t, "the code at the door of links, without its verifier", err, auth.LinkFailed)
	_, err = h.ByAuthCode(t, code, verifier)
	ok(t, "trade", err)
}

func TestThreat_R01_aHundredTradesOfOneCodeSucceedOnce(t *testing.T) {
	h := authtest.New(t)
	code := withPKCE(t, h, s256(verifier))
	errs := together(100, func(int) error {
		_, err := h.ByAuthCode(t, code, verifier)
		return err
	})
	got := tally(errs)
	if got[""] != 1 || got[""]+got[auth.FlowNotFound] != 100 {
		t.Errorf("answers %v, want one success and 99 not found", got)
	}
}
