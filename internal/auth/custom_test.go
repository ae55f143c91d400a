package auth_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/internal/auth"
	"gatehouse/internal/authtest"
	"gatehouse/internal/store"
)

// oidcProvider is all that a provider of that kind needs.
func oidcProvider(name string) auth.CustomChanges {
	return auth.CustomChanges{
		Name: ptr("custom:" + name), Kind: ptr(auth.CustomOIDC), Title: ptr("Acme"), ClientID: ptr("gatehouse"), Secret: ptr("hunter2"), Issuer: ptr("https://acme.example/"),
	}
}

func oauth2Provider(name string) auth.CustomChanges {
	return auth.CustomChanges{
		Name: ptr("custom:" + name), Kind: ptr(auth.CustomOAuth2), Title: ptr("Acme"), ClientID: ptr("gatehouse"), Secret: ptr("hunter2"),
		AuthURL: ptr("https://acme.example/authorize"), TokenURL: ptr("https://acme.example/token"), UserinfoURL: ptr("https://acme.example/me"),
	}
}

func addCustom(t *testing.T, h *authtest.House, ch auth.CustomChanges) *auth.CustomProvider {
	t.Helper()
	p, err := h.AddCustomProvider(t.Context(), authtest.Operator(), ch)
	ok(t, "add a provider", err)
	return p
}

// connections are the rows of a kind, as they lie in the database.
func connections(t *testing.T, h *authtest.House, kind string) (rows []store.Connection) {
	t.Helper()
	ok(t, "read", h.DB.Read(t.Context(), h.Tenant(), func(tx *store.Tx) (err error) {
		rows, err = tx.Connections(kind, 1000)
		return err
	}))
	return rows
}

func TestCustomProvider_isWhatAnAdministratorMadeIt(t *testing.T) {
	h := authtest.New(t)
	ctx, op := t.Context(), authtest.Operator()
	ch := oidcProvider("acme")
	ch.AcceptableClientIDs, ch.Scopes, ch.AuthParams = ptr([]string{"ios"}), ptr([]string{"openid", "https://acme.example/all"}), ptr(map[string]string{"prompt": "login"})
	ch.AttributeMapping, ch.ClaimsAllowlist, ch.EmailOptional = ptr(map[string]any{"sub": "id"}), ptr([]string{"groups"}), ptr(true)
	ch.DiscoveryURL, ch.SkipNonceCheck = ptr("https://acme.example/conf"), ptr(true)
	made := addCustom(t, h, ch)
	wanted := &auth.CustomProvider{
		ID: made.ID, Name: "custom:acme", Kind: "oidc", Title: "Acme", ClientID: "gatehouse", AcceptableClientIDs: []string{"ios"},
		Scopes: []string{"openid", "https://acme.example/all"}, PKCE: true, AttributeMapping: map[string]any{"sub": "id"}, ClaimsAllowlist: []string{"groups"},
		AuthParams: map[string]string{"prompt": "login"}, EmailOptional: true, Issuer: "https://acme.example/", DiscoveryURL: "https://acme.example/conf",
		SkipNonceCheck: true, CreatedAt: h.Clock.Now(), UpdatedAt: h.Clock.Now(),
	}
	read, err := h.CustomProvider(ctx, "custom:acme")
	ok(t, "read", err)
	if diff := cmp.Diff(wanted, made) + cmp.Diff(wanted, read); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}

	h.Clock.Advance(minute)
	set, err := h.SetCustomProvider(ctx, op, "custom:acme", auth.CustomChanges{Title: ptr(" Acme Ltd. "), PKCE: ptr(false), Scopes: ptr([]string{}), Kind: ptr("oidc")})
	ok(t, "set", err)
	wanted.Title, wanted.PKCE, wanted.Scopes, wanted.UpdatedAt = "Acme Ltd.", false, nil, h.Clock.Now()
	read, err = h.CustomProvider(ctx, "custom:acme")
	ok(t, "read", err)
	set.Scopes = nil
	if diff := cmp.Diff(wanted, set) + cmp.Diff(wanted, read); diff != "" {
		t.Errorf("after a change (-want +got):\n%s", diff)
	}
	event := h.Events(t, auth.UserID{})[0]
	if event.Name != string(auth.CustomUpdated) || string(event.Data) != `{"changed":["title","scopes","pkce"],"provider":"custom:acme"}` {
		t.Errorf("the event is %s %s", event.Name, event.Data)
	}

	h.Clock.Advance(minute)
	addCustom(t, h, oauth2Provider("other"))
	for kind, names := range map[string][]string{"": {"custom:acme", "custom:other"}, "oidc": {"custom:acme"}, "oauth2": {"custom:other"}, "saml": nil} {
		list, err := h.CustomProviders(ctx, kind)
		ok(t, "list", err)
		var got []string
		for _, p := range list {
			got = append(got, p.Name)
		}
		if !slices.Equal(got, names) {
			t.Errorf("of kind %q there are %q, want %q", kind, got, names)
		}
	}

	ok(t, "drop", h.DropCustomProvider(ctx, op, "custom:acme"))
	_, err = h.CustomProvider(ctx, "custom:acme")
	want(t, "a dropped one", err, auth.CustomNotFound)
	want(t, "drop again", h.DropCustomProvider(ctx, op, "custom:acme"), auth.CustomNotFound)
	addCustom(t, h, oidcProvider("acme")) // the name is free
}

