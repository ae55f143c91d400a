package auth

import (
	"errors"
	"time"

	"gatehouse/internal/store"
)

// Code says what went wrong, for clients. Every edge maps every code to its
// own wire form; a test holds it to that.
type Code string

// The codes. Where a comment says nothing, the name does.
const (
	InvalidInput         Code = "invalid_input"           // a field is missing or malformed; Field says which, Params["problem"] how
	MalformedBody        Code = "malformed_body"          // the body is not what its type says
	BodyTooLarge         Code = "body_too_large"          // over the limit of the edge
	NotFound             Code = "not_found"               // no such thing to act on
	EmailInvalid         Code = "email_invalid"           //
	PhoneInvalid         Code = "phone_invalid"           // not in E.164 form
	EmailNotAuthorized   Code = "email_not_authorized"    // the operator lets mail go to a few addresses only
	PasswordMissing      Code = "password_missing"        // a sign-up without one
	PasswordTooLong      Code = "password_too_long"       // over 1,024 bytes
	WeakPassword         Code = "weak_password"           // Params["reasons"]: length, characters, pwned
	SamePassword         Code = "same_password"           // the new one is the old one
	PasswordUseless      Code = "password_useless"        // nobody could sign in with it: the user has neither address nor number
	SignupDisabled       Code = "signup_disabled"         //
	EmailDisabled        Code = "email_disabled"          // e-mail is no way in here
	MagicLinkDisabled    Code = "magic_link_disabled"     //
	PhoneDisabled        Code = "phone_disabled"          // likewise the phone
	AnonymousDisabled    Code = "anonymous_disabled"      // likewise nobody in particular
	MethodDisabled       Code = "method_disabled"         // no such way in here
	NoSuchUserForCode    Code = "no_such_user_for_code"   // a code was asked for an unknown address and no user may be made
	InvalidCredentials   Code = "invalid_credentials"     // wrong secret, or no such user: never say which
	EmailNotConfirmed    Code = "email_not_confirmed"     // told only after a right secret
	PhoneNotConfirmed    Code = "phone_not_confirmed"     // likewise
	UserBanned           Code = "user_banned"             // likewise
	UserGone             Code = "user_gone"               // the token's user does not exist any more
	UserNotFound         Code = "user_not_found"          // told to administrators
	AlreadyRegistered    Code = "already_registered"      // a sign-up with a known address, where telling is allowed
	EmailTaken           Code = "email_taken"             // another user has the address
	PhoneTaken           Code = "phone_taken"             // another user has the number
	IDTaken              Code = "id_taken"                // another user has the id an administrator chose
	CodeFailed           Code = "code_failed"             // wrong, used, expired or unknown short code
	LinkFailed           Code = "link_failed"             // likewise the long secret of a link
	InvitePasswordNeeded Code = "invite_password_needed"  // a Netlify invitation is accepted with a password
	ChangeTokenFailed    Code = "change_token_failed"     // an e-mail change token that is wrong or of another user
	FlowNotFound         Code = "flow_not_found"          // unknown or used authorization code (PKCE)
	FlowExpired          Code = "flow_expired"            //
	VerifierFailed       Code = "verifier_failed"         // RFC 7636 §4.6
	TokenMissing         Code = "token_missing"           // no access token came along
	TokenInvalid         Code = "token_invalid"           // it is expired, forged or not ours
	SessionGone          Code = "session_gone"            // it was ended
	SessionExpired       Code = "session_expired"         // it outlived a limit
	SessionNotFound      Code = "session_not_found"       // no such session to act on
	AudienceMismatch     Code = "audience_mismatch"       //
	RefreshMalformed     Code = "refresh_malformed"       // not a refresh token of ours
	RefreshNotFound      Code = "refresh_not_found"       // its session is gone
	RefreshReused        Code = "refresh_reused"          // its session has been ended because of it
	ReauthNeeded         Code = "reauthentication_needed" //
	ReauthFailed         Code = "reauthentication_failed" //
	CurrentNeeded        Code = "current_password_needed" //
	CurrentWrong         Code = "current_password_wrong"  //
	LinkingDisabled      Code = "linking_disabled"        // users may not change their identities
	IdentityNotFound     Code = "identity_not_found"      //
	LastIdentity         Code = "last_identity"           // without it nothing would be left to come in by
	NotAdmin             Code = "not_admin"               //
	NotYours             Code = "not_yours"               // a field only administrators set
	TooSoon              Code = "too_soon"                // a mail of that kind went out just now; RetryAfter
	SMSTooSoon           Code = "sms_too_soon"            // likewise a text message, or the budget for them is spent
	SMSRefused           Code = "sms_refused"             // no text message is sent to such a number
	TooMany              Code = "too_many"                // too many requests; RetryAfter
	Busy                 Code = "busy"                    // too many passwords to check at once; RetryAfter
	TenantTaken          Code = "tenant_taken"            // another tenant has the name, the host or the external id
	TenantNotFound       Code = "tenant_not_found"        // told to the operator
	SignMissing          Code = "sign_missing"            // where each request must name its tenant, and this one does not
	SignInvalid          Code = "sign_invalid"            // likewise, and nobody signed for it
	HookRefused          Code = "hook_refused"            // an operator's hook said no; Params["status"], Params["problem"] are its own
	HookTimeout          Code = "hook_timeout"            // it did not answer in time
	HookTimeoutRetry     Code = "hook_timeout_retry"      // likewise, though asked again as it wished
	HookTooLarge         Code = "hook_too_large"          // its answer is larger than anybody reads
	HookContentType      Code = "hook_content_type"       // its answer is no JSON
	HookFailed           Code = "hook_failed"             // its answer is none, or cannot be used
	WebhookRefused       Code = "webhook_refused"         // a webhook that may refuse did; Params["problem"] is the event
	WebhookUnreachable   Code = "webhook_unreachable"     //
	WebhookTimeout       Code = "webhook_timeout"         //
	WebhookFailed        Code = "webhook_failed"          // its answer cannot be used
	CaptchaFailed        Code = "captcha_failed"          // what was to be solved was not; Params["problem"]
	WebhookNotFound      Code = "webhook_not_found"       // no such endpoint
	DeliveryNotFound     Code = "delivery_not_found"      // no such delivery, or it has not ended
	TooManyWebhooks      Code = "too_many_webhooks"       // a tenant has 50 at most
	ProviderUnknown      Code = "provider_unknown"        // nobody of that name keeps accounts one could sign in with; Params["problem"] is the name
	ProviderDisabled     Code = "provider_disabled"       // likewise, but known
	ProviderRefused      Code = "provider_refused"        // who keeps the account said no, or its owner did; Params["error"], Params["problem"] are its own words
	ProviderFailed       Code = "provider_failed"         // its answer cannot be used
	ProviderCode         Code = "provider_code"           // it does not know the code that somebody came back with, or not any more
	ProviderUnavailable  Code = "provider_unavailable"    // it does not answer
	ProviderNoEmail      Code = "provider_no_email"       // it gave no address, and one is asked for
	ProviderUnproved     Code = "provider_unproved"       // it does not vouch for the address; a mail has gone there
	IDTokenFailed        Code = "id_token_failed"         // Params["problem"]
	StateFailed          Code = "state_failed"            // who comes back never set out, not in this browser, or too long ago
	CallbackFailed       Code = "callback_failed"         // they bring neither a code nor an error
	IdentityTaken        Code = "identity_taken"          // the account elsewhere is another user's
	AccountExists        Code = "account_exists"          // the address has a user, whom the account elsewhere may not join by itself
	InviteMismatch       Code = "invite_mismatch"         // the account elsewhere is not of the address that was invited
	InviteNotFound       Code = "invite_not_found"        //
	CustomNotFound       Code = "custom_not_found"        // no such provider
	CustomTaken          Code = "custom_taken"            // there is one of that name
	TooManyCustom        Code = "too_many_custom"         //
	SAMLDisabled         Code = "saml_disabled"           //
	RelayNotFound        Code = "relay_not_found"         // an assertion nobody here asked for
	RelayExpired         Code = "relay_expired"           // or that comes too late
	IdPNotFound          Code = "idp_not_found"           // or from somebody unknown
	IdPExists            Code = "idp_exists"              // its entity id is that of another connection
	AssertionNoUser      Code = "assertion_no_user"       // it does not say who
	AssertionNoEmail     Code = "assertion_no_email"      // or not by which address
	AssertionFailed      Code = "assertion_failed"        // its signature, its time, its addressee are not right; Params["problem"]
	MetadataFailed       Code = "metadata_failed"         // that of an identity provider; Params["problem"]
	EntityMismatch       Code = "entity_mismatch"         // likewise: it is of another
	SSONotFound          Code = "sso_not_found"           // no such connection
	SSODisabled          Code = "sso_disabled"            //
	DomainTaken          Code = "domain_taken"            // of another connection
	SSOManaged           Code = "sso_managed"             // a company keeps the user's address and has them sign in
	Web3Disabled         Code = "web3_disabled"           //
	Web3Chain            Code = "web3_chain"              // neither Ethereum nor Solana
	Web3Failed           Code = "web3_failed"             // Params["problem"]
	AlreadyLinked        Code = "already_linked"          // the user has an account with that provider
	NotLinked            Code = "not_linked"              // or has none
	SetupClosed          Code = "setup_closed"            // the first administrator exists, or the link is dead
	Unavailable          Code = "unavailable"             // the database cannot do its work now; RetryAfter
	TimedOut             Code = "timed_out"               //
	Internal             Code = "internal"                // everything else; its text is for the log
)

