package login_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"gatehouse/internal/auth"
	"gatehouse/internal/authtest"
	"gatehouse/internal/login"
	"gatehouse/internal/saml"
	"gatehouse/internal/samltest"
)

const (
	ann     = "ann@corp.example"
	gateKey = "https://auth.example/sso/saml/metadata"
	gateACS = "https://auth.example/sso/saml/acs"
)

// samlKey is ours, as a service provider. Making one takes longer than a test.
var samlKey = sync.OnceValue(func() []byte {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		panic(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
})

func ourselves(t *testing.T, now func() time.Time) *saml.ServiceProvider {
	t.Helper()
	sp, err := saml.New(saml.Options{EntityID: gateKey, ACS: gateACS, Key: samlKey(), AllowHTTP: true, Now: now})
	ok(t, "service provider", err)
	return sp
}

// withSAML is an option of a house that companies' own identity providers sign in
// to.
func withSAML(t *testing.T) func(*auth.Options) {
	return func(o *auth.Options) {
		o.Methods = append(o.Methods, &login.SAML{Own: ourselves(t, o.DB.Now)})
		o.ReadIdP = func(_ context.Context, xml []byte, _ string) (auth.IdPMetadata, error) {
			d, err := saml.ReadMetadata(xml, saml.AllowHTTP)
			if err != nil {
				return auth.IdPMetadata{}, err
			}
			return auth.IdPMetadata{EntityID: d.EntityID, XML: xml}, nil
		}
	}
}

func samlHouse(t *testing.T, options ...func(*auth.Options)) *authtest.House {
	t.Helper()
	return authtest.New(t, append([]func(*auth.Options){withSAML(t)}, options...)...)
}

// company is an identity provider and its connection.
type company struct {
	*samltest.IdP
	conn *auth.SSOConnection
}

func connect(t *testing.T, h *authtest.House, ch auth.SSOChanges) *company {
	t.Helper()
	p := samltest.New(t)
	p.SetClock(h.Clock.Now)
	meta, err := ourselves(t, h.Clock.Now).Metadata()
	ok(t, "our metadata", err)
	_, err = p.Trust(meta)
	ok(t, "be trusted", err)
	xml := string(p.Metadata())
	ch.MetadataXML = &xml
	conn, err := h.AddSSO(t.Context(), authtest.Operator(), ch)
	ok(t, "connect", err)
	return &company{p, conn}
}

func domains(list ...string) auth.SSOChanges { return auth.SSOChanges{Domains: &list} }

// person is somebody of a company, by the number that names them there.
func person(number, email string) samltest.User {
	return samltest.User{
		NameID: number, Format: saml.FormatPersistent, Attributes: []samltest.Attribute{{Name: "mail", Values: []string{email}}},
	}
}

// leave has a browser set out for a company.
func (p *company) leave(t *testing.T, h *authtest.House) *auth.Departure {
	t.Helper()
	d, err := h.SetOut(t.Context(), authtest.Caller(), auth.Wish{Method: "saml", Provider: p.conn.ID.String()})
	ok(t, "set out", err)
	return d
}

// says is what the company answers a request of that journey with.
func (p *company) says(t *testing.T, d *auth.Departure, who samltest.User) string {
	t.Helper()
	_, query, _ := strings.Cut(d.URL, "?")
	r, err := p.ReadRequest(query)
	ok(t, "the request", err)
	if r.RelayState != d.State {
		t.Fatalf("RelayState %q, want the state", r.RelayState)
	}
	return p.Respond(samltest.Answer{InResponseTo: r.ID, User: &who})
}

func receive(t *testing.T, h *authtest.House, response, state string) (*auth.Received, error) {
	return h.Receive(t.Context(), authtest.Caller(), "saml", auth.Input{Token: response, State: state})
}

// finish is the browser that brings a ticket and, unless d is nil, its journey.
func finish(t *testing.T, h *authtest.House, d *auth.Departure, ticket string) (*auth.Grant, error) {
	t.Helper()
	in := auth.Input{Token: ticket, Flow: authtest.Flow()}
	if d != nil {
		j, err := h.Return(t.Context(), authtest.Caller(), d.State, d.Sealed)
		if err != nil {
			return nil, err
		}
		in.Journey = j
	}
	return h.SignIn(t.Context(), authtest.Caller(), "saml", in, true)
}

// enter is all of it.
func (p *company) enter(t *testing.T, h *authtest.House, who samltest.User) (*auth.Grant, error) {
	t.Helper()
	d := p.leave(t, h)
	r, err := receive(t, h, p.says(t, d, who), d.State)
	if err != nil {
		return nil, err
	}
	return finish(t, h, d, r.Ticket)
}

func ok(t *testing.T, what string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

func want(t *testing.T, what string, err error, code auth.Code) {
	t.Helper()
	if err == nil || auth.CodeOf(err) != code {
		t.Errorf("%s: got error %v, want %s", what, err, code)
	}
}

func user(t *testing.T, h *authtest.House, id auth.UserID) *auth.User {
	t.Helper()
	u, err := h.User(t.Context(), authtest.Operator(), id)
	ok(t, "read the user", err)
	return u
}

// together calls f n times at one instant and returns how many had no error.
func together(t *testing.T, n int, code auth.Code, f func(i int) error) (good int) {
	t.Helper()
	errs := make([]error, n)
	gate := make(chan struct{})
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			<-gate
			errs[i] = f(i)
		})
	}
	close(gate)
	wg.Wait()
	for _, err := range errs {
		if err == nil {
			good++
		} else if auth.CodeOf(err) != code {
			t.Errorf("got error %v, want %s", err, code)
		}
	}
	return good
}

