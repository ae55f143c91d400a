package auth_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/internal/auth"
	"gatehouse/internal/authtest"
	"gatehouse/internal/store"
)

// registry is where identity providers have their metadata: by address, or given
// as text. Its own form is «entity text», since the core knows of no XML.
type registry struct {
	mu      sync.Mutex
	there   map[string]string
	until   time.Time
	fetched int
	within  func() // called while metadata are fetched
}

const (
	acmeURL = "https://acme.example/metadata"
	acme    = "https://acme.example/idp"
)

func newRegistry() *registry {
	return &registry{there: map[string]string{acmeURL: acme + " one", "https://other.example/metadata": "https://other.example/idp one"}}
}

func (r *registry) read(_ context.Context, xml []byte, url string) (auth.IdPMetadata, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	text := string(xml)
	if url != "" {
		r.fetched++
		text = r.there[url]
	}
	if r.within != nil {
		r.within()
	}
	entity, _, found := strings.Cut(text, " ")
	if !found {
		return auth.IdPMetadata{}, errors.New("dial tcp 10.0.0.7:443: no metadata at " + url)
	}
	return auth.IdPMetadata{EntityID: entity, XML: []byte(text), ValidUntil: r.until}, nil
}

func (r *registry) put(url, text string, until time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.there[url], r.until = text, until
}

func (r *registry) option(o *auth.Options) { o.ReadIdP = r.read }

func addSSO(t *testing.T, h *authtest.House, ch auth.SSOChanges) *auth.SSOConnection {
	t.Helper()
	conn, err := h.AddSSO(t.Context(), authtest.Operator(), ch)
	ok(t, "add a connection", err)
	return conn
}

func TestSSO_isWhatAnAdministratorMadeIt(t *testing.T) {
	r := newRegistry()
	h := authtest.New(t, r.option)
	ctx, op := t.Context(), authtest.Operator()
	mapping := json.RawMessage(`{"keys": {"email": {"name": "mail"}, "groups": {"names": ["g"], "array": true}}}`)
	made := addSSO(t, h, auth.SSOChanges{
		MetadataURL: ptr(acmeURL), ResourceID: ptr("acme"), Domains: ptr([]string{" ACME.example ", "acme.example", "bücher.example"}), AttributeMapping: &mapping,
		NameIDFormat: ptr("urn:oasis:names:tc:SAML:2.0:nameid-format:persistent"), AllowIdPInitiated: ptr(true),
	})
	wanted := &auth.SSOConnection{
		ID: made.ID, EntityID: acme, ResourceID: "acme", MetadataURL: acmeURL, MetadataXML: []byte(acme + " one"), Domains: []string{"acme.example", "xn--bcher-kva.example"},
		AttributeMapping:  json.RawMessage(`{"keys":{"email":{"name":"mail"},"groups":{"names":["g"],"array":true}}}`),
		NameIDFormat:      "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent",
		AllowIdPInitiated: true, RefreshedAt: h.Clock.Now(), CreatedAt: h.Clock.Now(), UpdatedAt: h.Clock.Now(),
	}
	if diff := cmp.Diff(wanted, made); diff != "" {
		t.Errorf("made (-want +got):\n%s", diff)
	}
	find := map[string]func() (*auth.SSOConnection, error){
		"id":                func() (*auth.SSOConnection, error) { return h.SSO(ctx, made.ID.String()) },
		"resource id":       func() (*auth.SSOConnection, error) { return h.SSO(ctx, "resource_acme") },
		"id, to use":        func() (*auth.SSOConnection, error) { return h.SSOToUse(ctx, made.ID.String()) },
		"resource, to use":  func() (*auth.SSOConnection, error) { return h.SSOToUse(ctx, "resource_acme") },
		"entity":            func() (*auth.SSOConnection, error) { return h.SSOByEntity(ctx, acme) },
		"domain":            func() (*auth.SSOConnection, error) { return h.SSOByDomain(ctx, "Acme.Example") },
		"domain in Unicode": func() (*auth.SSOConnection, error) { return h.SSOByDomain(ctx, "bücher.example") },
	}
	for name, f := range find {
		got, err := f()
		ok(t, name, err)
		if diff := cmp.Diff(wanted, got); diff != "" {
			t.Errorf("by %s (-want +got):\n%s", name, diff)
		}
	}

	h.Clock.Advance(minute)
	set, err := h.SetSSO(ctx, op, "resource_acme", auth.SSOChanges{
		MetadataXML: ptr(acme + " two"), Domains: ptr([]string{"acme.test"}), ResourceID: ptr(""), AttributeMapping: ptr(json.RawMessage(`null`)), AllowIdPInitiated: ptr(false),
	})
	ok(t, "set", err)
	wanted.MetadataXML, wanted.MetadataURL, wanted.Domains, wanted.ResourceID, wanted.AttributeMapping, wanted.AllowIdPInitiated = []byte(acme+" two"), "", []string{"acme.test"}, "", nil, false
	wanted.RefreshedAt, wanted.UpdatedAt = h.Clock.Now(), h.Clock.Now()
	read, err := h.SSO(ctx, made.ID.String())
	ok(t, "read", err)
	if diff := cmp.Diff(wanted, set) + cmp.Diff(wanted, read); diff != "" {
		t.Errorf("after a change (-want +got):\n%s", diff)
	}
	for name, gone := range map[string]string{"domain": "acme.example", "another of them": "bücher.example", "none": "", "rubbish": "a@b"} {
		_, err := h.SSOByDomain(ctx, gone)
		want(t, "by "+name, err, auth.SSONotFound)
	}
	_, err = h.SSO(ctx, "resource_acme")
	want(t, "by the resource id of before", err, auth.SSONotFound)
	event := h.Events(t, auth.UserID{})[0]
	if event.Name != string(auth.SSOUpdated) || !strings.Contains(string(event.Data), `"changed":["metadata","resource_id","domains","attribute_mapping","allow_idp_initiated"]`) {
		t.Errorf("the event is %s %s", event.Name, event.Data)
	}

	gone, err := h.DropSSO(ctx, op, made.ID.String())
	ok(t, "drop", err)
	if gone.ID != made.ID || gone.EntityID != acme {
		t.Errorf("dropped %+v", gone)
	}
	_, err = h.SSOByDomain(ctx, "acme.test")
	want(t, "its domain", err, auth.SSONotFound)
	_, err = h.DropSSO(ctx, op, made.ID.String())
	want(t, "drop again", err, auth.SSONotFound)
	next := addSSO(t, h, auth.SSOChanges{MetadataURL: ptr(acmeURL), Domains: ptr([]string{"acme.test"})})
	if next.ID == made.ID {
		t.Error("a new connection to the same company has the id of the one of before")
	}
}