// Codes lists every code a client may see.
var Codes = []Code{
	InvalidInput, MalformedBody, BodyTooLarge, NotFound, EmailInvalid, PhoneInvalid, EmailNotAuthorized, PasswordMissing, PasswordTooLong, WeakPassword, SamePassword, PasswordUseless,
	SignupDisabled, EmailDisabled, MagicLinkDisabled, PhoneDisabled, AnonymousDisabled, MethodDisabled, NoSuchUserForCode, InvalidCredentials,
	EmailNotConfirmed, PhoneNotConfirmed, UserBanned, UserGone, UserNotFound, AlreadyRegistered, EmailTaken, PhoneTaken, IDTaken, CodeFailed, LinkFailed,
	InvitePasswordNeeded, ChangeTokenFailed, FlowNotFound, FlowExpired, VerifierFailed, TokenMissing, TokenInvalid,
	SessionGone, SessionExpired, SessionNotFound, AudienceMismatch, RefreshMalformed, RefreshNotFound, RefreshReused, ReauthNeeded,
	ReauthFailed, CurrentNeeded, CurrentWrong, LinkingDisabled, IdentityNotFound, LastIdentity, NotAdmin, NotYours, TooSoon, SMSTooSoon, SMSRefused, TooMany, Busy, TenantTaken, TenantNotFound, SignMissing, SignInvalid, HookRefused, HookTimeout, HookTimeoutRetry, HookTooLarge, HookContentType, HookFailed,
	WebhookRefused, WebhookUnreachable, WebhookTimeout, WebhookFailed, WebhookNotFound, DeliveryNotFound, TooManyWebhooks, CaptchaFailed,
	ProviderUnknown, ProviderDisabled, ProviderRefused, ProviderFailed, ProviderCode, ProviderUnavailable, ProviderNoEmail, ProviderUnproved, IDTokenFailed, StateFailed, CallbackFailed, IdentityTaken, AccountExists, InviteMismatch, InviteNotFound,
	CustomNotFound, CustomTaken, TooManyCustom, SAMLDisabled, RelayNotFound, RelayExpired, IdPNotFound, IdPExists, AssertionNoUser, AssertionNoEmail, AssertionFailed, MetadataFailed, EntityMismatch, SSONotFound, SSODisabled, DomainTaken, SSOManaged, Web3Disabled, Web3Chain, Web3Failed, AlreadyLinked, NotLinked,
	SetupClosed, Unavailable, TimedOut, Internal,
}

