// Package notify writes messages and sends them.
//
// It knows the kinds of mail, their words in every language and their looks,
// how an operator's own templates take their place, and how a mail leaves: over SMTP, or into an
// Inbox that keeps it for a developer to read. Begin reading at Mail and
// Templates.Render; then smtp.go and inbox.go.
//
// It must never evaluate what a user wrote as a template, build a link by
// itself (links come finished in Vars, made from configuration and not from a
// request), or write a code or a link into a log. It decides nothing about who
// is sent what.
package notify

import (
	"context"
	"errors"
	"strings"
	"time"
)

// Kind says what a mail is about. Its text is also the name in settings.
type Kind string

// The kinds of mail.
const (
	Invite            Kind = "invite"             // somebody was invited
	Confirmation      Kind = "confirmation"       // prove the address after signing up
	Recovery          Kind = "recovery"           // choose a new password
	MagicLink         Kind = "magic_link"         // sign in by mail
	EmailChange       Kind = "email_change"       // prove or allow a new address
	Reauthentication  Kind = "reauthentication"   // prove presence before something delicate
	AlreadyRegistered Kind = "already_registered" // somebody signed up again with a confirmed address
	AddressWanted     Kind = "address_wanted"     // another user wanted this address as theirs

	PasswordChanged  Kind = "password_changed_notification"
	EmailChanged     Kind = "email_changed_notification"
	PhoneChanged     Kind = "phone_changed_notification"
	IdentityLinked   Kind = "identity_linked_notification"
	IdentityUnlinked Kind = "identity_unlinked_notification"
	FactorEnrolled   Kind = "mfa_factor_enrolled_notification"
	FactorUnenrolled Kind = "mfa_factor_unenrolled_notification"
	NewDevice        Kind = "new_device_notification" // signed in where the user never was before
)

// Kinds returns every kind of mail.
func Kinds() []Kind {
	return []Kind{
		Invite, Confirmation, Recovery, MagicLink, EmailChange, Reauthentication, AlreadyRegistered, AddressWanted,
		PasswordChanged, EmailChanged, PhoneChanged, IdentityLinked, IdentityUnlinked, FactorEnrolled, FactorUnenrolled, NewDevice,
	}
}

// notice reports whether mails of kind k only tell their reader that something
// happened. They carry no code, and no link but UndoURL.
func (k Kind) notice() bool { return strings.HasSuffix(string(k), "_notification") }

// bare reports whether mails of kind k are caused by somebody who is not their
// reader: they must not open, undo or repeat anything.
func (k Kind) bare() bool { return k == AlreadyRegistered || k == AddressWanted }

// Mail is a message as it waits in the queue: what to say to whom, not yet in
// words.
type Mail struct {
	ID      string `json:"id"` // unique; the same at every attempt, so that a repeated delivery is recognisable
	Kind    Kind   `json:"kind"`
	To      string `json:"to"`                // one bare address
	User    string `json:"user,omitempty"`    // the id of the user it is about; empty: whoever has the address
	Netlify bool   `json:"netlify,omitempty"` // template variable Token is the link token, as Netlify GoTrue has it
	Vars    Vars   `json:"vars"`
	// Languages are the reader's, as BCP 47 tags, best first. They may come
	// from anywhere: all but the first eight of at most 35 bytes are ignored, and
	// so is what is no tag.
	Languages []string `json:"languages,omitempty"`
}

// Vars are what templates may show. Data is written by the user and so may be
// any of the addresses: nothing in here is ever parsed as a template.
type Vars struct {
	SiteURL         string         `json:"site_url,omitempty"` // empty: Options.SiteURL
	ConfirmationURL string         `json:"confirmation_url,omitempty"`
	NetlifyURL      string         `json:"netlify_url,omitempty"`    // link to the site: SITE_URL#confirmation_token=…
	SupabaseURL     string         `json:"supabase_url,omitempty"`   // link to the API: …/verify?token=…
	Email           string         `json:"email,omitempty"`          // the user's present address
	NewEmail        string         `json:"new_email,omitempty"`      // the address to be, for EmailChange
	SendingTo       string         `json:"sending_to,omitempty"`     // empty: Mail.To
	Token           string         `json:"token,omitempty"`          // six-digit code
	TokenHash       string         `json:"token_hash,omitempty"`     // link token
	TokenNew        string         `json:"token_new,omitempty"`      // those of NewEmail, where one EmailChange carries
	TokenHashNew    string         `json:"token_hash_new,omitempty"` // the questions to both addresses
	RedirectTo      string         `json:"redirect_to,omitempty"`
	Data            map[string]any `json:"data,omitempty"` // user metadata

	// Of notices; Device and At also of what somebody asked for.
	OldEmail   string    `json:"old_email,omitempty"`
	Phone      string    `json:"phone,omitempty"`
	OldPhone   string    `json:"old_phone,omitempty"`
	Provider   string    `json:"provider,omitempty"`    // whose identity was linked or unlinked
	FactorType string    `json:"factor_type,omitempty"` // "totp", "phone", "webauthn"
	Device     string    `json:"device,omitempty"`      // "Firefox on Linux"
	Place      string    `json:"place,omitempty"`       // an IP address
	At         time.Time `json:"at,omitzero"`           // when it happened
	UndoURL    string    `json:"undo_url,omitempty"`    // "this was not me"; good for 72 hours
	Undone     bool      `json:"undone,omitempty"`      // a Recovery mail follows the use of such a link
}

// Rendered is a mail in words.
type Rendered struct {
	Subject string // one line, no control characters
	HTML    string
	Text    string // the same for readers without HTML
}

// Sender delivers one mail. It returns nil once the mail is somebody else's
// duty, a *PermanentError if trying again is of no use, and any other error if
// it may be tried later.
type Sender interface {
	Send(ctx context.Context, m Mail, r Rendered) error
}

// PermanentError marks an error that another attempt would only repeat: an
// address that does not exist, a mail that was refused for good.
type PermanentError struct{ Err error }

// Error returns the text of what it wraps.
func (e *PermanentError) Error() string { return e.Err.Error() }

// Unwrap returns what it wraps.
func (e *PermanentError) Unwrap() error { return e.Err }

// Permanent reports whether err says that another attempt is of no use.
func Permanent(err error) bool {
	var p *PermanentError
	return errors.As(err, &p)
}
