package login

import (
	"context"

	"gatehouse/internal/auth"
)

// smsCode judges the digits of a text message: like those of a mail, unless a
// service made them up, which then is asked.
type smsCode struct{}

func (smsCode) Name() string { return "smscode" }

func (smsCode) Finish(ctx context.Context, k *auth.Kit, in auth.Input) (auth.Verdict, error) {
	kept, err := k.KeptCode(ctx, in)
	if err != nil {
		return nil, err
	}
	return func(d *auth.Desk) (auth.Proof, error) {
		q, err := d.UseCode(in, kept)
		if err != nil {
			return auth.Proof{}, err
		}
		if q == nil {
			return auth.Proof{}, &auth.Error{Code: auth.CodeFailed}
		}
		return auth.Proof{UserID: q.UserID, AMR: "otp", Provider: "phone", Answered: q}, nil
	}, nil
}
