package login

import (
	"context"
	"errors"
	"time"

	"gatehouse/internal/auth"
	"gatehouse/internal/web3"
)

// Web3 says which wallets sign in.
type Web3 struct {
	Ethereum, Solana time.Duration            // the oldest message of each; 0: none of its wallets do
	Allowed          func(origin string) bool // of the page that had the message signed
}

// wallets judges a message that was signed with the key of a wallet (EIP-4361 and
// its like). It opens one session: whoever overhears it has nothing.
type wallets struct{ Web3 }

func (wallets) Name() string { return "web3" }

func (m wallets) Finish(ctx context.Context, k *auth.Kit, in auth.Input) (auth.Verdict, error) {
	age := map[string]time.Duration{"ethereum": m.Ethereum, "solana": m.Solana}
	oldest, known := age[in.Provider]
	switch {
	case !known:
		return nil, &auth.Error{Code: auth.Web3Chain, Params: map[string]any{"problem": in.Provider}}
	case oldest == 0:
		return nil, &auth.Error{Code: auth.Web3Disabled}
	}
	st, err := web3.Judge(in.Provider, in.Token, in.Code, web3.Options{Allowed: m.Allowed, MaxAge: oldest, Now: k.Now})
	if err != nil {
		e, _ := errors.AsType[*web3.Error](err)
		return nil, &auth.Error{Code: auth.Web3Failed, Err: err, Params: map[string]any{"problem": e.Problem}}
	}
	err = k.Once(ctx, "web3", in.Provider+"\n"+in.Token, st.IssuedAt.Add(oldest), auth.Web3Failed)
	if err != nil {
		return nil, err
	}
	subject := "web3:" + st.Chain + ":" + st.Address
	return k.Vouch(in, auth.Account{
		Provider: "web3", Subject: subject, AMR: "web3", EmailOptional: true, Data: map[string]any{
			"sub": subject, "custom_claims": map[string]any{
				"address": st.Address, "chain": st.Chain, "network": st.ChainID, "domain": st.Domain, "statement": st.Statement,
			},
		},
	}), nil
}
