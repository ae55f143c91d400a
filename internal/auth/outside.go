package auth

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"gatehouse/internal/store"
)

// Account is somebody's account elsewhere, as far as whoever keeps it vouches
// for it. Provider, Issuer and Subject are its key, and nothing else is: an
// address is not, for it may be another's tomorrow.
type Account struct {
	Provider, Issuer, Subject string // Issuer as configured, never as a request names it

	Email         string // canonical; empty: none, or none that could be used
	EmailVerified bool   // whoever keeps the account has seen that its owner reads mail there
	Phone         string
	Data          map[string]any // what is known of the person; they become identity data, and user metadata

	Tokens Tokens // to ask for more with

	AMR           string // how, in the words of the amr claim
	SSO           bool   // a company keeps the account
	EmailOptional bool   // there may be no address
	Apart         bool   // it joins nobody by its address, for whoever keeps it may name any
}

// Tokens are what an account elsewhere is asked with on behalf of its owner. They
// are sealed at rest.
type Tokens struct {
	Access    string    `json:"access,omitempty"`
	Refresh   string    `json:"refresh,omitempty"`
	ExpiresAt time.Time `json:"expires_at,omitzero"` // of Access; zero: not told
	Scopes    string    `json:"scopes,omitempty"`    // separated by spaces
}

func (t Tokens) none() bool { return t.Access == "" && t.Refresh == "" }

// Linking says how an account elsewhere comes to a user who is here already.
type Linking int

// The ways, of which the first is the zero value.
const (
	LinkVerified Linking = iota // it joins who has its address, if both sides have proved that
	LinkNever                   // it is always a user of its own
	LinkRefuse                  // an address that has a user signs in by no other way
)

// outside tells whether an identity is of an account elsewhere.
func outside(i *Identity) bool { return i.Provider != "email" && i.Provider != "phone" }

// vouchedFor tells whether a user's address is that of an account elsewhere of
// theirs, so that they need no identity of ours for it.
func vouchedFor(u *User) bool {
	for i := range u.Identities {
		if outside(&u.Identities[i]) && u.Email != "" && u.Identities[i].Email == u.Email {
			return true
		}
	}
	return false
}

// has tells whether a user is known by a provider.
func has(u *User, provider string) bool {
	for i := range u.Identities {
		if u.Identities[i].Provider == provider {
			return true
		}
	}
	return false
}

// managed tells whether a company has the user sign in.
func managed(u *User) bool {
	if u.SSO {
		return true
	}
	for i := range u.Identities {
		if strings.HasPrefix(u.Identities[i].Provider, SSOPrefix) {
			return true
		}
	}
	return false
}

// SSOPrefix begins the provider of a company's own accounts; its connection's id
// follows.
const SSOPrefix = "sso:"

// SSOProvider is the provider of the accounts of a company.
func SSOProvider(id ConnectionID) string { return SSOPrefix + id.String() }

const (
	tokensKind = "provider" // of credentials: what an account elsewhere is asked with
	tokensSeal = "provider tokens"
)

// keepTokens seals what an account elsewhere is asked with. A refresh token that
// does not come again is kept: some providers hand it out once.
func (s *Service) keepTokens(tx *store.Tx, id IdentityID, user UserID, t Tokens) error {
	if s.policy.DropTokens || t.none() {
		return nil
	}
	if t.Refresh == "" {
		old, err := s.tokensOf(tx, id)
		if err != nil {
			return err
		}
		t.Refresh = old.Refresh
	}
	return s.setTokens(tx, id, user, t)
}

func (s *Service) setTokens(tx *store.Tx, id IdentityID, user UserID, t Tokens) error {
	data, err := json.Marshal(t)
	if err != nil {
		return fmt.Errorf("auth: tokens: %w", err)
	}
	return tx.SetCredential(store.Credential{
		ID: store.NewCredentialID(), UserID: user, Kind: tokensKind, Lookup: id[:], Data: s.root.Seal(tokensSeal, id[:], data),
	})
}

// tokensOf opens them; none is no error.
func (s *Service) tokensOf(tx *store.Tx, id IdentityID) (t Tokens, err error) {
	c, err := tx.Credential(tokensKind, id[:])
	if errors.Is(err, store.ErrNotFound) {
		return t, nil
	}
	if err != nil {
		return t, err
	}
	return s.openTokens(id, c.Data)
}

func (s *Service) openTokens(id IdentityID, sealed []byte) (t Tokens, err error) {
	data, err := s.root.Open(tokensSeal, id[:], sealed)
	if err == nil {
		err = json.Unmarshal(data, &t)
	}
	if err != nil {
		return t, fmt.Errorf("auth: tokens of identity %s: %w", id, err)
	}
	return t, nil
}

// dropTokens forgets them.
func (s *Service) dropTokens(tx *store.Tx, id IdentityID) error {
	return tx.DropCredential(tokensKind, id[:])
}

// linkedUser returns who has an account that the operator's own server has linked,
// which knows of no issuer, or store.ErrNotFound.
func linkedUser(tx *store.Tx, provider, clientID string) (u User, i Identity, err error) {
	provider = strings.ToLower(provider)
	owner, err := tx.IdentityOwner(provider, linkedIssuer, clientID)
	if err == nil {
		u, err = tx.User(owner)
	}
	if err != nil {
		return u, i, err
	}
	for _, i = range u.Identities {
		if i.Provider == provider && i.Issuer == linkedIssuer && i.Subject == clientID {
			return u, i, nil
		}
	}
	return u, Identity{}, store.ErrNotFound
}
