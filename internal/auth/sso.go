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

	"gatehouse/internal/store"
)

// SSOConnection is a company whose own identity provider signs its people in. The
// tags are of what is kept, and no edge's.
type SSOConnection struct {
	ID         ConnectionID `json:"-"`
	EntityID   string       `json:"-"` // of the identity provider; it never changes
	ResourceID string       `json:"-"` // what an administrator's own system calls the connection; empty: nothing
	// Disabled: nobody signs in by it, whether they or their company begin. Who is
	// signed in stays so until the session ends.
	Disabled          bool            `json:"disabled,omitempty"`
	MetadataURL       string          `json:"metadata_url,omitempty"` // asked again each day; empty: the metadata stay as they are
	MetadataXML       []byte          `json:"metadata_xml"`
	Domains           []string        `json:"domains,omitempty"` // of the addresses whose owners it signs in
	AttributeMapping  json.RawMessage `json:"attribute_mapping,omitempty"`
	NameIDFormat      string          `json:"name_id_format,omitempty"`
	AllowIdPInitiated bool            `json:"allow_idp_initiated,omitempty"` // the company may begin, and not we
	RefreshedAt       time.Time       `json:"refreshed_at"`                  // when the metadata were read last
	ValidUntil        time.Time       `json:"valid_until,omitzero"`          // as the metadata say; zero: nothing
	CreatedAt         time.Time       `json:"-"`
	UpdatedAt         time.Time       `json:"-"`
}

// SSOChanges is what an administrator sets on a connection; nil leaves a thing as
// it is. The metadata are given, or where they are; given, they are not asked for
// again.
type SSOChanges struct {
	MetadataURL       *string // "": what is known stays, and is not asked for again
	MetadataXML       *string
	ResourceID        *string
	Domains           *[]string
	AttributeMapping  *json.RawMessage // null: none
	NameIDFormat      *string
	Disabled          *bool
	AllowIdPInitiated *bool
}

// IdPMetadata is what an identity provider says about itself.
type IdPMetadata struct {
	EntityID   string
	XML        []byte
	ValidUntil time.Time // zero: it does not say
}

const (
	ssoSeal         = "sso connection"
	resourcePrefix  = "resource_" // begins a reference to a connection by its ResourceID
	maxSSODomains   = 100
	maxMetadataSize = 1 << 20 // bytes
	metadataLives   = day
)

