package login

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"

	"gatehouse/internal/auth"
)

// pkce judges the verifier of an authorization code (RFC 7636 §4.6). A wrong
// one does not burn the code, as clients expect, but spends a try.
type pkce struct{}

func (pkce) Name() string { return "pkce" }

func (pkce) Finish(_ context.Context, _ *auth.Kit, in auth.Input) (auth.Verdict, error) {
	return func(d *auth.Desk) (auth.Proof, error) {
		q, err := d.UseAuthCode(in.Token, func(p auth.PKCE) bool { return matches(p, in.Verifier) })
		if err != nil {
			return auth.Proof{}, err
		}
		return auth.Proof{UserID: q.UserID, AMR: q.AMR, Provider: cmp.Or(q.Provider, "email"), Identity: q.Identity, Answered: q}, nil
	}, nil
}

func matches(p auth.PKCE, verifier string) bool {
	got := ""
	switch p.Method {
	case "s256":
		sum := sha256.Sum256([]byte(verifier))
		got = base64.RawURLEncoding.EncodeToString(sum[:])
	case "plain":
		got = verifier
	}
	return p.Challenge != "" && subtle.ConstantTimeCompare([]byte(got), []byte(p.Challenge)) == 1
}
