package gotrue

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"gatehouse/internal/auth"
	"gatehouse/internal/web"
)

// answer is what the families say for one of our codes. Clients match on the
// texts.
type answer struct {
	status    int
	code, msg string
	netlify   int    // Netlify's status where it differs
	text      string // Netlify's text where it differs
}

var answers = map[auth.Code]answer{
	auth.InvalidInput:         {400, "validation_failed", "Invalid request", 422, ""},
	auth.MalformedBody:        {400, "bad_json", "Could not parse request body as JSON", 0, ""},
	auth.BodyTooLarge:         {413, "request_entity_too_large", "Request body is larger than 1 MiB", 0, ""},
	auth.NotFound:             {404, "validation_failed", "user_id must be an UUID", 0, ""},
	auth.EmailInvalid:         {400, "validation_failed", "Unable to validate email address: invalid format", 422, ""},
	auth.PhoneInvalid:         {400, "validation_failed", "Invalid phone number format (E.164 required)", 422, ""},
	auth.EmailNotAuthorized:   {400, "email_address_not_authorized", "Email address cannot be used as it is not authorized", 0, ""},
	auth.PasswordMissing:      {400, "validation_failed", "Signup requires a valid password", 422, ""},
	auth.PasswordTooLong:      {400, "validation_failed", "Password cannot be longer than 1024 bytes", 422, ""},
	auth.WeakPassword:         {422, "weak_password", "Password does not meet the requirements", 0, ""},
	auth.SamePassword:         {422, "same_password", "New password should be different from the old password.", 0, ""},
	auth.PasswordUseless:      {422, "validation_failed", "Updating password of an anonymous user without an email or phone is not allowed", 0, ""},
	auth.SignupDisabled:       {422, "signup_disabled", "Signups not allowed for this instance", 403, ""},
	auth.EmailDisabled:        {422, "email_provider_disabled", "Email logins are disabled", 400, ""},
	auth.PhoneDisabled:        {400, "phone_provider_disabled", "Phone logins are disabled", 0, ""},
	auth.AnonymousDisabled:    {422, "anonymous_provider_disabled", "Anonymous sign-ins are disabled", 0, ""},
	auth.MagicLinkDisabled:    {422, "email_provider_disabled", "Login with magic link is disabled", 0, ""},
	auth.MethodDisabled:       {400, "invalid_credentials", "unsupported_grant_type", 0, ""},
	auth.NoSuchUserForCode:    {422, "otp_disabled", "Signups not allowed for otp", 0, ""},
	auth.InvalidCredentials:   {400, "invalid_credentials", "Invalid login credentials", 0, "No user found with that email, or password invalid."},
	auth.EmailNotConfirmed:    {400, "email_not_confirmed", "Email not confirmed", 0, ""},
	auth.PhoneNotConfirmed:    {400, "phone_not_confirmed", "Phone not confirmed", 0, ""},
	auth.UserBanned:           {403, "user_banned", "User is banned", 401, ""},
	auth.UserGone:             {403, "user_not_found", "User from sub claim in JWT does not exist", 404, "User not found"},
	auth.UserNotFound:         {404, "user_not_found", "User not found", 0, ""},
	auth.AlreadyRegistered:    {422, "user_already_exists", "User already registered", 400, "A user with this email address has already been registered"},
	auth.EmailTaken:           {422, "email_exists", "A user with this email address has already been registered", 0, ""},
	auth.PhoneTaken:           {422, "phone_exists", "A user with this phone number has already been registered", 0, ""},
	auth.IDTaken:              {422, "user_already_exists", "A user with this id already exists", 0, ""},
	auth.CodeFailed:           {403, "otp_expired", "Token has expired or is invalid", 404, "User not found"},
	auth.LinkFailed:           {403, "otp_expired", "Email link is invalid or has expired", 404, "User not found"},
	auth.InvitePasswordNeeded: {422, "validation_failed", "Invited users must specify a password", 0, ""},
	auth.ChangeTokenFailed:    {401, "otp_expired", "Email Change Token didn't match token on file", 0, ""},
	auth.FlowNotFound:         {404, "flow_state_not_found", "invalid flow state, no valid flow state found", 0, ""},
	auth.FlowExpired:          {422, "flow_state_expired", "invalid flow state, flow state has expired", 0, ""},
	auth.VerifierFailed:       {400, "bad_code_verifier", "code challenge does not match previously saved code verifier", 0, ""},
	auth.TokenMissing:         {401, "no_authorization", "This endpoint requires a valid Bearer token", 0, ""},
	auth.TokenInvalid:         {403, "bad_jwt", "invalid JWT: unable to parse or verify signature", 401, "Invalid token"},
	auth.SessionGone:          {403, "session_not_found", "Session from session_id claim in JWT does not exist", 401, ""},
	auth.SessionExpired:       {403, "session_expired", "Session has expired", 401, ""},
	auth.SessionNotFound:      {404, "session_not_found", "Session not found, or it has ended already", 0, ""},
	auth.AudienceMismatch:     {400, "validation_failed", "Token audience doesn't match request audience", 0, ""},
	auth.RefreshMalformed:     {400, "validation_failed", "Refresh token is not valid", 0, "Invalid Refresh Token"},
	auth.RefreshNotFound:      {400, "refresh_token_not_found", "Invalid Refresh Token: Refresh Token Not Found", 0, "Invalid Refresh Token"},
	auth.RefreshReused:        {400, "refresh_token_already_used", "Invalid Refresh Token: Already Used", 0, "Invalid Refresh Token"},
	auth.ReauthNeeded:         {400, "reauthentication_needed", "Password update requires reauthentication", 0, ""},
	auth.ReauthFailed:         {422, "reauthentication_not_valid", "Nonce has expired or is invalid", 0, ""},
	auth.CurrentNeeded:        {400, "current_password_required", "Current password required when setting new password.", 0, ""},
	auth.CurrentWrong:         {400, "current_password_invalid", "Current password is incorrect.", 0, ""},
	auth.LinkingDisabled:      {404, "manual_linking_disabled", "Manual linking is disabled", 0, ""},
	auth.IdentityNotFound:     {422, "identity_not_found", "Identity doesn't exist", 0, ""},
	auth.LastIdentity:         {422, "single_identity_not_deletable", "User must have at least 1 identity after unlinking", 0, ""},
	auth.NotAdmin:             {403, "not_admin", "User not allowed", 401, ""},
	auth.NotYours:             {403, "not_admin", "Updating app_metadata requires admin privileges", 401, ""},
	auth.TooSoon:              {429, "over_email_send_rate_limit", "For security purposes, you can only request this after %d seconds.", 0, ""},
	auth.SMSTooSoon:           {429, "over_sms_send_rate_limit", "For security purposes, you can only request this after %d seconds.", 0, ""},
	auth.SMSRefused:           {422, "sms_send_failed", "No text message can be sent to this phone number", 0, ""},
	auth.TooMany:              {429, "over_request_rate_limit", "Request rate limit reached", 0, "Rate limit exceeded"},
	auth.Busy:                 {429, "over_request_rate_limit", "Too much at once, please try again shortly", 0, ""},
	auth.TenantTaken:          {422, "validation_failed", "A tenant with this name, host or id exists already", 400, ""},
	auth.TenantNotFound:       {404, "validation_failed", "Unable to locate site configuration", 0, ""},
	auth.SignMissing:          {400, "validation_failed", "Operator microservice headers missing", 0, ""},
	auth.SignInvalid:          {400, "validation_failed", "Operator microservice headers are invalid", 0, ""},
	auth.HookRefused:          {403, "unknown", "A hook refused this request", 0, ""}, // what it says takes the place of all three: see ofHook
	auth.HookTimeout:          {422, "hook_timeout", "Failed to reach hook within maximum time of 5.000000 seconds", 0, ""},
	auth.HookTimeoutRetry:     {422, "hook_timeout_after_retry", "Service currently unavailable due to hook", 0, ""},
	auth.HookTooLarge:         {422, "hook_payload_over_size_limit", "Payload size exceeds size limit", 0, ""},
	auth.HookContentType:      {400, "hook_payload_invalid_content_type", "Invalid Content-Type: Missing Content-Type header", 0, ""},
	auth.HookFailed:           {500, "unexpected_failure", "Unexpected failure, please check server logs for more information", 0, ""},
	auth.WebhookRefused:       {422, "unexpected_failure", "Failed to handle signup webhook", 0, ""},
	auth.WebhookUnreachable:   {502, "unexpected_failure", "Failed to send request for webhook", 0, ""},
	auth.WebhookTimeout:       {504, "unexpected_failure", "Request timed out for webhook", 0, ""},
	auth.WebhookFailed:        {500, "unexpected_failure", "Webhook returned malformed JSON", 0, ""},
	auth.WebhookNotFound:      {404, "validation_failed", "Webhook endpoint not found", 0, ""},
	auth.DeliveryNotFound:     {404, "validation_failed", "There is no such delivery that has ended", 0, ""},
	auth.TooManyWebhooks:      {422, "validation_failed", "There are 50 webhook endpoints already", 0, ""},
	auth.CaptchaFailed:        {400, "captcha_failed", "captcha protection: request disallowed (%s)", 0, ""},
	auth.ProviderUnknown:      {400, "validation_failed", "Unsupported provider: it could not be found", 0, ""},
	auth.ProviderDisabled:     {400, "validation_failed", "Unsupported provider: provider is not enabled", 0, ""}, // at /token its code is a word of its own: see told
	auth.ProviderRefused:      {400, "bad_oauth_callback", "The provider, or the owner of the account, has refused", 0, ""},
	auth.ProviderCode:         {400, "bad_oauth_callback", "Unable to exchange external code", 0, ""},
	auth.ProviderFailed:       {502, "unexpected_failure", "Error getting user profile from external provider", 0, ""},
	auth.ProviderUnavailable:  {503, "unexpected_failure", "The external provider does not answer at the moment, please try again shortly", 0, ""},
	auth.ProviderNoEmail:      {400, "email_address_not_provided", "Error getting user email from external provider", 0, ""},
	auth.ProviderUnproved:     {422, "provider_email_needs_verification", "The external provider has not verified the email. A confirmation email has been sent to it", 0, ""},
	auth.IDTokenFailed:        {400, "invalid_credentials", "Bad ID token", 0, ""},
	auth.StateFailed:          {400, "bad_oauth_state", "OAuth state is unknown, of another browser, or has expired", 0, ""},
	auth.CallbackFailed:       {400, "bad_oauth_callback", "OAuth callback with neither a code nor an error", 0, ""},
	auth.IdentityTaken:        {422, "identity_already_exists", "Identity is already linked to a user", 0, ""},
	auth.AccountExists:        {422, "user_already_exists", "A user with this email address exists already: sign in as usual, and link the identity", 0, ""},
	auth.InviteMismatch:       {400, "validation_failed", "Invited email does not match emails from external provider", 0, ""},
	auth.InviteNotFound:       {404, "invite_not_found", "Invite not found", 0, ""},
	auth.CustomNotFound:       {404, "custom_provider_not_found", "Custom provider not found", 0, ""},
	auth.CustomTaken:          {400, "conflict", "A custom provider with this identifier exists already", 0, ""},
	auth.TooManyCustom:        {400, "over_custom_provider_quota", "There are as many custom providers as there may be", 0, ""},
	auth.SAMLDisabled:         {404, "saml_provider_disabled", "SAML 2.0 is disabled", 0, ""},
	auth.RelayNotFound:        {404, "saml_relay_state_not_found", "SAML RelayState does not exist, or nobody here asked for this response", 0, ""},
	auth.RelayExpired:         {422, "saml_relay_state_expired", "SAML RelayState has expired. Try logging in again?", 0, ""},
	auth.IdPNotFound:          {404, "saml_idp_not_found", "A SAML connection has not been established with this Identity Provider", 0, ""},
	auth.IdPExists:            {422, "saml_idp_already_exists", "SAML Identity Provider with this EntityID exists already", 0, ""},
	auth.AssertionNoUser:      {400, "saml_assertion_no_user_id", "SAML Assertion did not contain a persistent Subject Identifier attribute or Subject NameID uniquely identifying this user", 0, ""},
	auth.AssertionNoEmail:     {400, "saml_assertion_no_email", "SAML Assertion does not contain an email address", 0, ""},
	auth.AssertionFailed:      {400, "validation_failed", "SAML Assertion is not valid", 403, ""},
	auth.MetadataFailed:       {400, "saml_metadata_fetch_failed", "The SAML metadata could not be read", 0, ""},
	auth.EntityMismatch:       {400, "saml_entity_id_mismatch", "SAML Metadata can be updated only if the EntityID matches for the provider", 0, ""},
	auth.SSONotFound:          {404, "sso_provider_not_found", "No such SSO provider", 0, ""},
	auth.SSODisabled:          {404, "sso_provider_disabled", "The SSO provider is disabled", 0, ""},
	auth.DomainTaken:          {400, "sso_domain_already_exists", "An SSO domain is assigned to another provider already", 0, ""},
	auth.SSOManaged:           {422, "user_sso_managed", "This cannot be changed here: the user signs in through their company", 0, ""},
	auth.Web3Disabled:         {422, "web3_provider_disabled", "Web3 provider is disabled", 0, ""},
	auth.Web3Chain:            {400, "web3_unsupported_chain", "Unsupported chain: it must be ethereum or solana", 0, ""},
	auth.Web3Failed:           {400, "invalid_credentials", "The signed message is not valid", 0, ""},
	auth.AlreadyLinked:        {422, "identity_already_exists", "The user has an account with this provider already", 0, ""},
	auth.NotLinked:            {404, "identity_not_found", "The user has no account with this provider", 0, ""},
	auth.SetupClosed:          {403, "feature_disabled", "The first administrator has been made already", 0, ""},
	auth.Unavailable:          {503, "unexpected_failure", "The service is not available at the moment, please try again shortly", 0, ""},
	auth.TimedOut:             {504, "request_timeout", "Processing this request timed out, please retry after a moment.", 0, ""},
	auth.Internal:             {500, "unexpected_failure", "Unexpected failure, please check server logs for more information", 0, ""},
}