func TestSSO_rowsTellNothingAndOpenInNoOther(t *testing.T) {
	r := newRegistry()
	h := authtest.New(t, r.option)
	addSSO(t, h, auth.SSOChanges{MetadataURL: ptr(acmeURL)})
	addSSO(t, h, auth.SSOChanges{MetadataURL: ptr("https://other.example/metadata")})
	rows := connections(t, h, store.SAMLConnection)
	if bytes.Contains(rows[0].Data, []byte("metadata")) {
		t.Error("the data are not sealed")
	}
	swapped := rows[1]
	swapped.Data = rows[0].Data
	ok(t, "swap", h.DB.Write(t.Context(), h.Tenant(), func(tx *store.Tx) error {
		_, err := tx.SetConnection(swapped)
		return err
	}))
	if _, err := h.SSO(t.Context(), rows[1].ID.String()); err == nil {
		t.Error("one company's data open as another's")
	}
}

func TestSSO_refusesWhatCannotBeOne(t *testing.T) {
	r := newRegistry()
	h := authtest.New(t, r.option)
	ctx, op := t.Context(), authtest.Operator()
	has := addSSO(t, h, auth.SSOChanges{MetadataURL: ptr(acmeURL), ResourceID: ptr("acme"), Domains: ptr([]string{"acme.example"})})
	other := addSSO(t, h, auth.SSOChanges{MetadataXML: ptr("https://other.example/idp one"), Domains: ptr([]string{"other.example"})})
	ref := other.ID.String()
	before, err := h.SSOConnections(ctx)
	ok(t, "list", err)
	for name, c := range map[string]struct {
		ch   auth.SSOChanges
		code auth.Code
	}{
		"both kinds of metadata":     {auth.SSOChanges{MetadataURL: ptr(acmeURL), MetadataXML: ptr("a b")}, auth.InvalidInput},
		"an address without TLS":     {auth.SSOChanges{MetadataURL: ptr("http://acme.example/metadata")}, auth.InvalidInput},
		"an address that is none":    {auth.SSOChanges{MetadataURL: ptr("file:///etc/passwd")}, auth.InvalidInput},
		"metadata that are too long": {auth.SSOChanges{MetadataXML: ptr(strings.Repeat("x", 1<<20+1))}, auth.InvalidInput},
		"metadata that are none":     {auth.SSOChanges{MetadataXML: ptr("rubbish")}, auth.MetadataFailed},
		"metadata that are nowhere":  {auth.SSOChanges{MetadataURL: ptr("https://nobody.example")}, auth.MetadataFailed},
		"a long entity id":           {auth.SSOChanges{MetadataXML: ptr(strings.Repeat("x", 256) + " one")}, auth.MetadataFailed},
		"a domain that is none":      {auth.SSOChanges{Domains: ptr([]string{"no domain"})}, auth.InvalidInput},
		"an address for a domain":    {auth.SSOChanges{Domains: ptr([]string{"a@b.example"})}, auth.InvalidInput},
		"a domain that looks like":   {auth.SSOChanges{Domains: ptr([]string{"ａcme.example"})}, auth.InvalidInput},
		"many domains":               {auth.SSOChanges{Domains: ptr(slices.Repeat([]string{"x.example"}, 101))}, auth.InvalidInput},
		"another's domain":           {auth.SSOChanges{Domains: ptr([]string{"new.example", "Acme.Example"})}, auth.DomainTaken},
		"another's resource id":      {auth.SSOChanges{ResourceID: ptr("acme")}, auth.InvalidInput},
		"a resource id of two words": {auth.SSOChanges{ResourceID: ptr("a b")}, auth.InvalidInput},
		"a format nobody knows":      {auth.SSOChanges{NameIDFormat: ptr("email")}, auth.InvalidInput},
		"a mapping that is a list":   {auth.SSOChanges{AttributeMapping: ptr(json.RawMessage(`[]`))}, auth.InvalidInput},
		"a mapping of nothing":       {auth.SSOChanges{AttributeMapping: ptr(json.RawMessage(`{"keys":{"email":null}}`))}, auth.InvalidInput},
		"a mapping of the role":      {auth.SSOChanges{AttributeMapping: ptr(json.RawMessage(`{"keys":{"role":{"name":"x"}}}`))}, auth.InvalidInput},
		"a mapping that is cut off":  {auth.SSOChanges{AttributeMapping: ptr(json.RawMessage(`{"keys":`))}, auth.InvalidInput},
	} {
		_, err := h.SetSSO(ctx, op, ref, c.ch)
		want(t, name, err, c.code)
		if c.ch.MetadataURL == nil && c.ch.MetadataXML == nil {
			c.ch.MetadataXML = ptr("https://third.example/idp one")
		}
		_, err = h.AddSSO(ctx, op, c.ch)
		want(t, name+", anew", err, c.code)
		if strings.Contains(fmt.Sprint(auth.Told(err).Params), "10.0.0.7") {
			t.Errorf("%s: the answer tells inner addresses", name)
		}
	}
	_, err = h.AddSSO(ctx, op, auth.SSOChanges{})
	want(t, "nothing", err, auth.InvalidInput)
	_, err = h.AddSSO(ctx, op, auth.SSOChanges{MetadataXML: ptr(acme + " three")})
	want(t, "a second of one company", err, auth.IdPExists)
	_, err = h.SetSSO(ctx, op, ref, auth.SSOChanges{MetadataURL: ptr(acmeURL)})
	want(t, "another company's metadata", err, auth.EntityMismatch)
	for name, ref := range map[string]string{"nobody's": store.NewConnectionID().String(), "a word": "acme", "no resource id": "resource_", "nothing": ""} {
		_, err = h.SSO(ctx, ref)
		want(t, name, err, auth.SSONotFound)
		_, err = h.SetSSO(ctx, op, ref, auth.SSOChanges{Disabled: ptr(true)})
		want(t, name+", set", err, auth.SSONotFound)
		_, err = h.RefreshSSO(ctx, op, ref)
		want(t, name+", refresh", err, auth.SSONotFound)
		_, err = h.DropSSO(ctx, op, ref)
		want(t, name+", drop", err, auth.SSONotFound)
	}
	_, err = h.There().SSO(ctx, ref)
	want(t, "another tenant's", err, auth.SSONotFound)
	_, err = h.There().SSOByEntity(ctx, acme)
	want(t, "another tenant's, by entity", err, auth.IdPNotFound)
	_, err = h.Under(t).AddSSO(ctx, op, auth.SSOChanges{MetadataURL: ptr(acmeURL)})
	want(t, "where nobody reads metadata", err, auth.SAMLDisabled)
	r.put(acmeURL, acme+" old", h.Clock.Now())
	_, err = h.SetSSO(ctx, op, has.ID.String(), auth.SSOChanges{MetadataURL: ptr(acmeURL)})
	want(t, "metadata that are over", err, auth.MetadataFailed)

	after, err := h.SSOConnections(ctx)
	ok(t, "list", err)
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("the refused left something (-before +after):\n%s", diff)
	}
}

