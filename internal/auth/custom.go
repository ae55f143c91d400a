package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"gatehouse/internal/store"
)

// ConnectionID names a custom provider or a company's connection.
type ConnectionID = store.ConnectionID

// CustomProvider keeps accounts that people sign in with, and was added by an
// administrator at run time. The tags are of what is kept, and no edge's.
type CustomProvider struct {
	ID                  ConnectionID      `json:"-"`
	Name                string            `json:"-"`    // "custom:…", which never changes: identities go by it
	Kind                string            `json:"kind"` // CustomOIDC or CustomOAuth2; nor does it
	Title               string            `json:"title"`
	Disabled            bool              `json:"disabled,omitempty"` // it signs nobody in; who is signed in stays so
	ClientID            string            `json:"client_id"`
	AcceptableClientIDs []string          `json:"acceptable_client_ids,omitempty"` // of ID tokens, besides ClientID
	Scopes              []string          `json:"scopes,omitempty"`
	PKCE                bool              `json:"pkce"`
	AttributeMapping    map[string]any    `json:"attribute_mapping,omitempty"` // what a person's claims are called there
	ClaimsAllowlist     []string          `json:"claims_allowlist,omitempty"`  // other claims that are kept
	AuthParams          map[string]string `json:"auth_params,omitempty"`       // sent along to its pages
	EmailOptional       bool              `json:"email_optional,omitempty"`

	// Of CustomOIDC.
	Issuer         string `json:"issuer,omitempty"`
	DiscoveryURL   string `json:"discovery_url,omitempty"` // empty: where the issuer has it by the standard
	SkipNonceCheck bool   `json:"skip_nonce_check,omitempty"`

	// Of CustomOAuth2.
	AuthURL     string `json:"auth_url,omitempty"`
	TokenURL    string `json:"token_url,omitempty"`
	UserinfoURL string `json:"userinfo_url,omitempty"`
	JWKSURL     string `json:"jwks_url,omitempty"`

	CreatedAt time.Time `json:"-"`
	UpdatedAt time.Time `json:"-"`
}

// What a custom provider speaks.
const (
	CustomOIDC   = "oidc"   // OpenID Connect
	CustomOAuth2 = "oauth2" // OAuth 2.0, with an address that tells who somebody is
)

// CustomChanges is what an administrator sets on a custom provider; nil leaves a
// thing as it is. Of a new one PKCE is on unless it is set.
type CustomChanges struct {
	Kind                *string // of a new one only, like Name
	Name                *string
	Title               *string
	Disabled            *bool
	ClientID            *string
	Secret              *string // never shown again
	AcceptableClientIDs *[]string
	Scopes              *[]string
	PKCE                *bool
	AttributeMapping    *map[string]any
	ClaimsAllowlist     *[]string
	AuthParams          *map[string]string
	EmailOptional       *bool
	Issuer              *string
	DiscoveryURL        *string
	SkipNonceCheck      *bool
	AuthURL             *string
	TokenURL            *string
	UserinfoURL         *string
	JWKSURL             *string
}

// keptCustom is what the sealed data of a custom provider's row hold.
type keptCustom struct {
	CustomProvider
	Secret []byte `json:"secret"` // sealed by itself, too: a list of providers never has it in the open
}

const (
	customSeal       = "custom provider"
	customSecretSeal = "custom provider secret"
	maxConnections   = 1000 // of a kind and tenant, whatever the policy says
)

