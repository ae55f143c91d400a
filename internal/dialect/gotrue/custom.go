package gotrue

import (
	"net/http"
	"time"

	"gatehouse/internal/auth"
	"gatehouse/internal/web"
)

// customProvider is a provider that was added at run time, on the wire. Its secret
// is told to nobody.
type customProvider struct {
	ID                  string            `json:"id"`
	ProviderType        string            `json:"provider_type"`
	Identifier          string            `json:"identifier"`
	Name                string            `json:"name"`
	ClientID            string            `json:"client_id"`
	AcceptableClientIDs []string          `json:"acceptable_client_ids"`
	Scopes              []string          `json:"scopes"`
	PKCEEnabled         bool              `json:"pkce_enabled"`
	AttributeMapping    map[string]any    `json:"attribute_mapping"`
	ClaimsAllowlist     []string          `json:"custom_claims_allowlist"`
	AuthorizationParams map[string]string `json:"authorization_params"`
	Enabled             bool              `json:"enabled"`
	EmailOptional       bool              `json:"email_optional"`
	Issuer              string            `json:"issuer,omitempty"`
	DiscoveryURL        string            `json:"discovery_url,omitempty"`
	SkipNonceCheck      bool              `json:"skip_nonce_check"`
	AuthorizationURL    string            `json:"authorization_url,omitempty"`
	TokenURL            string            `json:"token_url,omitempty"`
	UserinfoURL         string            `json:"userinfo_url,omitempty"`
	JWKSURI             string            `json:"jwks_uri,omitempty"`
	CreatedAt           time.Time         `json:"created_at"`
	UpdatedAt           time.Time         `json:"updated_at"`
}

func customJSON(p *auth.CustomProvider) customProvider {
	out := customProvider{
		ID: p.ID.String(), ProviderType: p.Kind, Identifier: p.Name, Name: p.Title, ClientID: p.ClientID, AcceptableClientIDs: p.AcceptableClientIDs,
		Scopes: p.Scopes, PKCEEnabled: p.PKCE, AttributeMapping: p.AttributeMapping, ClaimsAllowlist: p.ClaimsAllowlist, AuthorizationParams: p.AuthParams,
		Enabled: !p.Disabled, EmailOptional: p.EmailOptional, Issuer: p.Issuer, DiscoveryURL: p.DiscoveryURL, SkipNonceCheck: p.SkipNonceCheck,
		AuthorizationURL: p.AuthURL, TokenURL: p.TokenURL, UserinfoURL: p.UserinfoURL, JWKSURI: p.JWKSURL, CreatedAt: p.CreatedAt, UpdatedAt: p.UpdatedAt,
	}
	for _, list := range []*[]string{&out.AcceptableClientIDs, &out.Scopes, &out.ClaimsAllowlist} {
		if *list == nil {
			*list = []string{}
		}
	}
	if out.AttributeMapping == nil {
		out.AttributeMapping = map[string]any{}
	}
	if out.AuthorizationParams == nil {
		out.AuthorizationParams = map[string]string{}
	}
	return out
}

// customInput is the body of POST and PUT; what is left out stays.
type customInput struct {
	ProviderType        *string            `json:"provider_type"`
	Identifier          *string            `json:"identifier"`
	Name                *string            `json:"name"`
	ClientID            *string            `json:"client_id"`
	ClientSecret        *string            `json:"client_secret"`
	AcceptableClientIDs *[]string          `json:"acceptable_client_ids"`
	Scopes              *[]string          `json:"scopes"`
	PKCEEnabled         *bool              `json:"pkce_enabled"`
	AttributeMapping    *map[string]any    `json:"attribute_mapping"`
	ClaimsAllowlist     *[]string          `json:"custom_claims_allowlist"`
	AuthorizationParams *map[string]string `json:"authorization_params"`
	Enabled             *bool              `json:"enabled"`
	EmailOptional       *bool              `json:"email_optional"`
	Issuer              *string            `json:"issuer"`
	DiscoveryURL        *string            `json:"discovery_url"`
	SkipNonceCheck      *bool              `json:"skip_nonce_check"`
	AuthorizationURL    *string            `json:"authorization_url"`
	TokenURL            *string            `json:"token_url"`
	UserinfoURL         *string            `json:"userinfo_url"`
	JWKSURI             *string            `json:"jwks_uri"`
}