func TestThreat_L20_aDisabledConnectionSignsNobodyIn(t *testing.T) {
	r := newRegistry()
	h := authtest.New(t, r.option)
	ctx := t.Context()
	conn := addSSO(t, h, auth.SSOChanges{MetadataURL: ptr(acmeURL), ResourceID: ptr("acme"), Domains: ptr([]string{"acme.example"})})
	paths := map[string]func(h *authtest.House) error{
		"id":       func(h *authtest.House) error { _, err := h.SSOToUse(ctx, conn.ID.String()); return err },
		"resource": func(h *authtest.House) error { _, err := h.SSOToUse(ctx, "resource_acme"); return err },
		"domain":   func(h *authtest.House) error { _, err := h.SSOByDomain(ctx, "acme.example"); return err },
		"entity":   func(h *authtest.House) error { _, err := h.SSOByEntity(ctx, acme); return err },
	}
	closed := h.Under(t, authtest.With(func(p *auth.Policy) { p.SAMLDisabled = true }))
	for name, path := range paths {
		ok(t, name, path(h))
		want(t, name+", where SAML is disabled", path(closed), auth.SAMLDisabled)
	}
	_, err := h.SetSSO(ctx, authtest.Operator(), "resource_acme", auth.SSOChanges{Disabled: ptr(true)})
	ok(t, "disable", err)
	for name, path := range paths {
		want(t, name+", disabled", path(h), auth.SSODisabled)
	}
	_, err = h.SSO(ctx, "resource_acme")
	ok(t, "an administrator sees it", err)
}

