package gotrue_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/auth"
)

// asks is a request that has been prepared, but for the headers that tell who
// asks.
type asks func(headers ...string) answer

// provoked is a failure and a request that ends in it.
type provoked struct {
	status  int    // for clients of Supabase
	code    string // error_code
	netlify int    // the status for Netlify's clients
	house   func(*setup)
	ask     func(h *house) asks
}

// unprovoked are the codes no request to this API ends in, and why.
var unprovoked = map[auth.Code]string{
	auth.Internal:    "a fault of ours; errors_test of the core and answers_test hold its form",
	auth.SetupClosed: "told by the page that makes the first administrator alone",

	auth.IDTokenFailed:  "told in the form of OAuth: TestIDToken_isRefusedInTheFormOfOAuth",
	auth.Web3Failed:     "likewise: TestWallet_signsIn",
	auth.CallbackFailed: "told in a redirect alone: TestConflict_C32_aFailureIsToldAsEachFamilyReadsIt",
	auth.InviteMismatch: "likewise",
}

func send(method, path, body string, headers ...string) func(*house) asks {
	return func(h *house) asks {
		return func(more ...string) answer {
			return h.do(method, path, body, append(slices.Clone(headers), more...)...)
		}
	}
}

// byUser is send with the token of anna, who is there.
func byUser(method, path, body string, headers ...string) func(*house) asks {
	return func(h *house) asks {
		h.newUser("anna@example.com")
		access, _ := h.signIn("anna@example.com")
		return send(method, path, body, append(headers, bearer(access))...)(h)
	}
}

// byAdmin is send with the operator's token; anna is there.
func byAdmin(method, path, body string) func(*house) asks {
	return func(h *house) asks {
		h.newUser("anna@example.com")
		return send(method, path, body, bearer(h.Policy().OperatorToken))(h)
	}
}

// then is ask once something has happened to anna, whose session may be over
// by it.
func then(method, path, body string, happens func(h *house, id, access, refresh string)) func(*house) asks {
	return func(h *house) asks {
		id := h.newUser("anna@example.com").String()
		access, refresh := h.signIn("anna@example.com")
		happens(h, id, access, refresh)
		return send(method, path, strings.ReplaceAll(body, "$refresh", refresh), bearer(access))(h)
	}
}

func withPhone(s *setup)   { s.policy.PhoneDisabled = false }
func withReauth(s *setup)  { s.policy.ReauthenticatePW = true }
func withCurrent(s *setup) { s.policy.CurrentPW = true }
func withLinking(s *setup) { s.policy.LinkingDisabled = false }

const (
	login    = "/token?grant_type=password"
	refresh  = "/token?grant_type=refresh_token"
	verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk" // RFC 7636, appendix B
	asS256   = `"code_challenge":"E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM","code_challenge_method":"s256"`
)

// authCode is the code that anna's link has earned.
func (h *house) authCode() string {
	h.t.Helper()
	h.newUser("anna@example.com")
	h.must(http.StatusOK, "POST", "/otp", `{"email":"anna@example.com",`+asS256+`}`)
	a := h.form("/verify", form("token", h.lastMail("anna@example.com").Token, "type", "magiclink"))
	_, code, _ := strings.Cut(a.Header().Get("Location"), "code=")
	return code
}

// trade trades anna's authorization code for tokens, after a while.
func trade(verifier string, later time.Duration) func(*house) asks {
	return func(h *house) asks {
		code := h.authCode()
		h.Clock.Advance(later)
		return send("POST", "/token?grant_type=pkce", fmt.Sprintf(`{"auth_code":%q,"code_verifier":%q}`, code, verifier))(h)
	}
}