func TestSAML_aCompanysPeopleAreKnownAgain(t *testing.T) {
	t.Parallel()
	h := samlHouse(t)
	acme := connect(t, h, domains("corp.example"))
	g, err := acme.enter(t, h, person("7", ann))
	ok(t, "the first time", err)
	u := user(t, h, g.User.ID)
	if u.Email != ann || u.EmailVerifiedAt.IsZero() || !u.SSO || len(u.Identities) != 1 || u.Identities[0].Provider != auth.SSOProvider(acme.conn.ID) {
		t.Errorf("user %+v", u)
	}
	again, err := acme.enter(t, h, person("7", "ann.new@corp.example"))
	ok(t, "with another address", err)
	if again.User.ID != g.User.ID || again.User.Email != "ann.new@corp.example" {
		t.Errorf("user %+v", again.User)
	}
	other, err := acme.enter(t, h, person("8", "bob@corp.example"))
	ok(t, "somebody else", err)
	if other.User.ID == g.User.ID {
		t.Error("two people are one user")
	}
}

// A company has its people sign in: mail and password are no ways round it.
func TestSAML_itsPeopleComeInByNothingElse(t *testing.T) {
	t.Parallel()
	h := samlHouse(t, authtest.With(func(p *auth.Policy) { p.LinkingDisabled = false }))
	acme := connect(t, h, domains("corp.example"))
	g, err := acme.enter(t, h, person("7", ann))
	ok(t, "sign in", err)
	c, f := authtest.Caller(), authtest.Flow()
	ok(t, "recover", h.Recover(t.Context(), c, ann, f))
	h.Clock.Advance(2 * time.Minute)
	ok(t, "magic link", h.MagicLink(t.Context(), c, auth.CodeRequest{Email: ann, Create: true}, f))
	h.Clock.Advance(2 * time.Minute)
	_, err = h.SignUp(t.Context(), c, auth.NewUser{Email: ann, Password: "correct horse"}, f)
	ok(t, "sign up", err)
	h.Deliver(t)
	for _, m := range h.Inbox.Messages() {
		if strings.Contains(string(m.Kind), "recover") || strings.Contains(string(m.Kind), "magic") {
			t.Errorf("a way in was mailed: %s", m.Kind)
		}
	}
	_, err = h.ByPassword(t, ann, "correct horse")
	want(t, "a password", err, auth.InvalidCredentials)
	v := h.View(t, g.Access)
	word, address := "battery staple", "ann@free.example"
	for _, ch := range []auth.Changes{{Password: &word}, {Email: &address}} {
		_, err = h.UpdateUser(t.Context(), c, v, ch, f)
		want(t, "a change", err, auth.SSOManaged)
	}
	_, err = h.Ticket(t.Context(), c, v, auth.Wish{Method: "social", Provider: "google"})
	want(t, "a ticket to link", err, auth.SSOManaged)
	_, err = h.LinkIdentity(t.Context(), c, v, "idtoken", auth.Input{Provider: "google", Token: h.Elsewhere.Code(authtest.Person("google", "1", ann))})
	want(t, "link", err, auth.SSOManaged)
	_, err = h.ByAccount(t, authtest.Person("google", "1", ann))
	want(t, "an account elsewhere", err, auth.AccountExists)
	if u := user(t, h, g.User.ID); len(u.Identities) != 1 {
		t.Errorf("identities %+v", u.Identities)
	}
}