// The row of one tenant opens as no other's, and in no other row.
func TestCustomProvider_secretsAreSealedAndOpenInNoOtherRow(t *testing.T) {
	h := authtest.New(t)
	ctx := t.Context()
	addCustom(t, h, oidcProvider("acme"))
	other := oidcProvider("other")
	other.Secret = ptr("hunter3")
	addCustom(t, h, other)
	rows := connections(t, h, store.CustomConnection)
	for _, row := range rows {
		if s := string(row.Data) + fmt.Sprint(row); strings.Contains(s, "hunter") || strings.Contains(s, "gatehouse") || strings.Contains(s, "acme.example") {
			t.Errorf("the row tells %q", s)
		}
	}
	p, secret, err := h.CustomProviderToUse(ctx, "custom:acme")
	ok(t, "use", err)
	if secret != "hunter2" || p.ClientID != "gatehouse" {
		t.Errorf("the secret of %s is %q", p.ClientID, secret)
	}
	list, err := h.CustomProviders(ctx, "")
	ok(t, "list", err)
	if s := fmt.Sprintf("%+v %+v", p, list); strings.Contains(s, "hunter") {
		t.Errorf("a provider tells its secret: %s", s)
	}
	swapped := rows[1]
	swapped.Data = rows[0].Data
	ok(t, "swap", h.DB.Write(ctx, h.Tenant(), func(tx *store.Tx) error {
		_, err := tx.SetConnection(swapped)
		return err
	}))
	if _, _, err := h.CustomProviderToUse(ctx, swapped.Name); err == nil {
		t.Error("one provider's data open as another's")
	}
	ok(t, "smuggle", h.DB.Write(ctx, h.There().Tenant(), func(tx *store.Tx) error { return tx.AddConnection(rows[0]) }))
	if _, err := h.There().CustomProvider(ctx, "custom:acme"); err == nil {
		t.Error("one tenant's data open as another's")
	}
}