// codes is how each failure reaches a client.
var codes = map[auth.Code]provoked{
	auth.InvalidInput:         {400, "validation_failed", 422, nil, send("POST", "/recover", `{}`)},
	auth.MalformedBody:        {400, "bad_json", 400, nil, send("POST", "/recover", `{"email":`)},
	auth.BodyTooLarge:         {413, "request_entity_too_large", 413, nil, send("POST", "/recover", `{"email":"`+strings.Repeat("a", 1<<20)+`"}`)},
	auth.NotFound:             {404, "validation_failed", 404, nil, byAdmin("GET", "/admin/users/nonsense", "")},
	auth.EmailInvalid:         {400, "validation_failed", 422, nil, send("POST", "/recover", `{"email":"nonsense"}`)},
	auth.PhoneInvalid:         {400, "validation_failed", 422, withPhone, send("POST", "/otp", `{"phone":"nonsense"}`)},
	auth.EmailNotAuthorized:   {400, "email_address_not_authorized", 400, func(s *setup) { s.policy.MailOnlyTo = []string{"a@example.com"} }, send("POST", "/recover", `{"email":"b@example.com"}`)},
	auth.PasswordMissing:      {400, "validation_failed", 422, nil, send("POST", "/signup", `{"email":"a@example.com"}`)},
	auth.PasswordTooLong:      {400, "validation_failed", 422, nil, send("POST", "/signup", `{"email":"a@example.com","password":"`+strings.Repeat("a", 1025)+`"}`)},
	auth.WeakPassword:         {422, "weak_password", 422, nil, send("POST", "/signup", `{"email":"a@example.com","password":"short"}`)},
	auth.SamePassword:         {422, "same_password", 422, nil, byUser("PUT", "/user", `{"password":"correct horse"}`)},
	auth.PasswordUseless:      {422, "validation_failed", 422, func(s *setup) { s.policy.AnonymousDisabled = false }, byNobody("PUT", "/user", `{"password":"correct horse"}`)},
	auth.SignupDisabled:       {422, "signup_disabled", 403, func(s *setup) { s.policy.SignupDisabled = true }, send("POST", "/signup", `{"email":"a@example.com","password":"correct horse"}`)},
	auth.EmailDisabled:        {422, "email_provider_disabled", 400, func(s *setup) { s.policy.EmailDisabled = true }, send("POST", "/recover", `{"email":"a@example.com"}`)},
	auth.MagicLinkDisabled:    {422, "email_provider_disabled", 422, func(s *setup) { s.policy.MagicLinkDisabled = true }, send("POST", "/otp", `{"email":"a@example.com"}`)},
	auth.PhoneDisabled:        {400, "phone_provider_disabled", 400, nil, send("POST", "/otp", `{"phone":"4915112345678"}`)},
	auth.AnonymousDisabled:    {422, "anonymous_provider_disabled", 422, nil, send("POST", "/signup", `{}`)},
	auth.MethodDisabled:       {400, "invalid_credentials", 400, nil, send("POST", "/token?grant_type=none", `{}`)},
	auth.NoSuchUserForCode:    {422, "otp_disabled", 422, func(s *setup) { s.policy.Reveal = auth.RevealHint }, send("POST", "/otp", `{"email":"a@example.com","create_user":false}`)},
	auth.InvalidCredentials:   {400, "invalid_credentials", 400, nil, send("POST", login, `{"email":"a@example.com","password":"wrong"}`)},
	auth.EmailNotConfirmed:    {400, "email_not_confirmed", 400, nil, unconfirmed("email", "a@example.com")},
	auth.PhoneNotConfirmed:    {400, "phone_not_confirmed", 400, withPhone, unconfirmed("phone", "4915112345678")},
	auth.UserBanned:           {400, "user_banned", 401, nil, then("POST", login, `{"email":"anna@example.com","password":"correct horse"}`, banned)},
	auth.UserGone:             {403, "user_not_found", 404, nil, then("GET", "/user", "", deleted)},
	auth.UserNotFound:         {404, "user_not_found", 404, nil, byAdmin("GET", "/admin/users/0b0a0000-0000-4000-8000-00000000abcd", "")},
	auth.AlreadyRegistered:    {422, "user_already_exists", 400, func(s *setup) { s.policy.Autoconfirm = true }, byAdmin("POST", "/signup", `{"email":"anna@example.com","password":"correct horse"}`)},
	auth.EmailTaken:           {422, "email_exists", 422, nil, byAdmin("POST", "/admin/users", `{"email":"anna@example.com"}`)},
	auth.PhoneTaken:           {422, "phone_exists", 422, withPhone, takenByPhone},
	auth.IDTaken:              {422, "user_already_exists", 422, nil, idTaken},
	auth.CodeFailed:           {403, "otp_expired", 404, nil, send("POST", "/verify", `{"type":"email","email":"a@example.com","token":"123456"}`)},
	auth.LinkFailed:           {403, "otp_expired", 404, nil, send("POST", "/verify", `{"type":"magiclink","token_hash":"guess"}`)},
	auth.InvitePasswordNeeded: {422, "validation_failed", 422, nil, invited},
	auth.ChangeTokenFailed:    {401, "otp_expired", 401, nil, byUser("PUT", "/user", `{"email_change_token":"guess"}`)},
	auth.FlowNotFound:         {404, "flow_state_not_found", 404, nil, send("POST", "/token?grant_type=pkce", `{"auth_code":"guess","code_verifier":"`+verifier+`"}`)},
	auth.FlowExpired:          {422, "flow_state_expired", 422, nil, trade(verifier, 6*time.Minute)},
	auth.VerifierFailed:       {400, "bad_code_verifier", 400, nil, trade("another", 0)},
	auth.TokenMissing:         {401, "no_authorization", 401, nil, send("GET", "/user", "")},
	auth.TokenInvalid:         {403, "bad_jwt", 401, nil, send("GET", "/user", "", "Authorization: Bearer rubbish")},
	auth.SessionGone:          {403, "session_not_found", 401, nil, then("GET", "/user", "", signedOut)},
	auth.SessionExpired:       {403, "session_expired", 401, func(s *setup) { s.policy.SessionInactivity = time.Minute }, then("GET", "/user", "", aWhile)},
	auth.SessionNotFound:      {404, "session_not_found", 404, nil, byUser("DELETE", "/sessions/nonsense", "")},
	auth.AudienceMismatch:     {400, "validation_failed", 400, nil, byUser("GET", "/user", "", "X-JWT-AUD: other")},
	auth.RefreshMalformed:     {400, "validation_failed", 400, nil, send("POST", refresh, `{"refresh_token":"x"}`)},
	auth.RefreshNotFound:      {400, "refresh_token_not_found", 400, nil, then("POST", refresh, `{"refresh_token":"$refresh"}`, signedOut)},
	auth.RefreshReused:        {400, "refresh_token_already_used", 400, nil, then("POST", refresh, `{"refresh_token":"$refresh"}`, tradedThrice)},
	auth.ReauthNeeded:         {400, "reauthentication_needed", 400, withReauth, tomorrow(`{"password":"another horse"}`)},
	auth.ReauthFailed:         {422, "reauthentication_not_valid", 422, withReauth, tomorrow(`{"password":"another horse","nonce":"123456"}`)},
	auth.CurrentNeeded:        {400, "current_password_required", 400, withCurrent, byUser("PUT", "/user", `{"password":"another horse"}`)},
	auth.CurrentWrong:         {400, "current_password_invalid", 400, withCurrent, byUser("PUT", "/user", `{"password":"another horse","current_password":"wrong"}`)},
	auth.LinkingDisabled:      {404, "manual_linking_disabled", 404, nil, byUser("DELETE", "/user/identities/0b0a0000-0000-4000-8000-00000000abcd", "")},
	auth.IdentityNotFound:     {422, "identity_not_found", 422, withLinking, byUser("DELETE", "/user/identities/0b0a0000-0000-4000-8000-00000000abcd", "")},
	auth.LastIdentity:         {422, "single_identity_not_deletable", 422, withLinking, lastIdentity},
	auth.NotAdmin:             {403, "not_admin", 401, nil, byUser("GET", "/admin/users", "")},
	auth.NotYours:             {403, "not_admin", 401, nil, byUser("PUT", "/user", `{"app_metadata":{"role":"admin"}}`)},
	auth.TooSoon:              {429, "over_email_send_rate_limit", 429, nil, twice("/recover", `{"email":"a@example.com"}`)},
	auth.SMSTooSoon:           {429, "over_sms_send_rate_limit", 429, withPhone, twice("/otp", `{"phone":"4915112345678"}`)},
	auth.SMSRefused:           {422, "sms_send_failed", 422, withPhone, send("POST", "/otp", `{"phone":"+1 900 555 0100"}`)},
	auth.TooMany:              {429, "over_request_rate_limit", 429, nil, guessing},
	auth.Busy:                 {429, "over_request_rate_limit", 429, func(s *setup) { s.server.Large = make(chan struct{}) }, late("POST", "/signup", strings.Repeat(" ", 64<<10)+`{}`)},
	auth.CaptchaFailed:        {400, "captcha_failed", 400, withCaptcha, send("POST", "/recover", `{"email":"a@example.com"}`)},
	auth.HookRefused:          {404, "unknown", 404, hookSays(&auth.Error{Code: auth.HookRefused, Params: map[string]any{"status": 404, "problem": "not from here"}}), aSignUp},
	auth.HookTimeout:          {422, "hook_timeout", 422, hookSays(&auth.Error{Code: auth.HookTimeout}), aSignUp},
	auth.HookTimeoutRetry:     {422, "hook_timeout_after_retry", 422, hookSays(&auth.Error{Code: auth.HookTimeoutRetry}), aSignUp},
	auth.HookTooLarge:         {422, "hook_payload_over_size_limit", 422, hookSays(&auth.Error{Code: auth.HookTooLarge}), aSignUp},
	auth.HookContentType:      {400, "hook_payload_invalid_content_type", 400, hookSays(&auth.Error{Code: auth.HookContentType}), aSignUp},
	auth.HookFailed:           {500, "unexpected_failure", 500, hookSays(&auth.Error{Code: auth.HookFailed}), aSignUp},
	auth.WebhookRefused:       {422, "unexpected_failure", 422, hookSays(&auth.Error{Code: auth.WebhookRefused, Params: map[string]any{"problem": "validate"}}), aSignUp},
	auth.WebhookUnreachable:   {502, "unexpected_failure", 502, hookSays(&auth.Error{Code: auth.WebhookUnreachable}), aSignUp},
	auth.WebhookTimeout:       {504, "unexpected_failure", 504, hookSays(&auth.Error{Code: auth.WebhookTimeout}), aSignUp},
	auth.WebhookFailed:        {500, "unexpected_failure", 500, hookSays(&auth.Error{Code: auth.WebhookFailed}), aSignUp},
	auth.Unavailable:          {503, "unexpected_failure", 503, func(s *setup) { s.frail = true }, outOfOrder},
	auth.TimedOut:             {504, "request_timeout", 504, nil, late("POST", "/recover", `{"email":"a@example.com"}`)},
	auth.TenantTaken:          {422, "validation_failed", 400, nil, tenantTaken},
	auth.TenantNotFound:       {404, "validation_failed", 404, nil, byOperator("GET", "/admin/tenants/nobody", "")},
	auth.WebhookNotFound:      {404, "validation_failed", 404, nil, byAdmin("GET", "/admin/webhooks/0b0a0000-0000-4000-8000-00000000abcd", "")},
	auth.DeliveryNotFound:     {404, "validation_failed", 404, nil, noDelivery},
	auth.TooManyWebhooks:      {422, "validation_failed", 422, nil, fifty},
	auth.SignMissing:          {400, "validation_failed", 400, nil, signed()},
	auth.SignInvalid:          {400, "validation_failed", 400, nil, signed("rubbish")},
}