// apiVersion is the version of error bodies that newer clients of Supabase
// ask for.
const apiVersion = "2024-01-01"

// fail writes err in the form the request expects.
func (a *api) fail(w http.ResponseWriter, r *http.Request, err error) {
	var off *notBuilt
	if errors.As(err, &off) {
		_ = web.JSON(w, off.status, a.body(w, r, off.answer, &auth.Error{Code: auth.MethodDisabled}, off.msg))
		return
	}
	nf := a.manners(r) == Netlify
	an, e, msg := a.told(r, nf, err)
	web.RetryAfter(w, e)
	if nf && (e.Code == auth.TokenInvalid || e.Code == auth.SessionGone || e.Code == auth.RefreshReused) {
		a.clearCookie(w)
	}
	_, shaped := errors.AsType[oauthShaped](err)
	if (shaped || r.URL.Path == "/token" && web.IsForm(r)) && an.status != http.StatusTooManyRequests {
		_ = web.JSON(w, oauthStatus(an.status), map[string]string{"error": oauthCode(e.Code, an.status), "error_description": msg})
		return
	}
	_ = web.JSON(w, an.status, a.body(w, r, an, e, msg))
}

// told is what somebody of a family is told of a failure.
func (a *api) told(r *http.Request, netlify bool, err error) (answer, *auth.Error, string) {
	e := auth.Told(err)
	if e.Code == auth.Internal && r.Context().Err() != nil {
		e = &auth.Error{Code: auth.TimedOut}
	}
	if e.Code == auth.ProviderUnavailable && e.RetryAfter == 0 {
		e = &auth.Error{Code: e.Code, RetryAfter: askLater}
	}
	an := answers[e.Code]
	if e.Code == auth.HookRefused {
		an = an.ofHook(e)
	}
	switch {
	case netlify:
		an = an.asNetlify()
	case r.URL.Path == "/token" && (e.Code == auth.UserBanned || e.Code == auth.SessionExpired):
		an.status = http.StatusBadRequest
	}
	if r.URL.Path == "/token" && e.Code == auth.ProviderDisabled {
		an.code = "provider_disabled"
	}
	var sets []string
	if a.Auth != nil {
		sets = a.Auth.Policy().RequiredCharacters
	}
	return an, e, words(an, e, sets)
}