func TestCustomProvider_refusesWhatCannotBeOne(t *testing.T) {
	h := authtest.New(t)
	ctx, op := t.Context(), authtest.Operator()
	addCustom(t, h, oidcProvider("acme"))
	h.Clock.Advance(time.Second)
	addCustom(t, h, oauth2Provider("plain"))
	long := strings.Repeat("x", 5000)
	many := make([]string, 51)
	for i := range many {
		many[i] = "x"
	}
	for name, c := range map[string]struct {
		field string
		ch    auth.CustomChanges // of an OIDC provider
	}{
		"no title":                   {"name", auth.CustomChanges{Title: ptr(" ")}},
		"a long title":               {"name", auth.CustomChanges{Title: &long}},
		"no client id":               {"client_id", auth.CustomChanges{ClientID: ptr("")}},
		"a client id in two lines":   {"client_id", auth.CustomChanges{ClientID: ptr("a\r\nb")}},
		"no secret":                  {"client_secret", auth.CustomChanges{Secret: ptr("")}},
		"a long secret":              {"client_secret", auth.CustomChanges{Secret: &long}},
		"an empty audience":          {"acceptable_client_ids", auth.CustomChanges{AcceptableClientIDs: ptr([]string{""})}},
		"many audiences":             {"acceptable_client_ids", auth.CustomChanges{AcceptableClientIDs: &many}},
		"two scopes in one":          {"scopes", auth.CustomChanges{Scopes: ptr([]string{"openid email"})}},
		"a quoted scope":             {"scopes", auth.CustomChanges{Scopes: ptr([]string{`"`})}},
		"an empty claim":             {"custom_claims_allowlist", auth.CustomChanges{ClaimsAllowlist: ptr([]string{""})}},
		"a mapping of the issuer":    {"attribute_mapping", auth.CustomChanges{AttributeMapping: ptr(map[string]any{"ISS": "x"})}},
		"a mapping of the role":      {"attribute_mapping", auth.CustomChanges{AttributeMapping: ptr(map[string]any{"role": "x"})}},
		"a long mapping":             {"attribute_mapping", auth.CustomChanges{AttributeMapping: ptr(map[string]any{"x": strings.Repeat("x", 9000)})}},
		"a state of its own":         {"authorization_params", auth.CustomChanges{AuthParams: ptr(map[string]string{"state": "x"})}},
		"a redirect of its own":      {"authorization_params", auth.CustomChanges{AuthParams: ptr(map[string]string{"Redirect_URI": "https://evil.example"})}},
		"another way to answer":      {"authorization_params", auth.CustomChanges{AuthParams: ptr(map[string]string{"response_mode": "query"})}},
		"a parameter of two":         {"authorization_params", auth.CustomChanges{AuthParams: ptr(map[string]string{"a&b": "x"})}},
		"no issuer":                  {"issuer", auth.CustomChanges{Issuer: ptr(""), Secret: ptr("new")}},
		"an issuer without TLS":      {"issuer", auth.CustomChanges{Issuer: ptr("http://acme.example"), Secret: ptr("new")}},
		"an issuer that is a script": {"issuer", auth.CustomChanges{Issuer: ptr("JavaScript:alert(1)"), Secret: ptr("new")}},
		"an issuer with a password":  {"issuer", auth.CustomChanges{Issuer: ptr("https://a:b@acme.example"), Secret: ptr("new")}},
		"an issuer with a fragment":  {"issuer", auth.CustomChanges{Issuer: ptr("https://acme.example/#"), Secret: ptr("new")}},
		"an issuer of 256 bytes":     {"issuer", auth.CustomChanges{Issuer: ptr("https://acme.example/" + strings.Repeat("x", 235)), Secret: ptr("new")}},
		"a discovery without host":   {"discovery_url", auth.CustomChanges{DiscoveryURL: ptr("https:///conf"), Secret: ptr("new")}},
		"an OAuth2 address":          {"token_url", auth.CustomChanges{TokenURL: ptr("https://acme.example/token"), Secret: ptr("new")}},
	} {
		_, err := h.SetCustomProvider(ctx, op, "custom:acme", c.ch)
		want(t, name, err, auth.InvalidInput)
		if got := auth.Told(err).Field; got != c.field {
			t.Errorf("%s: the fault is in %q, want %q", name, got, c.field)
		}
	}
	for name, ch := range map[string]auth.CustomChanges{
		"no address for tokens": {TokenURL: ptr(""), Secret: ptr("new")}, "no pages": {AuthURL: ptr("")}, "nobody who says who it is": {UserinfoURL: ptr("")},
		"pages that are a script": {AuthURL: ptr("javascript:alert(1)")}, "an issuer": {Issuer: ptr("https://acme.example"), Secret: ptr("new")},
		"another name": {Name: ptr("custom:other")}, "another kind": {Kind: ptr(auth.CustomOIDC)},
	} {
		_, err := h.SetCustomProvider(ctx, op, "custom:plain", ch)
		want(t, name, err, auth.InvalidInput)
	}
	for _, bad := range []string{"", "acme", "custom:", "custom:Acme", "custom:a b", "custom:a/b", "custom:a\n", "custom:" + strings.Repeat("a", 65), "google"} {
		ch := oidcProvider("x")
		ch.Name = &bad
		_, err := h.AddCustomProvider(ctx, op, ch)
		want(t, bad, err, auth.InvalidInput)
	}
	for name, drop := range map[string]func(*auth.CustomChanges){
		"no kind": func(ch *auth.CustomChanges) { ch.Kind = nil }, "an unknown kind": func(ch *auth.CustomChanges) { ch.Kind = ptr("saml") },
		"no title": func(ch *auth.CustomChanges) { ch.Title = nil }, "no secret": func(ch *auth.CustomChanges) { ch.Secret = nil },
		"no client id": func(ch *auth.CustomChanges) { ch.ClientID = nil }, "no issuer": func(ch *auth.CustomChanges) { ch.Issuer = nil },
	} {
		ch := oidcProvider("x")
		drop(&ch)
		_, err := h.AddCustomProvider(ctx, op, ch)
		want(t, name, err, auth.InvalidInput)
	}
	_, err := h.AddCustomProvider(ctx, op, oauth2Provider("acme"))
	want(t, "a second of the name", err, auth.CustomTaken)
	_, err = h.SetCustomProvider(ctx, op, "custom:nobody", auth.CustomChanges{Title: ptr("x")})
	want(t, "nobody's", err, auth.CustomNotFound)
	_, err = h.There().CustomProvider(ctx, "custom:acme")
	want(t, "another tenant's", err, auth.CustomNotFound)
	list, err := h.CustomProviders(ctx, "")
	ok(t, "list", err)
	if len(list) != 2 || list[0].Issuer != "https://acme.example/" || list[0].Title != "Acme" {
		t.Errorf("the refused left %+v", list)
	}
}

