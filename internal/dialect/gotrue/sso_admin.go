package gotrue

import (
	"encoding/json"
	"net/http"
	"time"

	"gatehouse/internal/auth"
	"gatehouse/internal/web"
)

// ssoProvider is a company's connection on the wire.
type ssoProvider struct {
	ID         string      `json:"id"`
	ResourceID string      `json:"resource_id,omitempty"`
	Disabled   bool        `json:"disabled"`
	SAML       ssoSAML     `json:"saml"`
	Domains    []ssoDomain `json:"domains"`
	CreatedAt  time.Time   `json:"created_at"`
	UpdatedAt  time.Time   `json:"updated_at"`
}

type ssoSAML struct {
	EntityID          string          `json:"entity_id"`
	MetadataXML       string          `json:"metadata_xml,omitempty"` // not in lists, which it would fill
	MetadataURL       string          `json:"metadata_url,omitempty"`
	AttributeMapping  json.RawMessage `json:"attribute_mapping"`
	NameIDFormat      string          `json:"name_id_format,omitempty"`
	AllowIdPInitiated bool            `json:"allow_idp_initiated"`
	RefreshedAt       time.Time       `json:"metadata_refreshed_at,omitzero"`
	ValidUntil        time.Time       `json:"metadata_valid_until,omitzero"`
}

type ssoDomain struct {
	Domain string `json:"domain"`
}

func ssoJSON(c *auth.SSOConnection) ssoProvider {
	p := ssoProvider{
		ID: c.ID.String(), ResourceID: c.ResourceID, Disabled: c.Disabled, Domains: []ssoDomain{}, CreatedAt: c.CreatedAt, UpdatedAt: c.UpdatedAt,
		SAML: ssoSAML{
			EntityID: c.EntityID, MetadataXML: string(c.MetadataXML), MetadataURL: c.MetadataURL, AttributeMapping: c.AttributeMapping,
			NameIDFormat: c.NameIDFormat, AllowIdPInitiated: c.AllowIdPInitiated, RefreshedAt: c.RefreshedAt, ValidUntil: c.ValidUntil,
		},
	}
	if len(p.SAML.AttributeMapping) == 0 {
		p.SAML.AttributeMapping = json.RawMessage(`{}`)
	}
	for _, d := range c.Domains {
		p.Domains = append(p.Domains, ssoDomain{d})
	}
	return p
}

// ssoInput is the body of POST and PUT; what is left out stays.
type ssoInput struct {
	Type              string           `json:"type"`
	MetadataURL       *string          `json:"metadata_url"`
	MetadataXML       *string          `json:"metadata_xml"`
	ResourceID        *string          `json:"resource_id"`
	Domains           *[]string        `json:"domains"`
	AttributeMapping  *json.RawMessage `json:"attribute_mapping"`
	NameIDFormat      *string          `json:"name_id_format"`
	Disabled          *bool            `json:"disabled"`
	AllowIdPInitiated *bool            `json:"allow_idp_initiated"`
}

func readSSO(w http.ResponseWriter, r *http.Request) (auth.SSOChanges, error) {
	var in ssoInput
	err := web.Body(w, r, &in)
	if err == nil && in.Type != "" && in.Type != "saml" {
		err = auth.Invalid("type", "Only the type saml is supported")
	}
	return auth.SSOChanges{
		MetadataURL: in.MetadataURL, MetadataXML: in.MetadataXML, ResourceID: in.ResourceID, Domains: in.Domains, AttributeMapping: in.AttributeMapping,
		NameIDFormat: in.NameIDFormat, Disabled: in.Disabled, AllowIdPInitiated: in.AllowIdPInitiated,
	}, err
}

// withSAML answers for a server where no company has its people sign in.
func withSAML(f adminCall) adminCall {
	return func(a *api, w http.ResponseWriter, r *http.Request, c auth.Caller) error {
		if a.Auth.Policy().SAMLDisabled {
			return &auth.Error{Code: auth.SAMLDisabled}
		}
		return f(a, w, r, c)
	}
}

// listSSO handles "GET /admin/sso/providers".
func (a *api) listSSO(w http.ResponseWriter, r *http.Request, _ auth.Caller) error {
	list, err := a.Auth.SSOConnections(r.Context())
	if err != nil {
		return err
	}
	items := make([]ssoProvider, 0, len(list))
	for i := range list {
		p := ssoJSON(&list[i])
		p.SAML.MetadataXML = ""
		items = append(items, p)
	}
	return web.JSON(w, http.StatusOK, map[string]any{"items": items})
}

// addSSO handles "POST /admin/sso/providers".
func (a *api) addSSO(w http.ResponseWriter, r *http.Request, c auth.Caller) error {
	in, err := readSSO(w, r)
	if err != nil {
		return err
	}
	made, err := a.Auth.AddSSO(r.Context(), c, in)
	if err != nil {
		return err
	}
	return web.JSON(w, http.StatusCreated, ssoJSON(made))
}

// showSSO handles "GET /admin/sso/providers/{id}", where id may be "resource_" and
// what the administrator's own system calls it.
func (a *api) showSSO(w http.ResponseWriter, r *http.Request, _ auth.Caller) error {
	conn, err := a.Auth.SSO(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	return web.JSON(w, http.StatusOK, ssoJSON(conn))
}

// setSSO handles "PUT /admin/sso/providers/{id}".
func (a *api) setSSO(w http.ResponseWriter, r *http.Request, c auth.Caller) error {
	in, err := readSSO(w, r)
	if err != nil {
		return err
	}
	conn, err := a.Auth.SetSSO(r.Context(), c, r.PathValue("id"), in)
	if err != nil {
		return err
	}
	return web.JSON(w, http.StatusOK, ssoJSON(conn))
}

// dropSSO handles "DELETE /admin/sso/providers/{id}", and answers what it was.
func (a *api) dropSSO(w http.ResponseWriter, r *http.Request, c auth.Caller) error {
	conn, err := a.Auth.DropSSO(r.Context(), c, r.PathValue("id"))
	if err != nil {
		return err
	}
	return web.JSON(w, http.StatusOK, ssoJSON(conn))
}