// However many want a company, or a domain, at one instant.
func TestAddSSO_companiesAndDomainsAreOnesOwn(t *testing.T) {
	r := newRegistry()
	h := authtest.New(t, r.option)
	got := tally(together(5, func(int) error {
		_, err := h.AddSSO(t.Context(), authtest.Operator(), auth.SSOChanges{MetadataURL: ptr(acmeURL)})
		return err
	}))
	if got[""] != 1 || got[auth.IdPExists] != 4 {
		t.Errorf("of five of one company: %v; want one made", got)
	}
	got = tally(together(5, func(i int) error {
		_, err := h.AddSSO(t.Context(), authtest.Operator(), auth.SSOChanges{MetadataXML: ptr(fmt.Sprint("https://", i, " one")), Domains: ptr([]string{"wanted.example"})})
		return err
	}))
	if got[""] != 1 || got[auth.DomainTaken] != 4 {
		t.Errorf("of five who want one domain: %v; want one made", got)
	}
}

func TestRefreshSSO_takesOnlyMetadataOfTheSameProvider(t *testing.T) {
	r := newRegistry()
	h := authtest.New(t, r.option)
	ctx, op := t.Context(), authtest.Operator()
	conn := addSSO(t, h, auth.SSOChanges{MetadataURL: ptr(acmeURL), Domains: ptr([]string{"acme.example"})})
	ref := conn.ID.String()
	h.Clock.Advance(minute)
	events := len(h.Events(t, auth.UserID{}))
	got, err := h.RefreshSSO(ctx, op, ref)
	ok(t, "refresh", err)
	if !got.RefreshedAt.Equal(h.Clock.Now()) || len(h.Events(t, auth.UserID{})) != events {
		t.Errorf("the same metadata were read at %v and told of; want %v, and nothing told", got.RefreshedAt, h.Clock.Now())
	}
	r.put(acmeURL, acme+" two", time.Time{})
	got, err = h.RefreshSSO(ctx, op, ref)
	ok(t, "refresh", err)
	if string(got.MetadataXML) != acme+" two" || len(h.Events(t, auth.UserID{})) != events+1 {
		t.Errorf("the new metadata are %q", got.MetadataXML)
	}
	for name, c := range map[string]struct {
		text string
		code auth.Code
	}{"another's": {"https://evil.example/idp two", auth.EntityMismatch}, "none": {"", auth.MetadataFailed}} {
		r.put(acmeURL, c.text, time.Time{})
		_, err = h.RefreshSSO(ctx, op, ref)
		want(t, name, err, c.code)
	}
	r.put(acmeURL, acme+" three", time.Time{})
	other, err := h.SetSSO(ctx, op, ref, auth.SSOChanges{MetadataURL: ptr("")})
	ok(t, "give the address up", err)
	if other.MetadataURL != "" || string(other.MetadataXML) != acme+" two" {
		t.Errorf("without its address it is %+v", other)
	}
	_, err = h.RefreshSSO(ctx, op, ref)
	want(t, "one without an address", err, auth.InvalidInput)
	got, err = h.SSOByDomain(ctx, "acme.example")
	ok(t, "its domain", err)
	if string(got.MetadataXML) != acme+" two" {
		t.Errorf("the metadata are %q", got.MetadataXML)
	}
}