// AddSSO makes a connection to a company's identity provider.
//
// Codes: InvalidInput, MetadataFailed, IdPExists, DomainTaken. Events: SSOAdded.
func (s *Service) AddSSO(ctx context.Context, c Caller, ch SSOChanges) (*SSOConnection, error) {
	conn := SSOConnection{ID: store.NewConnectionID()}
	_, err := s.setSSO(&conn, ch)
	if err != nil {
		return nil, err
	}
	md, err := s.readMetadata(ctx, ch)
	if err == nil && md == nil {
		err = Invalid("metadata_url", "A connection needs metadata, or the address where they are")
	}
	if err != nil {
		return nil, err
	}
	conn.EntityID = md.EntityID
	err = s.db.Write(ctx, s.tenant, func(tx *store.Tx) error {
		conn.CreatedAt, conn.UpdatedAt = tx.Now, tx.Now
		conn.take(md, ch, tx.Now)
		err := tx.HoldTenant() // of many who want a name at one instant the others are told why they do not get it
		if err != nil {
			return err
		}
		_, err = tx.ConnectionByName(store.SAMLConnection, conn.EntityID)
		if err == nil {
			return fail(IdPExists)
		}
		n := 0
		if errors.Is(err, store.ErrNotFound) {
			n, err = tx.CountConnections(store.SAMLConnection)
		}
		if err == nil && n >= maxConnections {
			err = Invalid("type", fmt.Sprintf("There are %d connections, and no more can be", maxConnections))
		}
		if err == nil {
			err = s.writeSSO(tx, &conn, true)
		}
		if err == nil {
			err = s.emit(tx, c, SSOAdded, UserID{}, SessionID{}, map[string]any{"connection": conn.ID.String(), "entity": conn.EntityID})
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return &conn, nil
}

// SetSSO changes a connection, which ref names as for SSO. Its metadata may
// change, but must be of the same identity provider: the people it signs in are
// that provider's, and nobody else's.
//
// Codes: InvalidInput, SSONotFound, MetadataFailed, EntityMismatch, DomainTaken.
// Events: SSOUpdated.
func (s *Service) SetSSO(ctx context.Context, c Caller, ref string, ch SSOChanges) (*SSOConnection, error) {
	_, err := s.SSO(ctx, ref) // before anything is fetched for it
	if err != nil {
		return nil, err
	}
	md, err := s.readMetadata(ctx, ch)
	if err != nil {
		return nil, err
	}
	var conn SSOConnection
	err = s.db.Write(ctx, s.tenant, func(tx *store.Tx) error {
		err := tx.HoldTenant()
		if err == nil {
			conn, err = s.heldSSO(tx, ref)
		}
		if err != nil {
			return err
		}
		if md != nil && md.EntityID != conn.EntityID {
			return fail(EntityMismatch)
		}
		changed, err := s.setSSO(&conn, ch)
		if err != nil {
			return err
		}
		conn.take(md, ch, tx.Now)
		conn.UpdatedAt = tx.Now
		err = s.writeSSO(tx, &conn, false)
		if err == nil {
			err = s.emit(tx, c, SSOUpdated, UserID{}, SessionID{}, map[string]any{"connection": conn.ID.String(), "changed": changed})
		}
		return err
	})
	if err != nil {
		return nil, noSSO(err)
	}
	return &conn, nil
}

// DropSSO removes a connection with its domains, and returns what it was. Nobody
// signs in by it any more. Its people keep their users and, until they end, their
// sessions; a new connection to the same company is not the one they came by.
//
// Codes: SSONotFound. Events: SSODeleted.
func (s *Service) DropSSO(ctx context.Context, c Caller, ref string) (*SSOConnection, error) {
	var conn SSOConnection
	err := s.db.Write(ctx, s.tenant, func(tx *store.Tx) (err error) {
		conn, err = s.heldSSO(tx, ref)
		if err != nil {
			return err
		}
		dropped, err := tx.DropConnection(store.SAMLConnection, conn.ID)
		if err == nil && !dropped {
			err = store.ErrNotFound
		}
		if err == nil {
			err = s.emit(tx, c, SSODeleted, UserID{}, SessionID{}, map[string]any{"connection": conn.ID.String(), "entity": conn.EntityID})
		}
		return err
	})
	if err != nil {
		return nil, noSSO(err)
	}
	return &conn, nil
}

// SSOConnections returns the connections, oldest first.
func (s *Service) SSOConnections(ctx context.Context) (list []SSOConnection, err error) {
	var rows []store.Connection
	err = s.db.Read(ctx, s.tenant, func(tx *store.Tx) (err error) {
		rows, err = tx.Connections(store.SAMLConnection, maxConnections)
		return err
	})
	for _, row := range rows {
		conn, err := s.openSSO(row)
		if err != nil {
			return nil, err
		}
		list = append(list, conn)
	}
	return list, err
}

// SSO returns a connection for an administrator. ref is its id, or "resource_"
// and its ResourceID.
//
// Codes: SSONotFound.
func (s *Service) SSO(ctx context.Context, ref string) (*SSOConnection, error) {
	return s.findSSO(ctx, func(tx *store.Tx) (store.Connection, error) { return findSSO(tx, ref) })
}

// SSOToUse returns a connection for somebody to sign in by. It, SSOByDomain and
// SSOByEntity are the gate: a disabled connection signs nobody in, and where SAML
// is disabled, none does.
//
// Codes: SAMLDisabled, SSONotFound, SSODisabled.
func (s *Service) SSOToUse(ctx context.Context, ref string) (*SSOConnection, error) {
	return s.usableSSO(ctx, func(tx *store.Tx) (store.Connection, error) { return findSSO(tx, ref) })
}

// SSOByDomain is SSOToUse by the domain of somebody's address.
//
// Codes: SAMLDisabled, SSONotFound, SSODisabled.
func (s *Service) SSOByDomain(ctx context.Context, domain string) (*SSOConnection, error) {
	domain, ok := cleanDomain(domain)
	if !ok {
		domain = "" // is nobody's
	}
	return s.usableSSO(ctx, func(tx *store.Tx) (store.Connection, error) { return tx.ConnectionByDomain(domain) })
}

// SSOByEntity is SSOToUse by whom an assertion is from.
//
// Codes: SAMLDisabled, IdPNotFound, SSODisabled.
func (s *Service) SSOByEntity(ctx context.Context, entity string) (*SSOConnection, error) {
	conn, err := s.usableSSO(ctx, func(tx *store.Tx) (store.Connection, error) {
		return tx.ConnectionByName(store.SAMLConnection, entity)
	})
	if err != nil && CodeOf(err) == SSONotFound {
		err = fail(IdPNotFound)
	}
	return conn, err
}

func (s *Service) usableSSO(ctx context.Context, find func(*store.Tx) (store.Connection, error)) (*SSOConnection, error) {
	if s.policy.SAMLDisabled {
		return nil, fail(SAMLDisabled)
	}
	conn, err := s.findSSO(ctx, find)
	if err == nil && conn.Disabled {
		return nil, fail(SSODisabled)
	}
	return conn, err
}

func (s *Service) findSSO(ctx context.Context, find func(*store.Tx) (store.Connection, error)) (*SSOConnection, error) {
	var row store.Connection
	err := s.db.Read(ctx, s.tenant, func(tx *store.Tx) (err error) {
		row, err = find(tx)
		return err
	})
	if err != nil {
		return nil, noSSO(err)
	}
	conn, err := s.openSSO(row)
	if err != nil {
		return nil, err
	}
	return &conn, nil
}

func findSSO(tx *store.Tx, ref string) (store.Connection, error) {
	alias, ok := strings.CutPrefix(ref, resourcePrefix)
	if ok {
		return tx.ConnectionByAlias(store.SAMLConnection, alias)
	}
	id, err := store.ParseConnectionID(ref)
	if err != nil {
		return store.Connection{}, store.ErrNotFound
	}
	return tx.Connection(store.SAMLConnection, id)
}

// heldSSO returns a connection that nobody else changes until the commit.
func (s *Service) heldSSO(tx *store.Tx, ref string) (conn SSOConnection, err error) {
	row, err := findSSO(tx, ref)
	if err == nil {
		row, err = tx.Connection(store.SAMLConnection, row.ID)
	}
	if err != nil {
		return conn, err
	}
	return s.openSSO(row)
}

// take puts metadata that were read into c; with none, an address may still be
// given up.
func (c *SSOConnection) take(md *IdPMetadata, ch SSOChanges, now time.Time) {
	if md == nil {
		put(&c.MetadataURL, ch.MetadataURL)
		return
	}
	c.MetadataXML, c.ValidUntil, c.RefreshedAt, c.MetadataURL = md.XML, md.ValidUntil, now, ""
	put(&c.MetadataURL, ch.MetadataURL)
}

// writeSSO writes a connection and its domains, in a Write that holds the tenant.
//
// Codes: InvalidInput, DomainTaken.
func (s *Service) writeSSO(tx *store.Tx, c *SSOConnection, first bool) error {
	if c.ResourceID != "" {
		other, err := tx.ConnectionByAlias(store.SAMLConnection, c.ResourceID)
		if err == nil && other.ID != c.ID {
			return Invalid("resource_id", "Another SSO provider has this resource_id")
		}
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
	}
	for _, d := range c.Domains {
		other, err := tx.ConnectionByDomain(d)
		if err == nil && other.ID != c.ID {
			return &Error{Code: DomainTaken, Field: "domains", Params: map[string]any{"domain": d}}
		}
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return err
		}
	}
	err := s.writeSSORow(tx, c, first)
	if err == nil {
		err = tx.SetConnectionDomains(c.ID, c.Domains)
	}
	return err
}

func (s *Service) writeSSORow(tx *store.Tx, c *SSOConnection, first bool) error {
	body, err := json.Marshal(c)
	if err != nil {
		return fmt.Errorf("auth: sso: %w", err)
	}
	row := store.Connection{ID: c.ID, Kind: store.SAMLConnection, Name: c.EntityID, Alias: c.ResourceID, Data: s.root.Seal(ssoSeal, s.connectionAAD(c.ID), body)}
	if first {
		return tx.AddConnection(row)
	}
	_, err = tx.SetConnection(row)
	return err
}

func (s *Service) openSSO(row store.Connection) (c SSOConnection, err error) {
	body, err := s.root.Open(ssoSeal, s.connectionAAD(row.ID), row.Data)
	if err == nil {
		err = json.Unmarshal(body, &c)
	}
	if err != nil {
		return c, fmt.Errorf("auth: connection %s: %w", row.ID, err)
	}
	c.ID, c.EntityID, c.ResourceID, c.CreatedAt, c.UpdatedAt = row.ID, row.Name, row.Alias, row.CreatedAt, row.UpdatedAt
	return c, nil
}

func noSSO(err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return fail(SSONotFound)
	}
	return err
}

// nameIDFormats are those that may be asked for (SAML Core §8.3).
var nameIDFormats = []string{
	"", "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent", "urn:oasis:names:tc:SAML:2.0:nameid-format:transient",
	"urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress", "urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified",
}

var resourceID = regexp.MustCompile(`^[A-Za-z0-9._:-]{1,128}$`)

// setSSO puts an administrator's values into c, all but the metadata, and names
// what has been set.
//
// Codes: InvalidInput.
func (s *Service) setSSO(c *SSOConnection, ch SSOChanges) (changed []string, err error) {
	note := func(set bool, name string) {
		if set {
			changed = append(changed, name)
		}
	}
	note(ch.MetadataURL != nil || ch.MetadataXML != nil, "metadata")
	note(ch.ResourceID != nil, "resource_id")
	note(ch.Domains != nil, "domains")
	note(ch.AttributeMapping != nil, "attribute_mapping")
	note(ch.NameIDFormat != nil, "name_id_format")
	note(ch.Disabled != nil, "disabled")
	note(ch.AllowIdPInitiated != nil, "allow_idp_initiated")
	put(&c.ResourceID, ch.ResourceID)
	put(&c.NameIDFormat, ch.NameIDFormat)
	put(&c.Disabled, ch.Disabled)
	put(&c.AllowIdPInitiated, ch.AllowIdPInitiated)
	if c.ResourceID != "" && !resourceID.MatchString(c.ResourceID) {
		return nil, Invalid("resource_id", "A resource id is 1 to 128 letters, digits and any of . _ : -")
	}
	if !slices.Contains(nameIDFormats, c.NameIDFormat) {
		return nil, Invalid("name_id_format", "Not a NameID format that can be asked for: persistent, transient, emailAddress or unspecified")
	}
	if ch.Domains != nil {
		c.Domains, err = cleanDomains(*ch.Domains)
	}
	if err == nil && ch.AttributeMapping != nil {
		c.AttributeMapping, err = cleanMapping(*ch.AttributeMapping)
	}
	return changed, err
}

// cleanDomain returns the form that the domains of addresses are kept in.
func cleanDomain(domain string) (string, bool) {
	address, err := CleanEmail("a@" + strings.TrimSpace(domain))
	return strings.TrimPrefix(address, "a@"), err == nil
}

func cleanDomains(list []string) (clean []string, err error) {
	if len(list) > maxSSODomains {
		return nil, Invalid("domains", fmt.Sprintf("A connection has at most %d domains", maxSSODomains))
	}
	for _, d := range list {
		domain, ok := cleanDomain(d)
		if !ok {
			return nil, Invalid("domains", fmt.Sprintf("%.64q is not a domain", d))
		}
		if !slices.Contains(clean, domain) {
			clean = append(clean, domain)
		}
	}
	return clean, nil
}

// cleanMapping judges which attributes of an assertion are which claims:
// {"keys":{"email":{"name":"mail"}}}.
func cleanMapping(raw json.RawMessage) (json.RawMessage, error) {
	var m *struct {
		Keys map[string]*struct {
			Name    string   `json:"name"`
			Names   []string `json:"names"`
			Default any      `json:"default"`
			Array   bool     `json:"array"`
		} `json:"keys"`
	}
	if len(raw) == 0 {
		return nil, nil
	}
	var b bytes.Buffer
	err := json.Unmarshal(raw, &m)
	if err == nil {
		err = json.Compact(&b, raw)
	}
	if err != nil || b.Len() > maxMapping {
		return nil, Invalid("attribute_mapping", fmt.Sprintf("A mapping is {\"keys\":{\"claim\":{\"name\":\"attribute\"}}}, and has at most %d bytes", maxMapping))
	}
	if m == nil {
		return nil, nil
	}
	for claim, from := range m.Keys {
		if claim == "" || from == nil || slices.Contains(protectedClaims, strings.ToLower(claim)) {
			return nil, Invalid("attribute_mapping", fmt.Sprintf("%.64q cannot be mapped", claim))
		}
	}
	return b.Bytes(), nil
}
