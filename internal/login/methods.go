// Package login holds the ways in, one file each. To add one, write its file
// and name it in All.
//
// A way in judges an answer; it never makes a user, a session or a token, and
// it never sees the store.
package login

import (
	"gatehouse/internal/auth"
	"gatehouse/internal/social"
)

// Options are what the ways in stand on that lead elsewhere.
type Options struct {
	Social *social.Providers // nil: nobody signs in with an account elsewhere
	// Issuers are those whose ID tokens are taken from who does not say by which
	// provider they are.
	Issuers []string
	Web3    Web3
	SAML    *SAML // nil: no company has its people sign in
}

// All returns every way in the server knows.
func All(o Options) []auth.Method {
	list := []auth.Method{
		password{},
		emailCode{},
		emailLink{},
		smsCode{},
		pkce{},
		linked{},
		wallets{o.Web3},
	}
	if o.Social != nil {
		list = append(list, socials{o.Social}, idTokens{o.Social, o.Issuers})
	}
	if o.SAML != nil {
		list = append(list, o.SAML)
	}
	return list
}

// linkAMR is how a mailed link is recorded in the amr claim once PKCE has
// shown that the client that asked is the one that arrives.
var linkAMR = map[auth.Kind]string{
	auth.KindConfirmation:  "email/signup",
	auth.KindInvite:        "invite",
	auth.KindRecovery:      "recovery",
	auth.KindMagicLink:     "magiclink",
	auth.KindChangeCurrent: "email_change",
	auth.KindChangeNew:     "email_change",
}