// Netlify's one identity provider is the operator's own choice.
func TestSAML_netlifysProviderAndAConnectionDoNotMix(t *testing.T) {
	t.Parallel()
	var idp *samltest.IdP
	h := samlHouse(t, func(o *auth.Options) {
		m := o.Methods[len(o.Methods)-1].(*login.SAML)
		sp, err := saml.New(saml.Options{EntityID: "https://auth.example/saml", ACS: "https://auth.example/saml/acs", Key: samlKey(), AllowHTTP: true, Now: o.DB.Now})
		ok(t, "netlify's", err)
		m.Netlify, m.NetlifyIdP = sp, func(context.Context) (saml.IdP, error) {
			return saml.IdP{EntityID: idp.EntityID, Metadata: idp.Metadata()}, nil
		}
	})
	idp = samltest.New(t)
	idp.SetClock(h.Clock.Now)
	sp, err := saml.New(saml.Options{EntityID: "https://auth.example/saml", ACS: "https://auth.example/saml/acs", Key: samlKey(), AllowHTTP: true, Now: h.Clock.Now})
	ok(t, "service provider", err)
	meta, err := sp.Metadata()
	ok(t, "metadata", err)
	_, err = idp.Trust(bytes.Clone(meta))
	ok(t, "trust", err)
	acme := connect(t, h, domains("corp.example"))
	d, err := h.SetOut(t.Context(), authtest.Caller(), auth.Wish{Method: "saml", Provider: login.NetlifyIdP})
	ok(t, "set out", err)
	site := &company{IdP: idp}
	r, err := receive(t, h, site.says(t, d, person("7", ann)), d.State)
	ok(t, "receive", err)
	_, err = finish(t, h, acme.leave(t, h), r.Ticket)
	want(t, "at the journey to a company", err, auth.StateFailed)
	d, err = h.SetOut(t.Context(), authtest.Caller(), auth.Wish{Method: "saml", Provider: login.NetlifyIdP})
	ok(t, "set out again", err)
	g, err := site.finishAll(t, h, d, person("7", ann))
	ok(t, "sign in", err)
	if i := g.User.Identities; len(i) != 1 || i[0].Provider != "saml" || i[0].Issuer != idp.EntityID {
		t.Errorf("identities %+v", i)
	}
	if u, err := url.Parse(d.URL); err != nil || u.Query().Get("RelayState") != d.State {
		t.Errorf("it leads to %s", d.URL)
	}
}

func (p *company) finishAll(t *testing.T, h *authtest.House, d *auth.Departure, who samltest.User) (*auth.Grant, error) {
	t.Helper()
	r, err := receive(t, h, p.says(t, d, who), d.State)
	if err != nil {
		return nil, err
	}
	return finish(t, h, d, r.Ticket)
}