// askLater is when a provider that does not answer is worth another try.
const askLater = 10 * time.Second

// ofHook is the answer an operator's hook has chosen for its refusal.
func (an answer) ofHook(e *auth.Error) answer {
	status, _ := e.Params["status"].(int)
	if status < 400 || status > 599 { // it must not become a success or a redirect
		return an
	}
	an.status = status
	if status == http.StatusInternalServerError {
		an.code = "unexpected_failure"
	}
	return an
}

// asNetlify is the answer in the other family's words.
func (an answer) asNetlify() answer {
	if an.netlify != 0 {
		an.status = an.netlify
	}
	if an.text != "" {
		an.msg = an.text
	}
	return an
}

// body is one of the two JSON forms of an error.
func (a *api) body(w http.ResponseWriter, r *http.Request, an answer, e *auth.Error, msg string) map[string]any {
	var b map[string]any
	if r.Header.Get("X-Supabase-Api-Version") >= apiVersion && isDate(r.Header.Get("X-Supabase-Api-Version")) {
		w.Header().Set("X-Supabase-Api-Version", apiVersion)
		b = map[string]any{"code": an.code, "message": msg}
	} else {
		b = map[string]any{"code": an.status, "error_code": an.code, "msg": msg}
	}
	w.Header().Set("X-Sb-Error-Code", an.code)
	if an.status >= 500 {
		b["error_id"] = web.LineOf(r).RequestID
	}
	if e.Code == auth.WeakPassword {
		b["weak_password"] = weakPassword{Reasons: reasons(e)}
	}
	return b
}

