package auth

import (
	"encoding/json"
	"fmt"
	"time"

	"gatehouse/internal/notify"
	"gatehouse/internal/secret"
	"gatehouse/internal/store"
)

// Kind is what a one-time secret is for. It is part of the keyed hash a secret
// is kept by, so one made for a purpose opens no other.
type Kind string

// The kinds of question.
const (
	KindConfirmation  Kind = "confirmation"
	KindInvite        Kind = "invite"
	KindRecovery      Kind = "recovery"
	KindMagicLink     Kind = "magic_link"
	KindChangeCurrent Kind = "email_change_current" // put to the address a user has
	KindChangeNew     Kind = "email_change_new"     // put to the address they want
	KindReauth        Kind = "reauthentication"
	KindSMS           Kind = "sms"          // confirms a number, or signs in by it
	KindPhoneChange   Kind = "phone_change" // put to the number a user wants
	KindUndo          Kind = "undo"         // «this was not me»
	KindPKCE          Kind = "pkce"
	kindJourney       Kind = "journey" // no question of ours: what a provider was asked
	KindSetup         Kind = "setup"
)

// signsIn tells whether the answer to a question of that kind opens a session
// by itself. An authorization code needs its verifier, and must not come in by
// the door of links without it.
func (k Kind) signsIn() bool {
	switch k {
	case KindConfirmation, KindInvite, KindRecovery, KindMagicLink, KindChangeCurrent, KindChangeNew, KindSMS, KindPhoneChange:
		return true
	}
	return false
}

// mailKinds are the messages that carry a question.
var mailKinds = map[Kind]notify.Kind{
	KindConfirmation: notify.Confirmation, KindInvite: notify.Invite, KindRecovery: notify.Recovery,
	KindMagicLink: notify.MagicLink, KindChangeCurrent: notify.EmailChange, KindChangeNew: notify.EmailChange,
	KindReauth: notify.Reauthentication,
}

// Question is what was asked, as its answer sees it.
type Question struct {
	Kind       Kind       `json:"-"`
	UserID     UserID     `json:"-"`
	SentTo     string     `json:"-"`
	ExpiresAt  time.Time  `json:"-"`
	RedirectTo string     `json:"redirect_to,omitempty"`
	NewEmail   string     `json:"new_email,omitempty"` // of a change of address: a yes to one is not a yes to another
	NewPhone   string     `json:"new_phone,omitempty"` // likewise
	Kept       bool       `json:"kept,omitempty"`      // a service knows the code, not we
	Device     string     `json:"device,omitempty"`    // it was asked for on
	Browser    bool       `json:"browser,omitempty"`   // which is a browser
	IP         string     `json:"ip,omitempty"`        // from there
	Undo       *Undoing   `json:"undo,omitempty"`
	PKCE       PKCE       `json:"pkce,omitzero"`
	AMR        string     `json:"amr,omitempty"`      // of an authorization code: how its owner signed in
	Provider   string     `json:"provider,omitempty"` // likewise: with an account of whom
	Identity   IdentityID `json:"identity,omitzero"`  // and which
	Tokens     []byte     `json:"tokens,omitempty"`   // of that account, sealed
}

// PKCE is a code challenge (RFC 7636 §4.2).
type PKCE struct {
	Challenge string `json:"challenge"`
	Method    string `json:"method"` // "s256" or "plain"
}

// Flow is what the edge knows of a mail flow: where to go afterwards and how
// its links look. The core builds no addresses.
type Flow struct {
	RedirectTo string // checked by the edge
	PKCE       PKCE
	Netlify    bool       // the client finishes the flow itself, from the link's fragment
	Channel    string     // of text messages: "sms" (also empty) or "whatsapp"
	undone     bool       // «this was not me» has asked
	identity   IdentityID // of the account elsewhere whose address is asked about
	Links      func(kind Kind, token, redirectTo string) (server, client string)
}

func readQuestion(c store.Challenge) (*Question, error) {
	q := Question{Kind: Kind(c.Kind), UserID: c.UserID, SentTo: c.SentTo, ExpiresAt: c.ExpiresAt}
	err := json.Unmarshal(c.Data, &q)
	if err != nil {
		return nil, fmt.Errorf("auth: challenge %s: %w", c.ID, err)
	}
	return &q, nil
}

func (s *Service) linkHash(k Kind, token string) []byte {
	h := s.root.MAC("link", []byte(k), []byte(token))
	return h[:]
}

