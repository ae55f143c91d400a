package gotrue_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"

	"gatehouse/internal/auth"
	"gatehouse/internal/dialect/gotrue"
	"gatehouse/internal/store"
	"gatehouse/internal/storetest"
	"gatehouse/internal/vault"
	"gatehouse/internal/web"
)

// back is a part of the edge of a house, for whoever runs it.
type back struct {
	*house
	next http.Handler
}

func (b back) do(method, target, body string, headers ...string) answer {
	a := answer{ResponseRecorder: httptest.NewRecorder()}
	b.next.ServeHTTP(a.ResponseRecorder, newRequest(method, target, strings.NewReader(body), headers...))
	_ = json.Unmarshal(a.Body.Bytes(), &a.JSON)
	return a
}

// must is do with the operator's token, which has to work.
func (b back) must(t *testing.T, status int, method, target, body string) answer {
	t.Helper()
	a := b.do(method, target, body, bearer(b.Policy().OperatorToken))
	if a.Code != status {
		t.Fatalf("%s %s %s: %d, want %d: %s", method, target, body, a.Code, status, a.Body)
	}
	return a
}

// options are those of the house's tenants, whose settings are sound unless one
// is called BROKEN.
func (h *house) options() gotrue.InstancesOptions {
	h.t.Helper()
	keys := vault.New(h.DB, h.Root)
	err := h.DB.Write(h.t.Context(), store.TenantID{}, func(tx *store.Tx) error {
		for _, id := range []store.TenantID{{}, storetest.Other()} {
			_, sealed, err := keys.Make(id)
			if err == nil {
				_, err = tx.SetRootKey(id, []byte{}, sealed)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return gotrue.InstancesOptions{
		Tenants: auth.NewTenants(auth.TenantsOptions{Home: h.Service, Keys: keys, Sound: func(_ context.Context, t auth.Tenant) error {
			if v, ok := t.Settings["BROKEN"]; ok {
				return auth.Invalid("settings", "BROKEN must not be "+v)
			}
			return nil
		}}),
		Operator: func(r *http.Request) (auth.Caller, error) { return h.Operator(web.Caller(r), web.Bearer(r)) },
		Endpoint: "https://auth.example", Secret: func(name string) bool { return strings.Contains(name, "SECRET") || strings.Contains(name, "PASS") },
		Version: "test",
	}
}

func (h *house) behind(next http.Handler) back {
	return back{h, description(h.t).Checked(h.t, &web.Server{Next: next, Now: h.Clock.Now, Log: slog.New(slog.NewTextHandler(h.log, nil))}, "/signed")}
}

func (h *house) tenants() back   { return h.behind(gotrue.TenantsAPI(h.options())) }
func (h *house) instances() back { return h.behind(gotrue.Instances(h.options())) }

// byOperator is send to the API of tenants with the operator's token.
func byOperator(method, path, body string) func(*house) asks {
	return func(h *house) asks {
		b := h.tenants()
		return func(more ...string) answer {
			return b.do(method, path, body, append(more, bearer(h.Policy().OperatorToken))...)
		}
	}
}

func tenantTaken(h *house) asks {
	ask := byOperator("POST", "/admin/tenants", `{"name":"shop"}`)(h)
	ask()
	return ask
}

// signed asks with the headers x-nf-sign.
func signed(headers ...string) func(*house) asks {
	return func(h *house) asks {
		b := h.behind(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, err := gotrue.ReadSign(headers, "the-operators-own-token", h.Clock.Now())
			gotrue.Refuse(w, r, err)
		}))
		return func(more ...string) answer { return b.do("GET", "/signed", "", more...) }
	}
}

// sign makes an x-nf-sign.
func sign(t *testing.T, method jwt.SigningMethod, key any, claims jwt.MapClaims) string {
	t.Helper()
	s, err := jwt.NewWithClaims(method, claims).SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Of everybody who may do something in a tenant, only whoever runs the server
// may make tenants and look at them.
//
// Mission: U14
func TestThreat_I10_tenantsAreTheOperatorsAlone(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	h.newUser("anna@example.com")
	id := h.newUser("root@example.com").String()
	h.must(http.StatusOK, "PUT", "/admin/users/"+id, `{"role":"admin"}`, bearer(h.Policy().OperatorToken))
	anna, _ := h.signIn("anna@example.com")
	root, _ := h.signIn("root@example.com")
	tenants, instances := h.tenants(), h.instances()
	shop := tenants.must(t, http.StatusCreated, "POST", "/admin/tenants", `{"name":"shop","settings":{"SITE_URL":"https://shop.example"}}`).text("id")
	for _, route := range []struct {
		to           back
		method, path string
	}{
		{tenants, "GET", "/admin/tenants"},
		{tenants, "POST", "/admin/tenants"},
		{tenants, "GET", "/admin/tenants/shop"},
		{tenants, "GET", "/admin/tenants/nobody"},
		{tenants, "PUT", "/admin/tenants/shop"},
		{tenants, "DELETE", "/admin/tenants/" + shop},
		{instances, "GET", "/"},
		{instances, "POST", "/instances"},
		{instances, "GET", "/instances/" + shop},
		{instances, "PUT", "/instances/" + shop},
		{instances, "DELETE", "/instances/" + shop},
	} {
		for who, tc := range map[string]struct {
			header string
			want   int
		}{
			"nobody":                   {"X-A: b", http.StatusUnauthorized},
			"an empty token":           {"Authorization: Bearer ", http.StatusUnauthorized},
			"a user":                   {bearer(anna), http.StatusForbidden},
			"an administrator":         {bearer(root), http.StatusForbidden},
			"a service role":           {bearer(h.serviceToken()), http.StatusForbidden},
			"a key as apikey":          {"Apikey: " + h.Policy().OperatorToken, http.StatusUnauthorized},
			"part of the operator's":   {bearer(h.Policy().OperatorToken[:10]), http.StatusForbidden},
			"more than the operator's": {bearer(h.Policy().OperatorToken + "x"), http.StatusForbidden},
		} {
			if !strings.HasPrefix(route.path, "/admin") && tc.want == http.StatusForbidden {
				tc.want = http.StatusUnauthorized // as Netlify's server has it
			}
			a := route.to.do(route.method, route.path, `{"name":"mine","uuid":"mine","hosts":["mine.example"]}`, tc.header)
			if a.Code != tc.want {
				t.Errorf("%s %s by %s: %d, want %d: %s", route.method, route.path, who, a.Code, tc.want, a.Body)
			}
			if strings.Contains(a.Body.String(), "shop.example") {
				t.Errorf("%s %s tells %s %s", route.method, route.path, who, a.Body)
			}
		}
	}
	list, _ := tenants.must(t, http.StatusOK, "GET", "/admin/tenants", "").JSON["tenants"].([]any)
	if len(list) != 3 { // with the default one and the one of all tests
		t.Errorf("there are %d tenants: %v", len(list), list)
	}
}

func TestTenantsAPI_aTenantFromBeginningToEnd(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	b := h.tenants()
	a := b.must(t, http.StatusCreated, "POST", "/admin/tenants", `{"name":"shop","external_id":"ext","hosts":["B.example.","a.example","a.example"],"settings":{"SITE_URL":"https://shop.example","SMTP_PASS":"hunter2"}}`)
	want := map[string]any{
		"id": a.text("id"), "name": "shop", "external_id": "ext", "hosts": []any{"a.example", "b.example"},
		"settings":   map[string]any{"SITE_URL": "https://shop.example", "SMTP_PASS": "***"},
		"created_at": a.text("created_at"), "updated_at": a.text("updated_at"),
	}
	if diff := cmp.Diff(want, a.JSON); diff != "" {
		t.Errorf("the tenant (-want +got):\n%s", diff)
	}
	for _, path := range []string{"shop", a.text("id")} {
		if diff := cmp.Diff(want, b.must(t, http.StatusOK, "GET", "/admin/tenants/"+path, "").JSON); diff != "" {
			t.Errorf("by %s (-want +got):\n%s", path, diff)
		}
	}
	// What was shown is sent back: the secret stays. What is null goes.
	h.Clock.Advance(time.Minute)
	a = b.must(t, http.StatusOK, "PUT", "/admin/tenants/shop", `{"settings":{"SITE_URL":null,"SMTP_PASS":"***","JWT_EXP":"60"},"name":"store","hosts":[]}`)
	if a.text("name") != "store" || a.text("id") != want["id"] || fmt.Sprint(a.JSON["settings"]) != "map[JWT_EXP:60 SMTP_PASS:***]" || fmt.Sprint(a.JSON["hosts"]) != "[]" {
		t.Errorf("the change: %s", a.Body)
	}
	kept, err := h.options().Tenants.TenantByName(t.Context(), "store")
	if err != nil || kept.Settings["SMTP_PASS"] != "hunter2" || kept.Settings["SITE_URL"] != "" {
		t.Errorf("kept is %v, %v", kept, err)
	}
	b.must(t, http.StatusNotFound, "GET", "/admin/tenants/shop", "")
	b.must(t, http.StatusOK, "DELETE", "/admin/tenants/store", "")
	b.must(t, http.StatusNotFound, "GET", "/admin/tenants/store", "")
	b.must(t, http.StatusNotFound, "GET", "/admin/tenants/"+want["id"].(string), "")
	b.must(t, http.StatusNotFound, "DELETE", "/admin/tenants/store", "")
	b.must(t, http.StatusNotFound, "PUT", "/admin/tenants/store", `{}`)
	b.must(t, http.StatusNotFound, "DELETE", "/admin/tenants/00000000-0000-0000-0000-000000000000", "")
}

func TestTenantsAPI_refusesWhatCannotBe(t *testing.T) {
	t.Parallel()
	h := newHouse(t, nil)
	b := h.tenants()
	b.must(t, http.StatusCreated, "POST", "/admin/tenants", `{"name":"shop","external_id":"ext","hosts":["shop.example"]}`)
	for body, status := range map[string]int{
		`{}`: 400, `{"name":""}`: 400, `{"name":"Shop"}`: 400, `{"name":"a b"}`: 400, `{"name":"-a"}`: 400, `{"name":"a-"}`: 400, `{"name":"a/b"}`: 400,
		`{"name":"` + strings.Repeat("a", 64) + `"}`: 400, `{"name":"new","external_id":"` + strings.Repeat("a", 65) + `"}`: 400,
		`{"name":"new","hosts":["https://new.example"]}`: 400, `{"name":"new","hosts":["new.example:80"]}`: 400, `{"name":"new","hosts":["*"]}`: 400,
		`{"name":"new","hosts":[""]}`: 400, `{"name":"new","hosts":["nëw.example"]}`: 400,
		`{"name":"new","hosts":["` + strings.Repeat(`a.example","`, 0) + many(51) + `"]}`: 400,
		`{"name":"new","settings":{"BROKEN":"x"}}`:                                        400, `{"name":"new","settings":{"A":"` + strings.Repeat("a", 65<<10) + `"}}`: 400,
		`{"name":"shop"}`: 422, `{"name":"new","external_id":"ext"}`: 422, `{"name":"new","hosts":["shop.example"]}`: 422, `{"name":"other"}`: 422,
		`{"name":`: 400, `[]`: 400,
	} {
		a := b.do("POST", "/admin/tenants", body, bearer(h.Policy().OperatorToken))
		if a.Code != status || a.text("msg") == "" {
			t.Errorf("%.80s: %d, want %d: %s", body, a.Code, status, a.Body)
		}
		b.must(t, http.StatusNotFound, "GET", "/admin/tenants/new", "")
	}
	for body, status := range map[string]int{
		`{"name":"a b"}`: 400, `{"settings":{"BROKEN":"x"}}`: 400, `{"name":"other"}`: 422, `{"hosts":["x:1"]}`: 400,
	} {
		a := b.do("PUT", "/admin/tenants/shop", body, bearer(h.Policy().OperatorToken))
		if a.Code != status {
			t.Errorf("a change to %s: %d, want %d: %s", body, a.Code, status, a.Body)
		}
	}
	a := b.must(t, http.StatusOK, "GET", "/admin/tenants/shop", "")
	if fmt.Sprint(a.JSON["hosts"]) != "[shop.example]" || fmt.Sprint(a.JSON["settings"]) != "map[]" || a.text("external_id") != "ext" {
		t.Errorf("a refusal changed the tenant: %s", a.Body)
	}
	a = b.do("PUT", "/admin/tenants/00000000-0000-0000-0000-000000000000", `{"settings":{"SITE_URL":"https://x.example"}}`, bearer(h.Policy().OperatorToken))
	if a.Code != http.StatusBadRequest {
		t.Errorf("the default tenant was changed: %d %s", a.Code, a.Body)
	}
}

// many are n hosts, as they stand between quotes.
func many(n int) string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("h%d.example", i)
	}
	return strings.Join(list, `","`)
}

func TestTenantsAPI_listsByName(t *testing.T) {
	t.Parallel()
	b := newHouse(t, nil).tenants()
	for _, name := range []string{"c", "a", "b"} {
		b.must(t, http.StatusCreated, "POST", "/admin/tenants", `{"name":"`+name+`"}`)
	}
	var got []string
	for after := ""; ; {
		list, _ := b.must(t, http.StatusOK, "GET", "/admin/tenants?per_page=2&after="+after, "").JSON["tenants"].([]any)
		if len(list) == 0 {
			break
		}
		for _, x := range list {
			after = x.(map[string]any)["name"].(string)
			got = append(got, after)
		}
	}
	if diff := cmp.Diff([]string{"a", "b", "c", "default", "other"}, got); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
	for _, q := range []string{"per_page=0", "per_page=-1", "per_page=x"} {
		a := b.do("GET", "/admin/tenants?"+q, "", bearer(b.Policy().OperatorToken))
		if a.Code != http.StatusBadRequest {
			t.Errorf("%s: %d %s", q, a.Code, a.Body)
		}
	}
}
