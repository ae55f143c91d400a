package gotrue

import (
	"net/http"

	"gatehouse/internal/auth"
)

// notBuilt is what the servers we stand in for say of a feature that is turned
// off. Clients read it; a bare 404 breaks their parsers.
type notBuilt struct{ answer }

func (n *notBuilt) Error() string { return n.msg }

// Unwrap names the cause for the log.
func (n *notBuilt) Unwrap() error { return &auth.Error{Code: auth.MethodDisabled} }

// off answers for features that are not built yet.
func off(status int, code, msg string) call {
	return func(*api, http.ResponseWriter, *http.Request) error {
		return &notBuilt{answer{status: status, code: code, msg: msg}}
	}
}

// switchedOff are the routes of features that are not built yet.
func switchedOff() map[string]call {
	passkeys := off(http.StatusNotFound, "passkey_disabled", "Passkeys are disabled")
	factors := off(http.StatusUnprocessableEntity, "mfa_totp_enroll_not_enabled", "MFA enroll is disabled for TOTP")
	feature := off(http.StatusNotFound, "feature_disabled", "This feature is disabled")
	return map[string]call{
		"POST /factors": factors, "POST /factors/{id}/challenge": factors, "POST /factors/{id}/verify": factors, "DELETE /factors/{id}": factors,
		"/passkeys": passkeys, "/passkeys/": passkeys, "/oauth/": feature, "/user/oauth/grants": feature,
		"/admin/oauth/":                         feature,
		"GET /.well-known/openid-configuration": feature, "GET /.well-known/oauth-authorization-server": feature,
	}
}
