package social

import (
	"net/url"
	"regexp"
	"strings"
)

var guid = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)

// consumers is the tenant of Microsoft's personal accounts.
const consumers = "9188040d-6c67-4c5b-b112-36a304b66dad"

// azureTenant splits the URL into what is before the tenant and the tenant.
func azureTenant(base string) (before, tenant string) {
	i := strings.LastIndexByte(base, '/')
	if u, err := url.Parse(base); err != nil || i < 0 || strings.Trim(u.Path, "/") == "" {
		return base, "common" // as Supabase's URL without a tenant
	}
	return base[:i], base[i+1:]
}

// azureIssuer is the issuer that a token must name. A URL with a tenant's id
// takes that tenant's tokens alone (supabase/auth a39858b let others in); one for
// many tenants takes those whose tenant is the one in the issuer.
func azureIssuer(r *remote, c claims) string {
	before, tenant := azureTenant(r.base)
	switch {
	case guid.MatchString(tenant):
	case tenant == "consumers":
		tenant = consumers
	case tenant == "common", tenant == "organizations":
		tid := c.text("tid")
		if !guid.MatchString(tid) || tenant == "organizations" && tid == consumers {
			return before + "/none/v2.0"
		}
		tenant = tid
	case strings.HasSuffix(r.iss, "/"+tenant+"/v2.0"):
		return "" // a domain: discovery knows its id
	default:
		return r.iss
	}
	return before + "/" + tenant + "/v2.0"
}

// azureDiscovered judges the issuer in a discovery document.
func azureDiscovered(r *remote, m metadata) bool {
	before, tenant := azureTenant(r.base)
	switch {
	case tenant == "common", tenant == "organizations":
		return m.Issuer == before+"/{tenantid}/v2.0"
	case tenant == "consumers":
		return m.Issuer == before+"/"+consumers+"/v2.0"
	case guid.MatchString(tenant):
		return m.Issuer == before+"/"+tenant+"/v2.0"
	}
	id, ok := strings.CutSuffix(m.Issuer, "/v2.0")
	if id, ok2 := strings.CutPrefix(id, before+"/"); !ok || !ok2 || !guid.MatchString(id) {
		return false
	}
	r.iss = m.Issuer
	return true
}

// azureClaims reads Entra's ID token. Its email can be set by whoever runs the
// tenant, to anybody's (nOAuth): it is proved only if Entra says that the domain
// is the tenant's, in the optional claim xms_edov.
func azureClaims(_ *visit, c claims, p *person) {
	p.proved = c.yes("xms_edov")
	p.custom = c.pick("tid", "oid", "xms_edov", "upn", "groups", "roles", "acct", "idp")
}