func (s *Service) codeHash(k Kind, user UserID, sentTo, code string) []byte {
	h := s.root.MAC("code", []byte(k), user[:], []byte(sentTo), []byte(code))
	return h[:]
}

// put asks u a question where to says, by mail or by text message. made tells
// that the user came to be just now, for this.
func (s *Service) put(tx *store.Tx, c Caller, u *User, k Kind, to Contact, made bool, f Flow) error {
	if to.Phone != "" {
		return s.askBySMS(tx, c, u, k, to.Phone, made, f)
	}
	return s.askByMail(tx, c, u, k, to.Email, f)
}

// secrets are the two answers to one question: a long one for a link and a
// short one to type.
type secrets struct{ link, code string }

// ask stores a question to u in place of the last of its kind.
func (s *Service) ask(tx *store.Tx, c Caller, u *User, k Kind, to string, f Flow) (secrets, error) {
	sec := secrets{secret.Token(), secret.Code(s.policy.CodeDigits)}
	if f.PKCE.Challenge != "" {
		sec.link = "pkce_" + sec.link // some server-side clients look for it
	}
	q := Question{RedirectTo: f.RedirectTo, PKCE: f.PKCE, Device: DeviceName(c.Agent), Browser: IsBrowser(c.Agent), IP: c.IP, Identity: f.identity}
	if k == KindChangeCurrent || k == KindChangeNew {
		q.NewEmail = u.NewEmail
	}
	data, err := json.Marshal(q)
	if err != nil {
		return sec, fmt.Errorf("auth: question: %w", err)
	}
	ttl := s.linkTTL(k)
	return sec, tx.SetChallenge(store.Challenge{
		ID: store.NewChallengeID(), Kind: string(k), Subject: u.ID[:], UserID: u.ID,
		TokenHash: s.linkHash(k, sec.link), CodeHash: s.codeHash(k, u.ID, to, sec.code), SentTo: to, Data: data,
		CodeExpiresAt: tx.Now.Add(s.policy.CodeTTL), ExpiresAt: tx.Now.Add(ttl),
	}, codeBudget)
}

// askByMail asks and queues the mail that carries both secrets.
func (s *Service) askByMail(tx *store.Tx, c Caller, u *User, k Kind, to string, f Flow) error {
	sec, err := s.ask(tx, c, u, k, to, f)
	if err != nil {
		return err
	}
	vars := notify.Vars{
		Email: u.Email, NewEmail: u.NewEmail, SendingTo: to, Token: sec.code, TokenHash: sec.link, RedirectTo: f.RedirectTo,
		Device: DeviceName(c.Agent), At: tx.Now, Undone: f.undone,
	}
	if k == KindReauth {
		vars.TokenHash = "" // it is typed, never clicked
	} else if f.Links != nil {
		vars.SupabaseURL, vars.NetlifyURL = f.Links(k, sec.link, f.RedirectTo)
		vars.ConfirmationURL = vars.SupabaseURL
		if f.Netlify {
			vars.ConfirmationURL = vars.NetlifyURL
		}
	}
	ttl := s.linkTTL(k)
	if k == KindReauth {
		ttl = s.policy.CodeTTL
	}
	return s.mail(tx, c, u, notify.Mail{Kind: mailKinds[k], To: to, Netlify: f.Netlify, Vars: vars}, ttl)
}

// linkTTL is how long the link of a question is good.
func (s *Service) linkTTL(k Kind) time.Duration {
	p := s.policy
	switch {
	case k == KindInvite:
		return max(p.LinkTTL, p.InviteTTL)
	case k == KindConfirmation && p.ConfirmationTTL > 0:
		return p.ConfirmationTTL
	case k == KindRecovery && p.RecoveryTTL > 0:
		return p.RecoveryTTL
	}
	return p.LinkTTL
}

// mail queues a message. Its body holds live secrets, so it is sealed.
func (s *Service) mail(tx *store.Tx, c Caller, u *User, m notify.Mail, ttl time.Duration) error {
	id := store.NewDeliveryID()
	m.ID = id.String()
	m.Vars.SiteURL = s.policy.SiteURL
	if !u.ID.IsZero() {
		m.User = u.ID.String()
	}
	m.Languages = languages(u, c)
	m.Vars.Data, _ = readMetadata(u.UserMetadata) // a template without it is better than no mail
	body, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("auth: mail: %w", err)
	}
	return tx.AddDelivery(store.Delivery{
		ID: id, Kind: store.DeliverMail, Body: s.root.Seal(store.DeliverySeal, id[:], body), ExpiresAt: tx.Now.Add(ttl),
	})
}
