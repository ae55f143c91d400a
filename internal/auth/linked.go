package auth

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"gatehouse/internal/store"
)

// LinkedAccount is an account elsewhere that an operator's own server says is a
// user's. Nobody here has seen a proof of it: the operator has.
type LinkedAccount struct {
	Provider    string // small letters
	ClientID    string // the user's id there
	AccessToken string // empty: none is kept
	ExpiresAt   time.Time
	Expired     bool // by the server's clock, whatever the client's says
}

// LinkedChanges is what changes of a linked account; nil leaves a thing as it is.
type LinkedChanges struct {
	ClientID    *string
	AccessToken *string
	ExpiresAt   *time.Time
}

// linkedIssuer is the issuer of accounts that the operator's own server has linked.
// Whoever signs in by redirect or token has another: the bare word of an operator's
// client opens no account that a provider vouches for. They are called from the
// admin API now, and will be from the edge of Coronium's clients.
const linkedIssuer = ""

const maxLinkedToken = 16 << 10 // bytes

var linkedName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$`)

// reservedProviders are ways in of this server's own.
var reservedProviders = []string{"email", "phone", "anonymous", "web3", "saml", "sso"}

// linkedProvider returns the one form of a provider's name.
//
// Codes: InvalidInput.
func linkedProvider(name string) (string, error) {
	clean := strings.ToLower(name)
	if !linkedName.MatchString(name) || slices.Contains(reservedProviders, clean) {
		return "", Invalid("provider", "A provider's name has 1 to 64 letters, digits and any of . _ -, and is none of email, phone, anonymous, web3, saml, sso")
	}
	return clean, nil
}

func checkClientID(id string) error {
	if id == "" || len(id) > 255 || !utf8.ValidString(id) || strings.ContainsFunc(id, unicode.IsControl) {
		return Invalid("client_id", "A client id has 1 to 255 bytes, and no control characters")
	}
	return nil
}

func checkToken(token string) error {
	if len(token) > maxLinkedToken {
		return Invalid("access_token", fmt.Sprintf("An access token has at most %d bytes", maxLinkedToken))
	}
	return nil
}

// AddLinked links an account to a user, who can be found by it from then on. For
// it and all others here that change something a caller must have an actor: by
// their own word alone nobody links anything.
//
// Codes: NotAdmin, InvalidInput, UserNotFound, SSOManaged, AlreadyLinked,
// IdentityTaken. Events: IdentityLinked.
func (s *Service) AddLinked(ctx context.Context, c Caller, user UserID, provider string, a LinkedAccount) (*LinkedAccount, error) {
	provider, err := linkedProvider(provider)
	if err == nil {
		err = checkClientID(a.ClientID)
	}
	if err == nil {
		err = checkToken(a.AccessToken)
	}
	if err != nil {
		return nil, err
	}
	var added *LinkedAccount
	err = s.changeLinked(ctx, c, user, func(tx *store.Tx, u *User) error {
		if managed(u) {
			return fail(SSOManaged)
		}
		if linkedAt(u, provider) >= 0 {
			return fail(AlreadyLinked)
		}
		err := linkedFree(tx, provider, a.ClientID)
		if err != nil {
			return err
		}
		i := Identity{
			ID: store.NewIdentityID(), UserID: u.ID, Provider: provider, Issuer: linkedIssuer, Subject: a.ClientID, Data: linkedData(a.ClientID),
			CreatedAt: tx.Now, UpdatedAt: tx.Now,
		}
		tokens := Tokens{Access: a.AccessToken, ExpiresAt: a.ExpiresAt.UTC()}
		err = tx.AddIdentity(i)
		if err == nil {
			err = s.setTokens(tx, i.ID, u.ID, tokens)
		}
		if err != nil {
			return err
		}
		u.Identities, u.IsAnonymous = append(u.Identities, i), false
		added = linked(&i, tokens, tx.Now)
		return s.emit(tx, c, IdentityLinked, u.ID, SessionID{}, map[string]any{"provider": provider, "by": "administrator"})
	})
	return added, err
}

// Linked returns a user's linked account with a provider.
//
// Codes: InvalidInput, UserNotFound, NotLinked.
func (s *Service) Linked(ctx context.Context, c Caller, user UserID, provider string) (*LinkedAccount, error) {
	provider, err := linkedProvider(provider)
	if err != nil {
		return nil, err
	}
	list, err := s.LinkedAll(ctx, c, user)
	if err != nil {
		return nil, err
	}
	at := slices.IndexFunc(list, func(a LinkedAccount) bool { return a.Provider == provider })
	if at < 0 {
		return nil, fail(NotLinked)
	}
	return &list[at], nil
}

// LinkedAll returns a user's linked accounts, oldest first.
//
// Codes: UserNotFound.
func (s *Service) LinkedAll(ctx context.Context, _ Caller, user UserID) (list []LinkedAccount, err error) {
	err = s.db.Read(ctx, s.tenant, func(tx *store.Tx) error {
		list = nil
		u, err := tx.User(user)
		if err != nil {
			return err
		}
		kept, err := tx.CredentialsOf(user, tokensKind)
		if err != nil {
			return err
		}
		for k := range u.Identities {
			i := &u.Identities[k]
			if !isLinked(i) {
				continue
			}
			var tokens Tokens
			at := slices.IndexFunc(kept, func(c store.Credential) bool { return bytes.Equal(c.Lookup, i.ID[:]) })
			if at >= 0 {
				tokens, err = s.openTokens(i.ID, kept[at].Data)
				if err != nil {
					return err
				}
			}
			list = append(list, *linked(i, tokens, tx.Now))
		}
		return nil
	})
	return list, notFound(err)
}

// SetLinked changes a user's linked account.
//
// Codes: NotAdmin, InvalidInput, UserNotFound, NotLinked, IdentityTaken. Events:
// TokensUpdated; of another client id IdentityUnlinked and IdentityLinked.
func (s *Service) SetLinked(ctx context.Context, c Caller, user UserID, provider string, ch LinkedChanges) (*LinkedAccount, error) {
	provider, err := linkedProvider(provider)
	if err == nil && ch.ClientID != nil {
		err = checkClientID(*ch.ClientID)
	}
	if err == nil && ch.AccessToken != nil {
		err = checkToken(*ch.AccessToken)
	}
	if err != nil {
		return nil, err
	}
	var set *LinkedAccount
	err = s.changeLinked(ctx, c, user, func(tx *store.Tx, u *User) error {
		at := linkedAt(u, provider)
		if at < 0 {
			return fail(NotLinked)
		}
		i := &u.Identities[at]
		tokens, err := s.tokensOf(tx, i.ID)
		if err != nil {
			return err
		}
		moved := ch.ClientID != nil && *ch.ClientID != i.Subject
		if moved && i.Issuer != linkedIssuer {
			return Invalid("client_id", "The client_id of an account its owner has signed in with cannot be changed") // L22
		}
		if moved {
			err = s.repoint(tx, c, i, *ch.ClientID)
		}
		put(&tokens.Access, ch.AccessToken)
		put(&tokens.ExpiresAt, ch.ExpiresAt)
		tokens.ExpiresAt = tokens.ExpiresAt.UTC()
		if err == nil {
			err = s.setTokens(tx, i.ID, u.ID, tokens)
		}
		set = linked(i, tokens, tx.Now)
		if err == nil && (!moved || ch.AccessToken != nil || ch.ExpiresAt != nil) {
			err = s.emit(tx, c, TokensUpdated, u.ID, SessionID{}, map[string]any{"provider": provider})
		}
		return err
	})
	return set, err
}

// repoint makes another account of a linked one, which the trail tells as what it
// is: the one goes, and the other comes.
func (s *Service) repoint(tx *store.Tx, c Caller, i *Identity, clientID string) error {
	err := linkedFree(tx, i.Provider, clientID)
	if err != nil {
		return err
	}
	i.Subject, i.Data, i.UpdatedAt = clientID, linkedData(clientID), tx.Now
	err = tx.SetIdentity(*i)
	if err == nil {
		err = s.endBy(tx, c, i, SessionID{})
	}
	if err == nil {
		err = s.emit(tx, c, IdentityUnlinked, i.UserID, SessionID{}, map[string]any{"provider": i.Provider})
	}
	if err == nil {
		err = s.emit(tx, c, IdentityLinked, i.UserID, SessionID{}, map[string]any{"provider": i.Provider, "by": "administrator"})
	}
	return err
}

// SetTokenExpiry is SetLinked for when a user's token expires, and the token if
// there is another.
//
// Codes: as for SetLinked. Events: TokensUpdated.
func (s *Service) SetTokenExpiry(ctx context.Context, c Caller, user UserID, provider string, expires time.Time, token *string) (*LinkedAccount, error) {
	return s.SetLinked(ctx, c, user, provider, LinkedChanges{AccessToken: token, ExpiresAt: &expires})
}

// AccessTokenExpired tells whether the token of a user's linked account can be
// used no more; so it is where there is no such account.
//
// Codes: InvalidInput, UserNotFound.
func (s *Service) AccessTokenExpired(ctx context.Context, c Caller, user UserID, provider string) (bool, error) {
	a, err := s.Linked(ctx, c, user, provider)
	if err != nil && CodeOf(err) == NotLinked {
		return true, nil
	}
	if err != nil {
		return true, err
	}
	return a.Expired, nil
}

// DropLinked unlinks a user's account with a provider, and forgets its token. It
// may be the last by which they can come in: whoever calls decides that.
//
// Codes: NotAdmin, InvalidInput, UserNotFound, NotLinked. Events:
// IdentityUnlinked.
func (s *Service) DropLinked(ctx context.Context, c Caller, user UserID, provider string) error {
	provider, err := linkedProvider(provider)
	if err != nil {
		return err
	}
	return s.changeLinked(ctx, c, user, func(tx *store.Tx, u *User) error {
		at := linkedAt(u, provider)
		if at < 0 {
			return fail(NotLinked)
		}
		return s.unlinkAt(tx, c, u, at)
	})
}

// DropAllLinked is DropLinked for all of a user's, and returns how many there
// were.
//
// Codes: NotAdmin, UserNotFound. Events: IdentityUnlinked, one for each.
func (s *Service) DropAllLinked(ctx context.Context, c Caller, user UserID) (n int, err error) {
	err = s.changeLinked(ctx, c, user, func(tx *store.Tx, u *User) error {
		n = 0
		for at := len(u.Identities) - 1; at >= 0; at-- {
			if !isLinked(&u.Identities[at]) {
				continue
			}
			n++
			err := s.unlinkAt(tx, c, u, at)
			if err != nil {
				return err
			}
		}
		return nil
	})
	return n, err
}

func (s *Service) unlinkAt(tx *store.Tx, c Caller, u *User, at int) error {
	gone := u.Identities[at]
	u.Identities = slices.Delete(slices.Clone(u.Identities), at, at+1)
	err := tx.DropIdentity(gone.ID)
	if err == nil {
		err = s.dropTokens(tx, gone.ID)
	}
	if err == nil {
		err = s.endBy(tx, c, &gone, SessionID{})
	}
	if err == nil {
		err = s.identify(tx, u) // whose address it may have vouched for
	}
	if err == nil {
		err = s.emit(tx, c, IdentityUnlinked, u.ID, SessionID{}, map[string]any{"provider": gone.Provider})
	}
	return err
}

// UserByLinked returns the user that an account is linked to, and the account. It
// asks no gate: it is for who may look users up, and lets nobody in.
//
// Codes: InvalidInput, UserNotFound.
func (s *Service) UserByLinked(ctx context.Context, _ Caller, provider, clientID string) (*User, *LinkedAccount, error) {
	provider, err := linkedProvider(provider)
	if err == nil {
		err = checkClientID(clientID)
	}
	if err != nil {
		return nil, nil, err
	}
	var u User
	var a *LinkedAccount
	err = s.db.Read(ctx, s.tenant, func(tx *store.Tx) error {
		var i Identity
		var err error
		u, i, err = linkedUser(tx, provider, clientID)
		if err != nil {
			return err
		}
		tokens, err := s.tokensOf(tx, i.ID)
		a = linked(&i, tokens, tx.Now)
		return err
	})
	if err != nil {
		return nil, nil, notFound(err)
	}
	return &u, a, nil
}

// changeLinked has change look at a user who is held, and then writes by which
// providers they are known.
func (s *Service) changeLinked(ctx context.Context, c Caller, user UserID, change func(*store.Tx, *User) error) error {
	if c.Actor == "" {
		return fail(NotAdmin)
	}
	err := s.db.Write(ctx, s.tenant, func(tx *store.Tx) error {
		u, err := tx.User(user)
		if err == nil && !u.DeletedAt.IsZero() {
			err = store.ErrNotFound
		}
		if err == nil {
			err = change(tx, &u)
		}
		if err == nil {
			err = s.nameProviders(&u)
		}
		if err == nil {
			err = tx.SetUser(&u)
		}
		return err
	})
	if errors.Is(err, store.ErrDuplicate) { // somebody else got it at this instant
		return fail(IdentityTaken)
	}
	return notFound(err)
}

// linkedFree refuses an account that is some user's already.
//
// Codes: IdentityTaken.
func linkedFree(tx *store.Tx, provider, clientID string) error {
	_, err := tx.IdentityOwner(provider, linkedIssuer, clientID)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err == nil {
		err = fail(IdentityTaken)
	}
	return err
}

// isLinked tells whether an identity is an account that is kept with its tokens:
// one that an administrator linked, or that its owner signed in with.
func isLinked(i *Identity) bool {
	return outside(i) && linkedName.MatchString(i.Provider) && !slices.Contains(reservedProviders, i.Provider)
}

// linkedAt is where among a user's identities the one linked with a provider is,
// or -1.
func linkedAt(u *User, provider string) int {
	return slices.IndexFunc(u.Identities, func(i Identity) bool { return isLinked(&i) && i.Provider == provider })
}

func linked(i *Identity, t Tokens, now time.Time) *LinkedAccount {
	a := &LinkedAccount{Provider: i.Provider, ClientID: i.Subject, AccessToken: t.Access, ExpiresAt: t.ExpiresAt}
	a.Expired = t.Access == "" // nobody has said until when
	if !t.ExpiresAt.IsZero() {
		a.Expired = !now.Before(t.ExpiresAt)
	}
	return a
}

func linkedData(clientID string) []byte {
	b, err := json.Marshal(map[string]string{"sub": clientID})
	if err != nil {
		return []byte("{}")
	}
	return b
}
