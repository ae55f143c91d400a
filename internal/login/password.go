package login

import (
	"context"

	"gatehouse/internal/auth"
)

// password compares with the stored hash. An address nobody has is compared
// with a hash nobody made, at the same cost.
type password struct{}

func (password) Name() string { return "password" }

func (password) Finish(ctx context.Context, k *auth.Kit, in auth.Input) (auth.Verdict, error) {
	t, err := k.Password(ctx, in)
	if err != nil {
		return nil, err
	}
	ok, rehash, err := k.CheckPassword(ctx, t, in.Password)
	if err != nil {
		return nil, err
	}
	provider := "email"
	if in.Phone != "" {
		provider = "phone"
	}
	next := ""
	if ok && rehash {
		next, err = k.HashPassword(ctx, in.Password)
		if err != nil {
			return nil, err
		}
	}
	return func(d *auth.Desk) (auth.Proof, error) {
		if !ok {
			return auth.Proof{}, d.WrongPassword(t, in.Password)
		}
		still, err := d.PasswordIs(t, next)
		if err != nil {
			return auth.Proof{}, err
		}
		if !still {
			return auth.Proof{}, auth.ErrMoved
		}
		return auth.Proof{UserID: t.ID, AMR: "password", Provider: provider, Weak: k.WeakPassword(in.Password)}, nil
	}, nil
}
