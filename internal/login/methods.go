// Package login holds the ways in, one file each. To add one, write its file
// and name it in All.
//
// A way in judges an answer; it never makes a user, a session or a token, and
// it never sees the store.
package login

import "gatehouse/internal/auth"

// All returns every way in the server knows.
func All() []auth.Method {
	return []auth.Method{
		password{},
		emailCode{},
		emailLink{},
		smsCode{},
		pkce{},
	}
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