// Whoever may change an address would otherwise be sent the secret.
func TestThreat_K03_aCustomProvidersSecretDoesNotFollowItsAddress(t *testing.T) {
	h := authtest.New(t)
	ctx, op := t.Context(), authtest.Operator()
	addCustom(t, h, oidcProvider("acme"))
	addCustom(t, h, oauth2Provider("plain"))
	for name, ch := range map[string]auth.CustomChanges{
		"custom:acme":  {Issuer: ptr("https://evil.example")},
		"custom:plain": {TokenURL: ptr("https://evil.example/token")},
	} {
		_, err := h.SetCustomProvider(ctx, op, name, ch)
		want(t, name, err, auth.InvalidInput)
		ch.Secret = ptr("another")
		_, err = h.SetCustomProvider(ctx, op, name, ch)
		ok(t, name+" with a secret", err)
		_, secret, err := h.CustomProviderToUse(ctx, name)
		ok(t, "use", err)
		if secret != "another" {
			t.Errorf("%s has the secret %q", name, secret)
		}
	}
	_, err := h.SetCustomProvider(ctx, op, "custom:acme", auth.CustomChanges{DiscoveryURL: ptr("https://evil.example/conf")})
	want(t, "discovery elsewhere", err, auth.InvalidInput)
	_, err = h.SetCustomProvider(ctx, op, "custom:plain", auth.CustomChanges{UserinfoURL: ptr("https://acme.example/you")})
	ok(t, "what is shown no secret", err)
}

