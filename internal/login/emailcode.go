package login

import (
	"context"

	"gatehouse/internal/auth"
)

// emailCode judges the six digits of a mail. They are few, so every guess is
// counted before it is compared, and five are all anyone gets.
type emailCode struct{}

func (emailCode) Name() string { return "emailcode" }

func (emailCode) Finish(_ context.Context, _ *auth.Kit, in auth.Input) (auth.Verdict, error) {
	return func(d *auth.Desk) (auth.Proof, error) {
		q, err := d.UseCode(in, auth.Kept{})
		if err != nil {
			return auth.Proof{}, err
		}
		if q == nil {
			return auth.Proof{}, &auth.Error{Code: auth.CodeFailed}
		}
		return auth.Proof{UserID: q.UserID, AMR: "otp", Provider: "email", Answered: q}, nil
	}, nil
}
