package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"gatehouse/internal/auth"
	"gatehouse/internal/config"
)

type tenantCmd struct {
	Add    tenantAddCmd    `cmd:"" help:"Make a tenant: a house of its own in this server."`
	List   tenantListCmd   `cmd:"" help:"List the tenants."`
	Show   tenantShowCmd   `cmd:"" help:"Show a tenant, but for its secrets."`
	Set    tenantSetCmd    `cmd:"" help:"Change a tenant."`
	Delete tenantDeleteCmd `cmd:"" help:"Delete a tenant with all its users."`
}

type tenantAddCmd struct {
	Name     string   `arg:"" help:"Its name, a part of its address: /t/NAME."`
	Host     []string `help:"A host name its requests come to. May be repeated."`
	External string   `help:"What another system calls it."`
	Set      []string `help:"A setting of its own, as SITE_URL=https://shop.example. May be repeated." placeholder:"X=VALUE" sep:"none"`
	JSON     bool     `help:"As JSON." name:"json"`
}

// tenantOut is a tenant as the command line shows it.
type tenantOut struct {
	ID         string            `json:"id"`
	Name       string            `json:"name"`
	ExternalID string            `json:"external_id,omitempty"`
	Hosts      []string          `json:"hosts,omitempty"`
	URL        string            `json:"url,omitempty"`
	Settings   map[string]string `json:"settings,omitempty"`
	CreatedAt  time.Time         `json:"created_at,omitzero"`
}

func (h *house) tenantOut(t *auth.Tenant) tenantOut {
	out := tenantOut{ID: t.ID.String(), Name: t.Name, ExternalID: t.ExternalID, Hosts: t.Hosts, Settings: map[string]string{}, CreatedAt: t.CreatedAt}
	for k, v := range t.Settings {
		if config.IsSecret(k) {
			v = "***"
		}
		out.Settings[k] = v
	}
	base := h.plan.Load().base.Server.ExternalURL
	if base != "" && !t.ID.IsZero() {
		out.URL = tenantAddress(base, *t)
	}
	return out
}

func (h *house) showTenant(e env, t *auth.Tenant, asJSON bool) error {
	out := h.tenantOut(t)
	if asJSON {
		return printJSON(e.out, out)
	}
	fmt.Fprintf(e.out, "id        %s\nname      %s\n", out.ID, out.Name)
	if out.ExternalID != "" {
		fmt.Fprintf(e.out, "external  %s\n", out.ExternalID)
	}
	if len(out.Hosts) > 0 {
		fmt.Fprintf(e.out, "hosts     %s\n", strings.Join(out.Hosts, ", "))
	}
	if out.URL != "" {
		fmt.Fprintf(e.out, "url       %s\n", out.URL)
	}
	for _, k := range slices.Sorted(maps.Keys(out.Settings)) {
		fmt.Fprintf(e.out, "setting   %s=%s\n", k, out.Settings[k])
	}
	return nil
}

// pairs reads X=VALUE, where X may have the prefix of an environment variable.
func pairs(list []string) (map[string]string, error) {
	values := map[string]string{}
	for _, p := range list {
		k, v, ok := strings.Cut(p, "=")
		if !ok || k == "" {
			return nil, fmt.Errorf("--set %q: write X=VALUE", k)
		}
		values[strings.TrimPrefix(strings.TrimPrefix(k, "GATEHOUSE_"), "GOTRUE_")] = v
	}
	return values, nil
}

// Run makes a tenant.
func (c tenantAddCmd) Run(ctx context.Context, e env) error {
	values, err := pairs(c.Set)
	if err != nil {
		return err
	}
	return withHouse(ctx, e, func(h *house) error {
		t, err := h.tenants.Add(ctx, cliCaller, auth.Tenant{Name: c.Name, Hosts: c.Host, ExternalID: c.External, Settings: values})
		if err != nil {
			return explained(err)
		}
		return h.showTenant(e, t, c.JSON)
	})
}

type tenantListCmd struct {
	JSON bool `help:"As JSON, one on a line." name:"json"`
}

