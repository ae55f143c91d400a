package idptest

import (
	"encoding/json"
	"net/http"
	"time"
)

// order is what a test in another language asks for; see compat/idp.
type order struct {
	Client *struct {
		ID        string   `json:"id"`
		Secret    string   `json:"secret"`
		Redirects []string `json:"redirects"`
	} `json:"client"`
	Apple  string  `json:"apple"` // a client's id: the answer has its key
	Person *Person `json:"person"`
	Deny   *struct {
		Error       string `json:"error"`
		Description string `json:"description"`
	} `json:"deny"`
	Fail *struct {
		What    string `json:"what"`
		Times   int    `json:"times"`
		Status  int    `json:"status"`
		Body    string `json:"body"`
		DelayMS int    `json:"delay_ms"`
		Hang    bool   `json:"hang"`
		Garbage bool   `json:"garbage"`
		Drip    bool   `json:"drip"`
		Huge    bool   `json:"huge"`
		Cut     bool   `json:"cut"`
	} `json:"fail"`
	Heal   *[]string `json:"heal"`
	Revoke string    `json:"revoke"` // a subject
	Rotate *struct {
		Keep bool `json:"keep"`
	} `json:"rotate"`
	Forge *forgeryOrder `json:"forge"`
	Token *struct {
		Vendor string         `json:"vendor"`
		Claims map[string]any `json:"claims"`
		Forge  forgeryOrder   `json:"forge"`
	} `json:"token"` // the answer has it
	IDToken *struct {
		Vendor      string       `json:"vendor"`
		Client      string       `json:"client"`
		Nonce       string       `json:"nonce"`
		AccessToken string       `json:"access_token"`
		Forge       forgeryOrder `json:"forge"`
	} `json:"id_token"` // likewise
	Browser  *bool   `json:"browser"`
	AccessMS int     `json:"access_ms"`
	Iss      *string `json:"iss"`
}

type forgeryOrder struct {
	Claims   map[string]any `json:"claims"`
	Header   map[string]any `json:"header"`
	Alg      string         `json:"alg"`
	Secret   *string        `json:"secret"`
	Stranger bool           `json:"stranger"`
}

func (o forgeryOrder) forgery() Forgery {
	f := Forgery{Claims: o.Claims, Header: o.Header, Alg: o.Alg, Stranger: o.Stranger}
	if o.Secret != nil {
		f.Secret = []byte(*o.Secret)
	}
	return f
}

// steer is what tests reach that are not written in Go.
func (p *Provider) steer(w http.ResponseWriter, r *http.Request) {
	switch r.Method + " " + r.URL.Path {
	case "GET /_requests":
		list := p.Requests()
		if list == nil {
			list = []Request{}
		}
		writeJSON(w, http.StatusOK, list)
	case "DELETE /_requests":
		p.Forget()
		w.WriteHeader(http.StatusNoContent)
	case "GET /_vendors":
		writeJSON(w, http.StatusOK, p.Directory())
	case "POST /_control":
		var o order
		d := json.NewDecoder(r.Body)
		d.DisallowUnknownFields()
		if err := d.Decode(&o); err != nil {
			writeJSON(w, http.StatusBadRequest, map[string]string{"error": err.Error()})
			return
		}
		if text := p.wrongOrder(o); text != "" {
			writeJSON(w, http.StatusBadRequest, map[string]string{"error": text})
			return
		}
		writeJSON(w, http.StatusOK, p.obey(o))
	default:
		http.NotFound(w, r)
	}
}

// Directory has the base and the issuer of every vendor.
func (p *Provider) Directory() map[string]map[string]string {
	all := map[string]map[string]string{}
	for _, name := range p.Vendors() {
		all[name] = map[string]string{"base": p.Base(name), "issuer": p.Issuer(name)}
	}
	return all
}

// wrongOrder says what cannot be done, before anything is.
func (p *Provider) wrongOrder(o order) string {
	if o.Apple != "" {
		p.mu.Lock()
		known := p.clients[o.Apple] != nil || o.Client != nil && o.Client.ID == o.Apple
		p.mu.Unlock()
		if !known {
			return "no client " + o.Apple
		}
	}
	var vendors []string
	if o.Token != nil {
		vendors = append(vendors, o.Token.Vendor)
	}
	if o.IDToken != nil {
		vendors = append(vendors, o.IDToken.Vendor)
	}
	for _, name := range vendors {
		if _, known := p.vendorOf(name); !known {
			return "no vendor " + name
		}
	}
	return ""
}

func (p *Provider) obey(o order) map[string]any {
	done := map[string]any{}
	if o.Client != nil {
		p.Client(o.Client.ID, o.Client.Secret, o.Client.Redirects...)
	}
	if o.Apple != "" {
		k := p.Apple(o.Apple)
		done["apple"] = map[string]string{
			"team_id": k.TeamID, "key_id": k.KeyID, "private_key": k.PrivateKey, "secret": k.Secret(o.Apple, p.now(), time.Hour),
		}
	}
	if o.Person != nil {
		p.Person(*o.Person)
	}
	if o.Deny != nil {
		p.Deny(o.Deny.Error, o.Deny.Description)
	}
	if o.Heal != nil {
		p.Heal(*o.Heal...)
	}
	if f := o.Fail; f != nil {
		p.Fail(f.What, Failure{
			Times: f.Times, Status: f.Status, Body: f.Body, Delay: time.Duration(f.DelayMS) * time.Millisecond,
			Hang: f.Hang, Garbage: f.Garbage, Drip: f.Drip, Huge: f.Huge, Cut: f.Cut,
		})
	}
	if o.Revoke != "" {
		p.Revoke(o.Revoke)
	}
	if o.Rotate != nil {
		p.Rotate(o.Rotate.Keep)
	}
	if o.Forge != nil {
		p.Forge(o.Forge.forgery())
	}
	if o.Token != nil {
		done["token"] = p.Token(o.Token.Vendor, o.Token.Claims, o.Token.Forge.forgery())
	}
	if t := o.IDToken; t != nil {
		done["id_token"] = p.IDToken(t.Vendor, t.Client, t.Nonce, t.AccessToken, t.Forge.forgery())
	}
	p.Set(func(to *Options) {
		if o.Browser != nil {
			to.Browser = *o.Browser
		}
		if o.AccessMS > 0 {
			to.AccessLife = time.Duration(o.AccessMS) * time.Millisecond
		}
		if o.Iss != nil {
			to.Iss = *o.Iss
		}
	})
	return done
}
