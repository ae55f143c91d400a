package login

import (
	"context"

	"gatehouse/internal/auth"
)

// linked signs in whoever an operator's own server says has a linked account: it
// has asked the provider, and nobody else may say so.
type linked struct{}

func (linked) Name() string { return "linked" }

func (linked) Finish(_ context.Context, k *auth.Kit, in auth.Input) (auth.Verdict, error) {
	if !k.Trusted() {
		return nil, &auth.Error{Code: auth.NotAdmin}
	}
	return func(d *auth.Desk) (auth.Proof, error) { return d.Linked(in.Provider, in.Token) }, nil
}