func TestRefreshSSO_leavesWhatAnAdministratorChangedMeanwhile(t *testing.T) {
	r := newRegistry()
	h := authtest.New(t, r.option)
	ctx := t.Context()
	conn := addSSO(t, h, auth.SSOChanges{MetadataURL: ptr(acmeURL)})
	h.Clock.Advance(25 * time.Hour)
	meanwhile := h.Under(t, newRegistry().option)
	r.put(acmeURL, acme+" from the address", time.Time{})
	r.within = func() {
		r.within = nil
		_, err := meanwhile.SetSSO(ctx, authtest.Operator(), conn.ID.String(), auth.SSOChanges{MetadataXML: ptr(acme + " by hand")})
		ok(t, "set", err)
	}
	_, err := h.RefreshSSOMetadata(ctx)
	ok(t, "refresh", err)
	got, err := h.SSO(ctx, conn.ID.String())
	ok(t, "read", err)
	if string(got.MetadataXML) != acme+" by hand" || got.MetadataURL != "" {
		t.Errorf("the metadata are %q, from %q; want those given by hand", got.MetadataXML, got.MetadataURL)
	}
}

func TestRefreshSSOMetadata_asksEachDayOrHalfTheTimeTheyAreGoodFor(t *testing.T) {
	var log bytes.Buffer
	r := newRegistry()
	h := authtest.New(t, r.option, func(o *auth.Options) { o.Log = slog.New(slog.NewTextHandler(&log, nil)) })
	ctx, op := t.Context(), authtest.Operator()
	conn := addSSO(t, h, auth.SSOChanges{MetadataURL: ptr(acmeURL)})
	addSSO(t, h, auth.SSOChanges{MetadataXML: ptr("https://byhand.example/idp one")})
	idle := addSSO(t, h, auth.SSOChanges{MetadataURL: ptr("https://other.example/metadata")})
	_, err := h.SetSSO(ctx, op, idle.ID.String(), auth.SSOChanges{Disabled: ptr(true)})
	ok(t, "disable", err)
	run := func(what string, n, fetches int) {
		t.Helper()
		before := r.fetched
		got, err := h.RefreshSSOMetadata(ctx)
		ok(t, what, err)
		if got != n || r.fetched-before != fetches {
			t.Errorf("%s: %d were read anew and %d asked for, want %d and %d", what, got, r.fetched-before, n, fetches)
		}
	}
	h.Clock.Advance(23 * time.Hour)
	run("within a day", 0, 0)
	r.put(acmeURL, acme+" two", h.Clock.Now().Add(11*time.Hour))
	h.Clock.Advance(time.Hour)
	run("after a day", 1, 1)
	if e := h.Events(t, auth.UserID{})[0]; e.Name != string(auth.SSOUpdated) || e.Actor != "system" {
		t.Errorf("the event is %s by %s", e.Name, e.Actor)
	}
	h.Clock.Advance(5*time.Hour - time.Second)
	run("within half their time", 0, 0)
	h.Clock.Advance(time.Second)
	r.put(acmeURL, "", time.Time{})
	run("while they are nowhere", 0, 1)
	run("still", 0, 1)
	if !strings.Contains(log.String(), conn.ID.String()) || strings.Count(log.String(), "\n") != 2 {
		t.Errorf("the log says %q; want a line for each time", log.String())
	}
	got, err := h.SSOByEntity(ctx, acme)
	ok(t, "sign in meanwhile", err)
	if string(got.MetadataXML) != acme+" two" {
		t.Errorf("the metadata are %q, want those of before", got.MetadataXML)
	}
	r.put(acmeURL, "https://evil.example/idp x", time.Time{})
	run("while they are another's", 0, 1)
	r.put(acmeURL, acme+" three", time.Time{})
	run("when they are back", 1, 1)
	closed := h.Under(t, r.option, authtest.With(func(p *auth.Policy) { p.SAMLDisabled = true }))
	h.Clock.Advance(25 * time.Hour)
	n, err := closed.RefreshSSOMetadata(ctx)
	if n != 0 || err != nil {
		t.Errorf("where SAML is disabled: %d, %v", n, err)
	}
}