// hookSays has a hook of the operator's say no to every new user.
func hookSays(why error) func(*setup) {
	return func(s *setup) {
		s.hooks.BeforeUser = func(context.Context, auth.Caller, *auth.User) (auth.Changed, error) { return auth.Changed{}, why }
	}
}

var aSignUp = send("POST", "/signup", `{"email":"a@example.com","password":"correct horse"}`)

func unconfirmed(by, contact string) func(*house) asks {
	return func(h *house) asks {
		body := fmt.Sprintf(`{%q:%q,"password":"correct horse"}`, by, contact)
		h.must(http.StatusOK, "POST", "/signup", body)
		return send("POST", login, body)(h)
	}
}

// byNobody is send with the token of an anonymous user.
func byNobody(method, path, body string) func(*house) asks {
	return func(h *house) asks {
		access := h.must(http.StatusOK, "POST", "/signup", `{}`).text("access_token")
		return send(method, path, body, bearer(access))(h)
	}
}

func banned(h *house, id, _, _ string) {
	h.must(http.StatusOK, "PUT", "/admin/users/"+id, `{"ban_duration":"1h"}`, bearer(h.Policy().OperatorToken))
}

func deleted(h *house, id, _, _ string) {
	h.must(http.StatusOK, "DELETE", "/admin/users/"+id, "", bearer(h.Policy().OperatorToken))
}