// AddCustomProvider makes a provider. Its client secret is never handed out
// again.
//
// Codes: ProviderDisabled, InvalidInput, CustomTaken, TooManyCustom. Events:
// CustomAdded.
func (s *Service) AddCustomProvider(ctx context.Context, c Caller, ch CustomChanges) (*CustomProvider, error) {
	if s.policy.CustomDisabled {
		return nil, fail(ProviderDisabled)
	}
	k := keptCustom{CustomProvider: CustomProvider{ID: store.NewConnectionID(), PKCE: true}}
	put(&k.Name, ch.Name)
	put(&k.Kind, ch.Kind)
	_, err := s.setCustom(&k, ch)
	if err != nil {
		return nil, err
	}
	row, err := s.customRow(&k)
	if err != nil {
		return nil, err
	}
	most := maxConnections
	if s.policy.CustomMost > 0 {
		most = min(most, s.policy.CustomMost)
	}
	err = s.db.Write(ctx, s.tenant, func(tx *store.Tx) error {
		k.CreatedAt, k.UpdatedAt = tx.Now, tx.Now
		err := tx.HoldTenant() // of many who add at one instant none is counted too late
		if err != nil {
			return err
		}
		_, err = tx.ConnectionByName(store.CustomConnection, k.Name)
		if err == nil {
			return fail(CustomTaken)
		}
		n := 0
		if errors.Is(err, store.ErrNotFound) {
			n, err = tx.CountConnections(store.CustomConnection)
		}
		if err == nil && n >= most {
			err = fail(TooManyCustom)
		}
		if err == nil {
			err = tx.AddConnection(row)
		}
		if err == nil {
			err = s.emit(tx, c, CustomAdded, UserID{}, SessionID{}, map[string]any{"provider": k.Name})
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return &k.CustomProvider, nil
}

// SetCustomProvider changes a provider. A new address for the client secret to go
// to takes a new secret: whoever may change the one must not get the other.
//
// Codes: InvalidInput, CustomNotFound. Events: CustomUpdated.
func (s *Service) SetCustomProvider(ctx context.Context, c Caller, name string, ch CustomChanges) (*CustomProvider, error) {
	var k keptCustom
	err := s.db.Write(ctx, s.tenant, func(tx *store.Tx) error {
		row, err := tx.ConnectionByName(store.CustomConnection, name)
		if err == nil {
			row, err = tx.Connection(store.CustomConnection, row.ID) // held, and as whoever was before us has left it
		}
		if err == nil {
			k, err = s.openCustom(row)
		}
		if err != nil {
			return err
		}
		if ch.Name != nil && *ch.Name != k.Name || ch.Kind != nil && *ch.Kind != k.Kind {
			return Invalid("identifier", "The identifier and the type of a provider never change")
		}
		changed, err := s.setCustom(&k, ch)
		if err != nil {
			return err
		}
		k.UpdatedAt = tx.Now
		row, err = s.customRow(&k)
		if err == nil {
			_, err = tx.SetConnection(row)
		}
		if err == nil {
			err = s.emit(tx, c, CustomUpdated, UserID{}, SessionID{}, map[string]any{"provider": name, "changed": changed})
		}
		return err
	})
	if err != nil {
		return nil, noCustom(err)
	}
	return &k.CustomProvider, nil
}

// DropCustomProvider removes a provider. Nobody signs in by it any more; who has
// an account with it keeps the user and, until they end, the sessions.
//
// Codes: CustomNotFound. Events: CustomDeleted.
func (s *Service) DropCustomProvider(ctx context.Context, c Caller, name string) error {
	return noCustom(s.db.Write(ctx, s.tenant, func(tx *store.Tx) error {
		row, err := tx.ConnectionByName(store.CustomConnection, name)
		if err != nil {
			return err
		}
		dropped, err := tx.DropConnection(row.Kind, row.ID)
		if err == nil && !dropped {
			err = store.ErrNotFound
		}
		if err == nil {
			err = s.emit(tx, c, CustomDeleted, UserID{}, SessionID{}, map[string]any{"provider": name})
		}
		return err
	}))
}

// CustomProviders returns the providers of a kind, or with none all of them,
// oldest first.
func (s *Service) CustomProviders(ctx context.Context, kind string) (list []CustomProvider, err error) {
	var rows []store.Connection
	err = s.db.Read(ctx, s.tenant, func(tx *store.Tx) (err error) {
		rows, err = tx.Connections(store.CustomConnection, maxConnections)
		return err
	})
	for _, row := range rows {
		k, err := s.openCustom(row)
		if err != nil {
			return nil, err
		}
		if kind == "" || k.Kind == kind {
			list = append(list, k.CustomProvider)
		}
	}
	return list, err
}

// CustomProvider returns a provider.
//
// Codes: CustomNotFound.
func (s *Service) CustomProvider(ctx context.Context, name string) (*CustomProvider, error) {
	k, err := s.custom(ctx, name)
	return &k.CustomProvider, err
}

func (s *Service) custom(ctx context.Context, name string) (k keptCustom, err error) {
	var row store.Connection
	err = s.db.Read(ctx, s.tenant, func(tx *store.Tx) (err error) {
		row, err = tx.ConnectionByName(store.CustomConnection, name)
		return err
	})
	if err != nil {
		return k, noCustom(err)
	}
	return s.openCustom(row)
}

// CustomProviderToUse returns a provider with its client secret, for somebody to
// sign in by. It is the gate: a disabled one signs nobody in, and where the
// policy has none, none does.
//
// Codes: ProviderUnknown, ProviderDisabled.
func (s *Service) CustomProviderToUse(ctx context.Context, name string) (*CustomProvider, string, error) {
	if s.policy.CustomDisabled {
		return nil, "", &Error{Code: ProviderDisabled, Params: map[string]any{"problem": name}}
	}
	k, err := s.custom(ctx, name)
	switch {
	case err != nil && CodeOf(err) == CustomNotFound:
		return nil, "", &Error{Code: ProviderUnknown, Params: map[string]any{"problem": name}}
	case err != nil:
		return nil, "", err
	case k.Disabled:
		return nil, "", &Error{Code: ProviderDisabled, Params: map[string]any{"problem": name}}
	}
	plain, err := s.root.Open(customSecretSeal, s.connectionAAD(k.ID), k.Secret)
	if err != nil {
		return nil, "", fmt.Errorf("auth: the secret of %s: %w", name, err)
	}
	return &k.CustomProvider, string(plain), nil
}

// connectionAAD binds what is sealed to its row.
func (s *Service) connectionAAD(id ConnectionID) []byte {
	return slices.Concat(s.tenant[:], id[:])
}

func (s *Service) customRow(k *keptCustom) (store.Connection, error) {
	body, err := json.Marshal(k)
	if err != nil {
		return store.Connection{}, fmt.Errorf("auth: custom provider: %w", err)
	}
	return store.Connection{ID: k.ID, Kind: store.CustomConnection, Name: k.Name, Data: s.root.Seal(customSeal, s.connectionAAD(k.ID), body)}, nil
}

func (s *Service) openCustom(row store.Connection) (k keptCustom, err error) {
	body, err := s.root.Open(customSeal, s.connectionAAD(row.ID), row.Data)
	if err == nil {
		err = json.Unmarshal(body, &k)
	}
	if err != nil {
		return k, fmt.Errorf("auth: custom provider %s: %w", row.Name, err)
	}
	k.ID, k.Name, k.CreatedAt, k.UpdatedAt = row.ID, row.Name, row.CreatedAt, row.UpdatedAt
	return k, nil
}

func noCustom(err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return fail(CustomNotFound)
	}
	return err
}

// put sets a thing that is to change.
func put[T any](to, from *T) {
	if from != nil {
		*to = *from
	}
}

// setCustom puts an administrator's values into k, and names what has changed.
//
// Codes: InvalidInput.
func (s *Service) setCustom(k *keptCustom, ch CustomChanges) (changed []string, err error) {
	was := k.CustomProvider
	put(&k.Title, ch.Title)
	put(&k.Disabled, ch.Disabled)
	put(&k.ClientID, ch.ClientID)
	put(&k.AcceptableClientIDs, ch.AcceptableClientIDs)
	put(&k.Scopes, ch.Scopes)
	put(&k.PKCE, ch.PKCE)
	put(&k.AttributeMapping, ch.AttributeMapping)
	put(&k.ClaimsAllowlist, ch.ClaimsAllowlist)
	put(&k.AuthParams, ch.AuthParams)
	put(&k.EmailOptional, ch.EmailOptional)
	put(&k.Issuer, ch.Issuer)
	put(&k.DiscoveryURL, ch.DiscoveryURL)
	put(&k.SkipNonceCheck, ch.SkipNonceCheck)
	put(&k.AuthURL, ch.AuthURL)
	put(&k.TokenURL, ch.TokenURL)
	put(&k.UserinfoURL, ch.UserinfoURL)
	put(&k.JWKSURL, ch.JWKSURL)
	err = s.checkCustom(&k.CustomProvider)
	if err != nil {
		return nil, err
	}
	switch {
	case ch.Secret != nil:
		if *ch.Secret == "" || len(*ch.Secret) > maxClientSecret {
			return nil, Invalid("client_secret", fmt.Sprintf("A client secret has 1 to %d bytes", maxClientSecret))
		}
		k.Secret = s.root.Seal(customSecretSeal, s.connectionAAD(k.ID), []byte(*ch.Secret))
		changed = append(changed, "client_secret")
	case len(k.Secret) == 0:
		return nil, Invalid("client_secret", "A provider needs a client secret")
	case !slices.Equal(was.secretGoesTo(), k.secretGoesTo()):
		return nil, Invalid("client_secret", "With another address the client secret has to be given again")
	}
	before, after := reflect.ValueOf(was), reflect.ValueOf(k.CustomProvider)
	for i := range before.NumField() {
		name, _, _ := strings.Cut(before.Type().Field(i).Tag.Get("json"), ",")
		if !reflect.DeepEqual(before.Field(i).Interface(), after.Field(i).Interface()) {
			changed = append(changed, name)
		}
	}
	return changed, nil
}

// secretGoesTo are the addresses that decide who is shown the client secret.
func (p *CustomProvider) secretGoesTo() []string {
	return []string{p.Issuer, p.DiscoveryURL, p.TokenURL}
}