// Run lists all tenants, by name.
func (c tenantListCmd) Run(ctx context.Context, e env) error {
	const page = 500
	return withHouse(ctx, e, func(h *house) error {
		t := tabwriter.NewWriter(e.out, 0, 8, 2, ' ', 0)
		if !c.JSON {
			fmt.Fprintln(t, "NAME\tID\tHOSTS\tURL")
		}
		for after := ""; ; {
			list, err := h.tenants.List(ctx, after, page)
			if err != nil {
				return err
			}
			for i := range list {
				out := h.tenantOut(&list[i])
				if c.JSON {
					err = printJSON(e.out, out)
				} else {
					_, err = fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", out.Name, out.ID, strings.Join(out.Hosts, ","), out.URL)
				}
				if err != nil {
					return err
				}
			}
			if len(list) < page {
				return t.Flush()
			}
			after = list[len(list)-1].Name
		}
	})
}

// explained says what to do about a tenant that could not be kept.
func explained(err error) error {
	if auth.CodeOf(err) == auth.TenantTaken {
		return errors.New("another tenant has this name, one of these hosts or this external id; gatehouse tenant list shows them")
	}
	return err
}

// withTenant opens the house and finds a tenant.
func withTenant(ctx context.Context, e env, name string, f func(*house, *auth.Tenant) error) error {
	return withHouse(ctx, e, func(h *house) error {
		t, err := h.tenants.TenantByName(ctx, name)
		if err != nil && auth.CodeOf(err) == auth.TenantNotFound {
			return fmt.Errorf("there is no tenant %q; gatehouse tenant list shows them", name)
		}
		if err != nil {
			return err
		}
		return f(h, t)
	})
}

type tenantShowCmd struct {
	Name string `arg:"" help:"Name or id."`
	JSON bool   `help:"As JSON." name:"json"`
}

// Run shows a tenant.
func (c tenantShowCmd) Run(ctx context.Context, e env) error {
	return withTenant(ctx, e, c.Name, func(h *house, t *auth.Tenant) error { return h.showTenant(e, t, c.JSON) })
}

type tenantSetCmd struct {
	Name   string   `arg:"" help:"Name or id."`
	Rename string   `help:"A new name."`
	Host   []string `help:"A host name its requests come to, in place of all it has. May be repeated."`
	Set    []string `help:"A setting of its own. May be repeated." placeholder:"X=VALUE" sep:"none"`
	Unset  []string `help:"A setting that shall be the server's again. May be repeated." placeholder:"X"`
	JSON   bool     `help:"As JSON." name:"json"`
}

// Run changes a tenant. Servers at work notice within a second or two.
func (c tenantSetCmd) Run(ctx context.Context, e env) error {
	values, err := pairs(c.Set)
	if err != nil {
		return err
	}
	return withTenant(ctx, e, c.Name, func(h *house, t *auth.Tenant) error {
		t, err := h.tenants.Set(ctx, cliCaller, t.ID, func(t *auth.Tenant) error {
			if c.Rename != "" {
				t.Name = c.Rename
			}
			if len(c.Host) > 0 {
				t.Hosts = slices.Clone(c.Host)
			}
			if t.Settings == nil {
				t.Settings = map[string]string{}
			}
			maps.Copy(t.Settings, values)
			for _, x := range c.Unset {
				delete(t.Settings, x)
			}
			return nil
		})
		if err != nil {
			return explained(err)
		}
		return h.showTenant(e, t, c.JSON)
	})
}

type tenantDeleteCmd struct {
	Name string `arg:"" help:"Name or id."`
	Yes  bool   `help:"Really: its users are gone for good."`
}

// Run deletes a tenant.
func (c tenantDeleteCmd) Run(ctx context.Context, e env) error {
	return withTenant(ctx, e, c.Name, func(h *house, t *auth.Tenant) error {
		if !c.Yes {
			return fmt.Errorf("this deletes the tenant %q with all its users, for good; say --yes", t.Name)
		}
		return h.tenants.Drop(ctx, cliCaller, t.ID)
	})
}