func signedOut(h *house, _, access, _ string) {
	h.must(http.StatusNoContent, "POST", "/logout", "", bearer(access))
}

func aWhile(h *house, _, _, _ string) { h.Clock.Advance(2 * time.Minute) }

func tradedThrice(h *house, _, _, token string) {
	for range 3 {
		token = h.must(http.StatusOK, "POST", refresh, `{"refresh_token":"`+token+`"}`).text("refresh_token")
	}
	h.Clock.Advance(time.Minute)
}

func takenByPhone(h *house) asks {
	ask := byAdmin("POST", "/admin/users", `{"phone":"4915112345678"}`)(h)
	ask()
	return ask
}

func idTaken(h *house) asks {
	id := h.newUser("bob@example.com").String()
	return byAdmin("POST", "/admin/users", `{"id":"`+id+`","email":"new@example.com"}`)(h)
}

func invited(h *house) asks {
	h.must(http.StatusOK, "POST", "/invite", `{"email":"a@example.com"}`, bearer(h.Policy().OperatorToken))
	return send("POST", "/verify", `{"type":"signup","token":"`+h.lastMail("a@example.com").Token+`"}`)(h)
}

// tomorrow changes anna's password with a session of yesterday.
func tomorrow(body string) func(*house) asks {
	return func(h *house) asks {
		h.newUser("anna@example.com")
		_, token := h.signIn("anna@example.com")
		h.Clock.Advance(25 * time.Hour)
		access := h.must(http.StatusOK, "POST", refresh, `{"refresh_token":"`+token+`"}`).text("access_token")
		return send("PUT", "/user", body, bearer(access))(h)
	}
}

