package idptest

import (
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

// grant is what a person allowed a client: a code, and all that comes of it.
type grant struct {
	vendor, base, tenant string
	client               *Client
	redirect             string
	challenge            string
	nonce                string
	scope                string
	query                url.Values // of the authorization request
	subject              string
	expires              time.Time
	spent                bool
	over                 bool // revoked, with its tokens
}

// asked tells whether a scope is among those of the grant. Vendors separate
// them with spaces or with commas.
func (g *grant) asked(scopes ...string) bool {
	for _, s := range scopes {
		if s == "" || slices.Contains(split(g.scope), s) {
			return true
		}
	}
	return len(scopes) == 0
}

func split(scope string) []string {
	return strings.FieldsFunc(scope, func(r rune) bool { return r == ' ' || r == ',' })
}

var pages = template.Must(template.New("").Parse(`
{{define "error"}}<!doctype html><html lang="en"><meta charset="utf-8"><title>{{.Title}}</title>
<h1>{{.Title}}</h1><p id="error">{{.Text}}</p></html>{{end}}
{{define "ask"}}<!doctype html><html lang="en"><meta charset="utf-8"><title>{{.Title}}</title>
<h1>Sign in to {{.Vendor}} as <span id="who">{{.Who}}</span></h1>
<form method="post" action="{{.Action}}">
<p>{{.Client}} asks for: <span id="scope">{{.Scope}}</span></p>
<button id="allow" name="decision" value="allow">Allow</button>
<button id="deny" name="decision" value="deny">Cancel</button>
</form></html>{{end}}
{{define "post"}}<!doctype html><html lang="en"><meta charset="utf-8"><title>{{.Title}}</title>
<form method="post" action="{{.Action}}">{{range $k, $v := .Form}}{{range $v}}<input type="hidden" name="{{$k}}" value="{{.}}">{{end}}{{end}}
<noscript><button>Continue</button></noscript></form>
<script>document.forms[0].submit()</script></html>{{end}}
`))

func page(w http.ResponseWriter, status int, name string, data any) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	if err := pages.ExecuteTemplate(w, name, data); err != nil {
		panic(http.ErrAbortHandler) // the browser is gone
	}
}

// wrong tells the person, not the client, that the request is no good: nobody
// knows whether the address it names is the client's (RFC 6749 §4.1.2.1).
func (c *call) wrong(w http.ResponseWriter, text string) {
	page(w, http.StatusBadRequest, "error", map[string]string{"Title": named(c.v, "this request cannot be answered"), "Text": text})
}

// authorize is where the client sends the browser.
func authorize(c *call, w http.ResponseWriter) {
	q := c.both
	c.p.mu.Lock()
	client := c.p.clients[q.Get("client_id")]
	browser := c.p.options.Browser
	c.p.mu.Unlock()
	switch {
	case c.Method != http.MethodGet && c.Method != http.MethodPost:
		c.wrong(w, "The method is neither GET nor POST.")
	case client == nil:
		c.wrong(w, "Nobody is registered under this client_id.")
	case !slices.Contains(client.Redirects, q.Get("redirect_uri")):
		c.wrong(w, "The redirect_uri is not registered.")
	default:
		for k := range q {
			if once := k != "resource" && k != "audience"; once && len(q[k]) > 1 {
				c.wrong(w, "The parameter "+k+" is given twice.") // RFC 6749 §3.1
				return
			}
		}
		who := c.p.who(c.Request, q.Get("login_hint"))
		if code, text := c.objection(); code != "" {
			c.land(w, url.Values{"error": {code}, "error_description": {text}})
			return
		}
		if d, denied := c.denied(); denied {
			c.land(w, d)
			return
		}
		if browser && c.body.Get("decision") == "" {
			page(w, http.StatusOK, "ask", map[string]string{
				"Title": named(c.v, "sign in"), "Vendor": c.v.title, "Client": client.ID, "Scope": q.Get("scope"),
				"Action": c.URL.RequestURI(), "Who": whoIs(who),
			})
			return
		}
		c.allow(w, client, who)
	}
}

