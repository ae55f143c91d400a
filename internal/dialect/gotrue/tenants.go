package gotrue

import (
	"net/http"
	"time"

	"gatehouse/internal/auth"
	"gatehouse/internal/web"
)

// TenantsAPI is the API of tenants: /admin/tenants, for whoever runs the server.
func TenantsAPI(o InstancesOptions) http.Handler {
	a := &instances{o}
	return a.mux(map[string]func(http.ResponseWriter, *http.Request, auth.Caller) error{
		"GET /admin/tenants":         a.listTenants,
		"POST /admin/tenants":        a.addTenant,
		"GET /admin/tenants/{id}":    a.showTenant,
		"PUT /admin/tenants/{id}":    a.setTenant,
		"DELETE /admin/tenants/{id}": a.dropTenant,
	}, Auto)
}

// tenant is a tenant on the wire.
type tenant struct {
	ID         string            `json:"id"`
	Name       string            `json:"name"`
	ExternalID string            `json:"external_id,omitempty"`
	Hosts      []string          `json:"hosts"`
	Settings   map[string]string `json:"settings"`
	CreatedAt  time.Time         `json:"created_at"`
	UpdatedAt  time.Time         `json:"updated_at"`
}

// hidden stands for the value of a secret. Sent back, it leaves the secret as it
// is.
const hidden = "***"

func (a *instances) tenantJSON(t *auth.Tenant) tenant {
	out := tenant{
		ID: t.ID.String(), Name: t.Name, ExternalID: t.ExternalID, Hosts: t.Hosts, Settings: map[string]string{},
		CreatedAt: t.CreatedAt, UpdatedAt: t.UpdatedAt,
	}
	if out.Hosts == nil {
		out.Hosts = []string{}
	}
	for k, v := range t.Settings {
		if a.Secret(k) {
			v = hidden
		}
		out.Settings[k] = v
	}
	return out
}

// tenantInput is the body of POST and PUT. What is left out stays as it is; a
// setting that is null goes.
type tenantInput struct {
	Name       *string            `json:"name"`
	ExternalID *string            `json:"external_id"`
	Hosts      *[]string          `json:"hosts"`
	Settings   map[string]*string `json:"settings"`
}

func (in tenantInput) apply(t *auth.Tenant) {
	if in.Name != nil {
		t.Name = *in.Name
	}
	if in.ExternalID != nil {
		t.ExternalID = *in.ExternalID
	}
	if in.Hosts != nil {
		t.Hosts = *in.Hosts
	}
	next := map[string]string{}
	for k, v := range t.Settings {
		next[k] = v
	}
	for k, v := range in.Settings {
		switch {
		case v == nil:
			delete(next, k)
		case *v == hidden && next[k] != "":
		default:
			next[k] = *v
		}
	}
	t.Settings = next
}

// listTenants handles "GET /admin/tenants": by name, those after "after".
func (a *instances) listTenants(w http.ResponseWriter, r *http.Request, _ auth.Caller) error {
	q := r.URL.Query()
	size, err := number(q, "per_page", defaultPage)
	if err != nil {
		return err
	}
	list, err := a.Tenants.List(r.Context(), q.Get("after"), min(size, maxPage))
	if err != nil {
		return err
	}
	out := make([]tenant, 0, len(list))
	for i := range list {
		out = append(out, a.tenantJSON(&list[i]))
	}
	return web.JSON(w, http.StatusOK, map[string]any{"tenants": out})
}

// addTenant handles "POST /admin/tenants".
func (a *instances) addTenant(w http.ResponseWriter, r *http.Request, c auth.Caller) error {
	var in tenantInput
	err := web.Body(w, r, &in)
	if err != nil {
		return err
	}
	if in.Name == nil || *in.Name == "" {
		return auth.Invalid("name", "A tenant needs a name")
	}
	var t auth.Tenant
	in.apply(&t)
	made, err := a.Tenants.Add(r.Context(), c, t)
	if err != nil {
		return err
	}
	return web.JSON(w, http.StatusCreated, a.tenantJSON(made))
}

// showTenant handles "GET /admin/tenants/{id}", where id may be the name.
func (a *instances) showTenant(w http.ResponseWriter, r *http.Request, _ auth.Caller) error {
	t, err := a.Tenants.TenantByName(r.Context(), r.PathValue("id"))
	if err != nil {
		return err
	}
	return web.JSON(w, http.StatusOK, a.tenantJSON(t))
}

// setTenant handles "PUT /admin/tenants/{id}".
func (a *instances) setTenant(w http.ResponseWriter, r *http.Request, c auth.Caller) error {
	var in tenantInput
	err := web.Body(w, r, &in)
	if err != nil {
		return err
	}
	t, err := a.Tenants.TenantByName(r.Context(), r.PathValue("id"))
	if err == nil {
		t, err = a.Tenants.Set(r.Context(), c, t.ID, func(t *auth.Tenant) error {
			before := t.Settings
			in.apply(t)
			return a.stays(before, t.Settings, func(name string) bool { v := in.Settings[name]; return v != nil && *v != hidden })
		})
	}
	if err != nil {
		return err
	}
	return web.JSON(w, http.StatusOK, a.tenantJSON(t))
}

// dropTenant handles "DELETE /admin/tenants/{id}".
func (a *instances) dropTenant(w http.ResponseWriter, r *http.Request, c auth.Caller) error {
	t, err := a.Tenants.TenantByName(r.Context(), r.PathValue("id"))
	if err == nil {
		err = a.Tenants.Drop(r.Context(), c, t.ID)
	}
	if err != nil {
		return err
	}
	return web.JSON(w, http.StatusOK, struct{}{})
}