func lastIdentity(h *house) asks {
	h.newUser("anna@example.com")
	access, _ := h.signIn("anna@example.com")
	var u struct {
		Identities []struct {
			ID string `json:"identity_id"`
		}
	}
	err := json.Unmarshal(h.must(http.StatusOK, "GET", "/user", "", bearer(access)).Body.Bytes(), &u)
	if err != nil || len(u.Identities) != 1 {
		h.t.Fatalf("anna has %d identities (%v), want 1", len(u.Identities), err)
	}
	return send("DELETE", "/user/identities/"+u.Identities[0].ID, "", bearer(access))(h)
}

func twice(path, body string) func(*house) asks {
	return func(h *house) asks {
		h.must(http.StatusOK, "POST", path, body)
		return send("POST", path, body)(h)
	}
}

// guessing has spent the ten wrong codes of an hour.
func guessing(h *house) asks {
	ask := send("POST", "/verify", `{"type":"email","email":"a@example.com","token":"0000000"}`)(h)
	for range 10 {
		ask()
	}
	return ask
}

// late asks when the time of the request is over before it begins.
func late(method, path, body string) func(*house) asks {
	return func(h *house) asks {
		return func(headers ...string) answer {
			over, cancel := context.WithCancel(h.t.Context())
			cancel()
			headers = append(headers, bearer(h.Policy().OperatorToken))
			return h.send(newRequest(method, path, strings.NewReader(body), headers...).WithContext(over))
		}
	}
}