// words is the text of an error, with what is known of this one; sets are the
// characters a password needs one each of.
func words(an answer, e *auth.Error, sets []string) string {
	problem, _ := e.Params["problem"].(string)
	switch e.Code {
	case auth.InvalidInput, auth.InvalidCredentials, auth.HookRefused, auth.HookFailed:
		if problem != "" { // of a hook: its own words
			return problem
		}
	case auth.ProviderRefused, auth.IDTokenFailed, auth.AssertionFailed, auth.MetadataFailed, auth.Web3Failed:
		if said := elsewhere(problem); said != "" {
			return said
		}
	case auth.ProviderUnknown:
		if name := elsewhere(problem); name != "" {
			return "Unsupported provider: " + name
		}
	case auth.WebhookRefused:
		return "Failed to handle " + problem + " webhook"
	case auth.MalformedBody:
		return an.msg + ": " + problem
	case auth.WeakPassword:
		for _, reason := range reasons(e) {
			if reason == "length" {
				return fmt.Sprintf("Password should be at least %v characters.", e.Params["min"])
			}
		}
		if slices.Contains(reasons(e), "characters") {
			if len(sets) == 0 { // it is a level of strength that wants more
				return "Password should mix more kinds of characters: small and capital letters, digits and symbols."
			}
			return "Password should contain at least one character of each: " + strings.Join(sets, ", ") + "."
		}
		return "Password is known to be weak and easy to guess, please choose a different one."
	case auth.CaptchaFailed:
		return fmt.Sprintf(an.msg, problem)
	case auth.TooSoon, auth.SMSTooSoon:
		return fmt.Sprintf(an.msg, web.Seconds(e.RetryAfter))
	}
	return an.msg
}

func reasons(e *auth.Error) []string {
	list, _ := e.Params["reasons"].([]string)
	return list
}

func isDate(s string) bool {
	_, err := time.Parse(time.DateOnly, s)
	return err == nil
}

// oauthCode is the code of RFC 6749 §5.2 for a failure of a form-encoded
// /token.
func oauthCode(c auth.Code, status int) string {
	if status >= 500 {
		return "server_error"
	}
	switch c {
	case auth.MethodDisabled:
		return "unsupported_grant_type"
	case auth.InvalidInput, auth.MalformedBody, auth.BodyTooLarge:
		return "invalid_request"
	case auth.Internal, auth.TimedOut, auth.Unavailable:
		return "server_error"
	}
	return "invalid_grant"
}

// oauthStatus keeps to Netlify's 400, but for failures of ours.
func oauthStatus(status int) int {
	if status >= 500 {
		return status
	}
	return http.StatusBadRequest
}