func whoIs(p Person) string {
	for _, s := range []string{p.Name, p.Email, p.Username} {
		if s != "" {
			return s
		}
	}
	return p.Subject
}

// objection is what the vendor has against the request, as an OAuth error.
func (c *call) objection() (code, text string) {
	q := c.both
	switch kind := q.Get("response_type"); {
	case kind != "code" && (kind != "code id_token" || c.v.openid == never):
		return "unsupported_response_type", "response_type must be code"
	case q.Has("code_challenge") && q.Get("code_challenge_method") != "S256" && (!c.v.anyCase || q.Get("code_challenge_method") != "s256"):
		return "invalid_request", "code_challenge_method must be S256"
	case q.Has("code_challenge") && len(q.Get("code_challenge")) != 43:
		return "invalid_request", "code_challenge is not a SHA-256 in base64url"
	case c.v.pkce && !q.Has("code_challenge"):
		return "invalid_request", "code_challenge is missing"
	case q.Has("code_verifier"):
		return "invalid_request", "code_verifier is not for others to see"
	}
	if c.v.objects != nil {
		return c.v.objects(q)
	}
	return "", ""
}

// denied is the vendor's «no», if the test or the person says so.
func (c *call) denied() (url.Values, bool) {
	var d denial
	c.p.mu.Lock()
	defer c.p.mu.Unlock()
	switch {
	case len(c.p.denials) > 0:
		d = c.p.denials[0]
		c.p.denials = c.p.denials[1:]
	case c.body.Get("decision") != "deny":
		return nil, false
	}
	out := url.Values{}
	if d.code == "" {
		d.code = "access_denied"
		out.Set("error_description", "The person said no")
		for k, v := range c.v.cancelled {
			out.Set(k, v)
			if k == "error" {
				d.code = v
			}
		}
	}
	out.Set("error", d.code)
	if d.description != "" {
		out.Set("error_description", d.description)
	}
	return out, true
}

// allow makes the code.
func (c *call) allow(w http.ResponseWriter, client *Client, who Person) {
	q := c.both
	code := random("code")
	g := &grant{
		vendor: c.v.name, base: c.base, tenant: c.tenant, client: client, redirect: q.Get("redirect_uri"), challenge: q.Get("code_challenge"),
		nonce: q.Get("nonce"), scope: q.Get("scope") + " " + q.Get("user_scope"), query: q, subject: who.Subject,
	}
	g.scope = strings.TrimSpace(g.scope)
	c.p.mu.Lock()
	g.expires = c.p.options.Now().Add(c.p.options.CodeLife)
	c.p.codes[code] = g
	c.p.mu.Unlock()
	out := url.Values{"code": {code}}
	if c.v.lands != nil {
		c.v.lands(&ask{call: c, g: g, who: who}, out)
	}
	if q.Get("response_type") == "code id_token" {
		a := &ask{call: c, g: g, who: who}
		c.p.mu.Lock()
		f := c.p.forgery
		c.p.mu.Unlock()
		out.Set("id_token", a.idToken("", code, f))
	}
	c.land(w, out)
}

// land sends the browser back, in the way that was asked for.
func (c *call) land(w http.ResponseWriter, out url.Values) {
	q := c.both
	if q.Has("state") {
		out.Set("state", q.Get("state"))
	}
	c.p.mu.Lock()
	iss := c.p.options.Iss
	c.p.mu.Unlock()
	switch {
	case iss != "":
		out.Set("iss", iss)
	case c.v.iss:
		out.Set("iss", c.issuer())
	}
	back, err := url.Parse(q.Get("redirect_uri"))
	if err != nil {
		c.wrong(w, "The redirect_uri is no URL.")
		return
	}
	if q.Get("response_mode") == "form_post" {
		page(w, http.StatusOK, "post", map[string]any{"Title": named(c.v, "back to where you came from"), "Action": template.URL(back.String()), "Form": out})
		return
	}
	query := back.Query()
	for k, list := range out {
		query[k] = list
	}
	back.RawQuery = query.Encode()
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Location", back.String())
	w.WriteHeader(http.StatusFound)
}