func outOfOrder(h *house) asks {
	ask := send("POST", "/recover", `{"email":"a@example.com"}`)(h)
	return func(headers ...string) answer {
		h.outage.Cut(h.t)
		defer h.outage.Mend(h.t)
		return ask(headers...)
	}
}

// Every failure a client can meet, in every form it can come in. Statuses and
// codes are those of contract §2.11, and of §1.1 for Netlify's clients.
func TestCodes_eachReachesItsClientInEveryForm(t *testing.T) {
	t.Parallel()
	for _, c := range auth.Codes {
		p, ok := codes[c]
		if !ok {
			p, ok = codesOutside[c]
		}
		if why := unprovoked[c]; ok == (why != "") {
			t.Errorf("%s: provoked: %v; not, because %q. Want one of the two", c, ok, why)
		}
		if !ok {
			continue
		}
		t.Run(string(c), func(t *testing.T) {
			t.Parallel()
			for _, family := range []struct {
				name, header string
				status       int
			}{
				{"Supabase", "X-Client-Info: supabase-js/2", p.status},
				{"Supabase, newer", "X-Supabase-Api-Version: 2024-01-01", p.status},
				{"Netlify", "X-Nf-Client: gotrue-js", p.netlify},
			} {
				h := newHouse(t, p.house)
				a := p.ask(h)(family.header)
				if a.Code != family.status {
					t.Errorf("%s: status %d, want %d: %s", family.name, a.Code, family.status, a.Body)
				}
				if strings.Contains(family.header, "Version") {
					inNewForm(t, a, p.code)
				} else {
					inOldForm(t, a, p.code)
				}
				if wait, err := strconv.Atoi(a.Header().Get("Retry-After")); (a.Code == http.StatusTooManyRequests || a.Code == http.StatusServiceUnavailable) && (err != nil || wait < 1) {
					t.Errorf("%s: Retry-After is %q, want seconds", family.name, a.Header().Get("Retry-After"))
				}
				if got := a.Header().Get("X-Sb-Error-Code"); got != p.code {
					t.Errorf("%s: X-Sb-Error-Code is %q, want %q", family.name, got, p.code)
				}
			}
		})
	}
}

// inOldForm checks {"code":<status>,"error_code":…,"msg":…}.
func inOldForm(t *testing.T, a answer, code string) {
	t.Helper()
	if a.JSON["code"] != float64(a.Code) || a.text("error_code") != code || a.text("msg") == "" {
		t.Errorf("the body is %s, want the status as code, %s as error_code, and msg", a.Body, code)
	}
	noOtherKeys(t, a, "code", "error_code", "msg")
	if got := a.Header().Get("X-Supabase-Api-Version"); got != "" {
		t.Errorf("X-Supabase-Api-Version is %q, want none", got)
	}
}

// inNewForm checks {"code":"…","message":…}.
func inNewForm(t *testing.T, a answer, code string) {
	t.Helper()
	if a.text("code") != code || a.text("message") == "" {
		t.Errorf("the body is %s, want %s as code, and message", a.Body, code)
	}
	noOtherKeys(t, a, "code", "message")
	if got := a.Header().Get("X-Supabase-Api-Version"); got != "2024-01-01" {
		t.Errorf("X-Supabase-Api-Version is %q, want 2024-01-01", got)
	}
}

func noOtherKeys(t *testing.T, a answer, known ...string) {
	t.Helper()
	if a.Code >= 500 {
		known = append(known, "error_id")
	}
	known = append(known, "weak_password")
	for k := range a.JSON {
		if !slices.Contains(known, k) {
			t.Errorf("the body has %q in it: %s", k, a.Body)
		}
	}
	_, weak := a.JSON["weak_password"]
	if want := a.Header().Get("X-Sb-Error-Code") == "weak_password"; weak != want {
		t.Errorf("weak_password is there: %v, want %v: %s", weak, want, a.Body)
	}
}