func TestThreat_L20_aDisabledCustomProviderSignsNobodyIn(t *testing.T) {
	h := authtest.New(t)
	ctx, op := t.Context(), authtest.Operator()
	addCustom(t, h, oidcProvider("acme"))
	_, err := h.SetCustomProvider(ctx, op, "custom:acme", auth.CustomChanges{Disabled: ptr(true)})
	ok(t, "disable", err)
	_, _, err = h.CustomProviderToUse(ctx, "custom:acme")
	want(t, "a disabled one", err, auth.ProviderDisabled)
	_, _, err = h.CustomProviderToUse(ctx, "custom:other")
	want(t, "an unknown one", err, auth.ProviderUnknown)
	_, err = h.CustomProvider(ctx, "custom:acme")
	ok(t, "an administrator sees it", err)
	_, err = h.SetCustomProvider(ctx, op, "custom:acme", auth.CustomChanges{Disabled: ptr(false)})
	ok(t, "enable", err)
	_, _, err = h.CustomProviderToUse(ctx, "custom:acme")
	ok(t, "an enabled one", err)

	closed := h.Under(t, authtest.With(func(p *auth.Policy) { p.CustomDisabled = true }))
	_, _, err = closed.CustomProviderToUse(ctx, "custom:acme")
	want(t, "where there are none", err, auth.ProviderDisabled)
	_, err = closed.AddCustomProvider(ctx, op, oidcProvider("more"))
	want(t, "add where there are none", err, auth.ProviderDisabled)
}

// However many come at one instant.
func TestAddCustomProvider_theLimitIsTheMost(t *testing.T) {
	h := authtest.New(t, authtest.With(func(p *auth.Policy) { p.CustomMost = 3 }))
	addCustom(t, h, oidcProvider("first"))
	got := tally(together(6, func(i int) error {
		_, err := h.AddCustomProvider(t.Context(), authtest.Operator(), oidcProvider(fmt.Sprint("p", i)))
		return err
	}))
	if got[""] != 2 || got[auth.TooManyCustom] != 4 {
		t.Errorf("of six after the first: %v; want two made and four refused", got)
	}
	_, err := h.There().AddCustomProvider(t.Context(), authtest.Operator(), oidcProvider("theirs"))
	ok(t, "another tenant's", err)
}

func TestAddCustomProvider_ofOneNameAtOneInstantThereIsOne(t *testing.T) {
	h := authtest.New(t)
	got := tally(together(6, func(int) error {
		_, err := h.AddCustomProvider(t.Context(), authtest.Operator(), oidcProvider("acme"))
		return err
	}))
	if got[""] != 1 || got[auth.CustomTaken] != 5 {
		t.Errorf("of six of one name: %v; want one made and five refused", got)
	}
}

// Two who change one provider at an instant write nothing of each other's back.
func TestSetCustomProvider_twoAtOneInstant(t *testing.T) {
	h := authtest.New(t)
	addCustom(t, h, oidcProvider("acme"))
	for i, err := range together(2, func(i int) error {
		ch := auth.CustomChanges{Title: ptr("changed")}
		if i == 1 {
			ch = auth.CustomChanges{ClientID: ptr("changed")}
		}
		_, err := h.SetCustomProvider(t.Context(), authtest.Operator(), "custom:acme", ch)
		return err
	}) {
		ok(t, fmt.Sprint("change ", i), err)
	}
	got, err := h.CustomProvider(t.Context(), "custom:acme")
	ok(t, "read", err)
	if got.Title != "changed" || got.ClientID != "changed" {
		t.Errorf("it is %q, %q; want both changes", got.Title, got.ClientID)
	}
}

// What may be called is the wiring's to say.
func TestCustomProvider_isWhereTheWiringAllowsIt(t *testing.T) {
	h := authtest.New(t, func(o *auth.Options) {
		o.Outside = func(url string) error {
			if !strings.HasPrefix(url, "http://localhost") {
				return errors.New("not there")
			}
			return nil
		}
	})
	ch := oidcProvider("acme")
	_, err := h.AddCustomProvider(t.Context(), authtest.Operator(), ch)
	want(t, "elsewhere", err, auth.InvalidInput)
	if got := auth.Told(err).Params["problem"]; got != "not there" {
		t.Errorf("the problem is %q", got)
	}
	ch.Issuer = ptr("http://localhost:8080")
	if p := addCustom(t, h, ch); p.Issuer != "http://localhost:8080" || p.CreatedAt.Before(h.Clock.Now().Add(-time.Hour)) {
		t.Errorf("it is %+v", p)
	}
}