// Error is a failure a client may know about. Any other error is Internal:
// its text is for the log.
type Error struct {
	Code       Code
	Field      string // the input at fault, if one is
	Params     map[string]any
	RetryAfter time.Duration
	Err        error // for the log
}

func (e *Error) Error() string {
	s := string(e.Code)
	if e.Field != "" {
		s += " (" + e.Field + ")"
	}
	if p, ok := e.Params["problem"].(string); ok {
		s += ": " + p
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *Error) Unwrap() error { return e.Err }

// Told returns what a client is told of err: the first Error in its chain,
// that the database is not available, or Internal.
func Told(err error) *Error {
	var e *Error
	switch {
	case errors.As(err, &e):
		return e
	case errors.Is(err, store.ErrUnavailable):
		return &Error{Code: Unavailable, RetryAfter: comeBack, Err: err}
	}
	return &Error{Code: Internal, Err: err}
}

// comeBack is when a database that fails is worth another try.
const comeBack = 2 * time.Second

// CodeOf returns the code a client is told.
func CodeOf(err error) Code { return Told(err).Code }

// Invalid says what is wrong with a field, in words for the client.
func Invalid(field, problem string) error {
	return &Error{Code: InvalidInput, Field: field, Params: map[string]any{"problem": problem}}
}

func fail(c Code) error { return &Error{Code: c} }