func (in customInput) changes() auth.CustomChanges {
	ch := auth.CustomChanges{
		Kind: in.ProviderType, Name: in.Identifier, Title: in.Name, ClientID: in.ClientID, Secret: in.ClientSecret, AcceptableClientIDs: in.AcceptableClientIDs,
		Scopes: in.Scopes, PKCE: in.PKCEEnabled, AttributeMapping: in.AttributeMapping, ClaimsAllowlist: in.ClaimsAllowlist, AuthParams: in.AuthorizationParams,
		EmailOptional: in.EmailOptional, Issuer: in.Issuer, DiscoveryURL: in.DiscoveryURL, SkipNonceCheck: in.SkipNonceCheck, AuthURL: in.AuthorizationURL,
		TokenURL: in.TokenURL, UserinfoURL: in.UserinfoURL, JWKSURL: in.JWKSURI,
	}
	if in.Enabled != nil {
		off := !*in.Enabled
		ch.Disabled = &off
	}
	return ch
}

// withCustom answers for a server whose administrators add no providers.
func withCustom(f adminCall) adminCall {
	return func(a *api, w http.ResponseWriter, r *http.Request, c auth.Caller) error {
		if a.Auth.Policy().CustomDisabled {
			return &notBuilt{answer{status: http.StatusNotFound, code: "feature_disabled", msg: "Custom providers are disabled"}}
		}
		return f(a, w, r, c)
	}
}

// listCustom handles "GET /admin/custom-providers".
func (a *api) listCustom(w http.ResponseWriter, r *http.Request, _ auth.Caller) error {
	kind := r.URL.Query().Get("type")
	if kind != "" && kind != auth.CustomOIDC && kind != auth.CustomOAuth2 {
		return auth.Invalid("type", "type must be oidc or oauth2")
	}
	list, err := a.Auth.CustomProviders(r.Context(), kind)
	if err != nil {
		return err
	}
	out := make([]customProvider, 0, len(list))
	for i := range list {
		out = append(out, customJSON(&list[i]))
	}
	return web.JSON(w, http.StatusOK, map[string]any{"providers": out})
}

// addCustom handles "POST /admin/custom-providers".
func (a *api) addCustom(w http.ResponseWriter, r *http.Request, c auth.Caller) error {
	var in customInput
	err := web.Body(w, r, &in)
	if err != nil {
		return err
	}
	p, err := a.Auth.AddCustomProvider(r.Context(), c, in.changes())
	if err != nil {
		return err
	}
	return web.JSON(w, http.StatusCreated, customJSON(p))
}

// showCustom handles "GET /admin/custom-providers/{id}", where id is the
// identifier.
func (a *api) showCustom(w http.ResponseWriter, r *http.Request, _ auth.Caller) error {
	p, err := a.Auth.CustomProvider(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	return web.JSON(w, http.StatusOK, customJSON(p))
}

// setCustom handles "PUT /admin/custom-providers/{id}".
func (a *api) setCustom(w http.ResponseWriter, r *http.Request, c auth.Caller) error {
	var in customInput
	err := web.Body(w, r, &in)
	if err != nil {
		return err
	}
	p, err := a.Auth.SetCustomProvider(r.Context(), c, r.PathValue("id"), in.changes())
	if err != nil {
		return err
	}
	return web.JSON(w, http.StatusOK, customJSON(p))
}

// dropCustom handles "DELETE /admin/custom-providers/{id}".
func (a *api) dropCustom(w http.ResponseWriter, r *http.Request, c auth.Caller) error {
	err := a.Auth.DropCustomProvider(r.Context(), c, r.PathValue("id"))
	if err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