// A form-encoded /token is Netlify's, and fails as RFC 6749 §5.2 has it: always
// 400, but for failures of ours and too many requests.
func TestCodes_ofAFormAreThoseOfOAuth(t *testing.T) {
	t.Parallel()
	password := form("grant_type", "password", "username", "anna@example.com", "password", "correct horse")
	for name, tc := range map[string]struct {
		house  func(*setup)
		ready  func(h *house, id, access, refresh string)
		values map[string]string // over those of a right sign-in
		want   string
		says   string
	}{
		"no such user":       {values: map[string]string{"username": "nobody@example.com"}, want: "invalid_grant", says: "No user found with that email, or password invalid."},
		"a wrong password":   {values: map[string]string{"password": "wrong"}, want: "invalid_grant", says: "No user found with that email, or password invalid."},
		"nobody":             {values: map[string]string{"username": ""}, want: "invalid_request"},
		"banned":             {ready: banned, want: "invalid_grant", says: "User is banned"},
		"no e-mail":          {house: func(s *setup) { s.policy.EmailDisabled = true }, ready: func(*house, string, string, string) {}, want: "invalid_grant"},
		"no grant":           {values: map[string]string{"grant_type": ""}, want: "unsupported_grant_type"},
		"another grant":      {values: map[string]string{"grant_type": "client_credentials"}, want: "unsupported_grant_type"},
		"no refresh token":   {values: map[string]string{"grant_type": "refresh_token"}, want: "invalid_request"},
		"a bad one":          {values: map[string]string{"grant_type": "refresh_token", "refresh_token": "x"}, want: "invalid_grant", says: "Invalid Refresh Token"},
		"one of a sign-out":  {ready: signedOut, values: map[string]string{"grant_type": "refresh_token", "refresh_token": "$refresh"}, want: "invalid_grant", says: "Invalid Refresh Token"},
		"one that is traded": {ready: tradedThrice, values: map[string]string{"grant_type": "refresh_token", "refresh_token": "$refresh"}, want: "invalid_grant", says: "Invalid Refresh Token"},
		"one of an old session": {
			house: func(s *setup) { s.policy.SessionInactivity = time.Minute }, ready: aWhile,
			values: map[string]string{"grant_type": "refresh_token", "refresh_token": "$refresh"}, want: "invalid_grant", says: "Session has expired",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, tc.house)
			id, access, token := h.newUser("anna@example.com").String(), "", ""
			if !h.Policy().EmailDisabled {
				access, token = h.signIn("anna@example.com")
			}
			if tc.ready != nil {
				tc.ready(h, id, access, token)
			}
			v := form("grant_type", password.Get("grant_type"), "username", password.Get("username"), "password", password.Get("password"))
			for k, value := range tc.values {
				v.Set(k, strings.ReplaceAll(value, "$refresh", token))
			}
			a := h.form("/token", v)
			if a.Code != http.StatusBadRequest || a.text("error") != tc.want || a.text("error_description") == "" || len(a.JSON) != 2 {
				t.Errorf("%d %s, want 400 and the error %s with a description", a.Code, a.Body, tc.want)
			}
			if tc.says != "" && a.text("error_description") != tc.says {
				t.Errorf("it says %q, want %q", a.text("error_description"), tc.says)
			}
		})
	}
}

func TestCodes_aBannedUserIsToldAtTheBearerToo(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	h.newUser("anna@example.com")
	h.must(http.StatusOK, "POST", "/otp", `{"email":"anna@example.com"}`)
	m := h.lastMail("anna@example.com")
	u, err := h.UserByEmail(t.Context(), auth.Caller{}, "anna@example.com")
	if err != nil {
		t.Fatal(err)
	}
	banned(h, u.ID.String(), "", "")
	a := h.do("POST", "/verify", `{"type":"magiclink","token_hash":"`+m.Token+`"}`)
	if a.Code != http.StatusForbidden || a.text("error_code") != "user_banned" {
		t.Errorf("a banned user's link = %d %s, want 403 user_banned", a.Code, a.Body)
	}
}
