package gotrue

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"gatehouse/internal/auth"
)

// contract are the error_code values clients know, general ones first.
var contract = strings.Fields(`
	unknown unexpected_failure validation_failed bad_json conflict request_timeout request_entity_too_large feature_disabled
	over_request_rate_limit captcha_failed
	no_authorization bad_jwt not_admin user_not_found user_banned session_not_found session_expired insufficient_aal unexpected_audience
	signup_disabled user_already_exists email_exists phone_exists invalid_credentials email_not_confirmed phone_not_confirmed weak_password
	email_provider_disabled phone_provider_disabled anonymous_provider_disabled email_address_not_authorized email_address_invalid
	email_address_not_provided provider_email_needs_verification invite_not_found user_sso_managed
	refresh_token_not_found refresh_token_already_used otp_expired otp_disabled over_email_send_rate_limit over_sms_send_rate_limit
	sms_send_failed same_password reauthentication_needed reauthentication_not_valid current_password_required current_password_invalid
	flow_state_not_found flow_state_expired flow_state_already_used bad_code_verifier bad_oauth_state bad_oauth_callback
	oauth_provider_not_supported oauth_client_state_not_found oauth_client_state_expired oauth_invalid_state provider_disabled
	custom_provider_not_found over_custom_provider_quota
	identity_already_exists identity_not_found single_identity_not_deletable email_conflict_identity_not_deletable manual_linking_disabled
	mfa_factor_not_found mfa_factor_name_conflict mfa_ip_address_mismatch mfa_challenge_expired mfa_verification_failed
	mfa_verification_rejected too_many_enrolled_mfa_factors mfa_verified_factor_exists mfa_phone_enroll_not_enabled
	mfa_phone_verify_not_enabled mfa_totp_enroll_not_enabled mfa_totp_verify_not_enabled mfa_webauthn_enroll_not_enabled
	mfa_webauthn_verify_not_enabled
	saml_provider_disabled saml_relay_state_not_found saml_relay_state_expired saml_idp_not_found saml_idp_already_exists
	saml_assertion_no_user_id saml_assertion_no_email saml_metadata_fetch_failed saml_entity_id_mismatch sso_provider_not_found
	sso_provider_disabled sso_domain_already_exists
	web3_provider_disabled web3_unsupported_chain passkey_disabled too_many_passkeys webauthn_credential_not_found
	webauthn_credential_exists webauthn_challenge_not_found webauthn_challenge_expired webauthn_verification_failed
	oauth_client_not_found oauth_authorization_not_found oauth_consent_not_found oauth_dynamic_client_registration_disabled
	hook_timeout hook_timeout_after_retry hook_payload_over_size_limit hook_payload_invalid_content_type`)

func TestAnswers_everyCodeHasOne(t *testing.T) {
	for _, c := range auth.Codes {
		an, ok := answers[c]
		if !ok {
			t.Errorf("%s has no answer: clients would get an empty error with status 0", c)
			continue
		}
		if !slices.Contains(contract, an.code) {
			t.Errorf("%s is answered as %q, which no client knows", c, an.code)
		}
		if an.msg == "" {
			t.Errorf("%s is answered without a text", c)
		}
		for _, status := range []int{an.status, an.asNetlify().status} {
			if http.StatusText(status) == "" || status < 400 {
				t.Errorf("%s is answered with the status %d", c, status)
			}
			if own := slices.Contains(faults, c); (status >= 500) != own {
				t.Errorf("%s is answered with %d: clients try again at a 5xx, so it is for faults of ours, of the operator's hooks and of providers alone", c, status)
			}
		}
	}
	if got, want := len(answers), len(auth.Codes); got != want {
		t.Errorf("%d answers for %d codes: one is for a code nobody lists", got, want)
	}
}

// faults are what no client can do anything about.
var faults = []auth.Code{
	auth.Internal, auth.TimedOut, auth.Unavailable, auth.HookFailed, auth.WebhookUnreachable, auth.WebhookTimeout, auth.WebhookFailed,
	auth.ProviderFailed, auth.ProviderUnavailable,
}

func TestOAuthCode_isOneOfTheStandards(t *testing.T) {
	standard := []string{"invalid_grant", "invalid_request", "unsupported_grant_type", "server_error"} // RFC 6749 §5.2, and Netlify's
	for _, c := range auth.Codes {
		if got := oauthCode(c, answers[c].status); !slices.Contains(standard, got) {
			t.Errorf("oauthCode(%s) = %q, want one of %q", c, got, standard)
		}
		if got := oauthCode(c, answers[c].status); (got == "server_error") != slices.Contains(faults, c) {
			t.Errorf("oauthCode(%s) = %q, want server_error for faults alone", c, got)
		}
	}
}
