package login

import (
	"context"

	"gatehouse/internal/auth"
)

// emailLink judges the long secret of a mailed link.
type emailLink struct{}

func (emailLink) Name() string { return "emaillink" }

func (emailLink) Finish(_ context.Context, _ *auth.Kit, in auth.Input) (auth.Verdict, error) {
	return func(d *auth.Desk) (auth.Proof, error) {
		q, err := d.UseLink(in.Kinds, in.Token)
		if err != nil {
			return auth.Proof{}, err
		}
		if q == nil {
			return auth.Proof{}, &auth.Error{Code: auth.LinkFailed}
		}
		p := auth.Proof{UserID: q.UserID, AMR: "otp", Provider: "email", Answered: q}
		if q.PKCE.Challenge != "" {
			p.AMR = linkAMR[q.Kind]
		}
		return p, nil
	}, nil
}
