package samltest

import (
	"compress/flate"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"html"
	"html/template"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/beevik/etree"
)

// Request is a request to sign somebody in, as it came and was checked.
type Request struct {
	ID, Issuer, ACS, NameIDFormat, RelayState string
	Signed                                    bool
}

func (p *IdP) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /metadata", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/samlmetadata+xml")
		_, _ = w.Write(p.Metadata())
	})
	mux.HandleFunc("GET /sso", func(w http.ResponseWriter, r *http.Request) {
		req, err := p.ReadRequest(r.URL.RawQuery)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		p.mu.Lock()
		p.requests = append(p.requests, req)
		p.mu.Unlock()
		p.answer(w, Answer{SP: req.Issuer, InResponseTo: req.ID}, req.RelayState)
	})
	// A link in a portal: nobody has asked. Query: sp, RelayState.
	mux.HandleFunc("GET /initiate", func(w http.ResponseWriter, r *http.Request) {
		p.answer(w, Answer{SP: r.URL.Query().Get("sp")}, r.URL.Query().Get("RelayState"))
	})
	return mux
}

var page = template.Must(template.New("").Parse(`<!doctype html><title>Signing in</title>
<form method="post" action="{{.ACS}}"><input type="hidden" name="SAMLResponse" value="{{.Response}}">
<input type="hidden" name="RelayState" value="{{.Relay}}"><button>Continue</button></form>
<script>document.forms[0].submit()</script>
`))

// answer has the browser post a response.
func (p *IdP) answer(w http.ResponseWriter, a Answer, relay string) {
	sp, err := p.find(a.SP)
	if err != nil {
		http.Error(w, err.Error(), http.StatusNotFound)
		return
	}
	p.mu.Lock()
	tamper := p.tamper
	p.mu.Unlock()
	if tamper != nil {
		tamper(&a)
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	_ = page.Execute(w, map[string]string{"ACS": sp.ACS, "Response": p.Respond(a), "Relay": relay})
}

var (
	formAction = regexp.MustCompile(`<form method="post" action="([^"]*)"`)
	formInput  = regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)"`)
)

// Form reads the page that a browser would submit by itself.
func Form(body string) (action string, fields url.Values, err error) {
	m := formAction.FindStringSubmatch(body)
	if m == nil {
		return "", nil, fmt.Errorf("samltest: no form in %.200q", body)
	}
	fields = url.Values{}
	for _, in := range formInput.FindAllStringSubmatch(body, -1) {
		fields.Set(in[1], html.UnescapeString(in[2]))
	}
	return html.UnescapeString(m[1]), fields, nil
}

// ReadRequest checks the query of a request as of the HTTP-Redirect binding:
// from a known service provider, to be answered at its address, and signed by
// its key if it has one.
func (p *IdP) ReadRequest(query string) (Request, error) {
	values, err := url.ParseQuery(query)
	if err != nil {
		return Request{}, err
	}
	raw, err := base64.StdEncoding.DecodeString(values.Get("SAMLRequest"))
	if err != nil || len(raw) == 0 {
		return Request{}, errors.New("samltest: no SAMLRequest")
	}
	text, err := io.ReadAll(io.LimitReader(flate.NewReader(strings.NewReader(string(raw))), 1<<20))
	if err != nil {
		return Request{}, err
	}
	doc := etree.NewDocument()
	if err := doc.ReadFromBytes(text); err != nil {
		return Request{}, err
	}
	root := doc.Root()
	if root == nil || root.Tag != "AuthnRequest" || root.NamespaceURI() != nsProtocol || root.SelectAttrValue("Version", "") != "2.0" {
		return Request{}, errors.New("samltest: not an AuthnRequest")
	}
	req := Request{
		ID:         root.SelectAttrValue("ID", ""),
		ACS:        root.SelectAttrValue("AssertionConsumerServiceURL", ""),
		RelayState: values.Get("RelayState"),
	}
	if el := root.SelectElement("Issuer"); el != nil {
		req.Issuer = el.Text()
	}
	if el := root.SelectElement("NameIDPolicy"); el != nil {
		req.NameIDFormat = el.SelectAttrValue("Format", "")
	}
	if req.ID == "" || req.Issuer == "" {
		return Request{}, errors.New("samltest: a request without ID or Issuer")
	}
	sp, err := p.find(req.Issuer)
	if err != nil {
		return Request{}, err
	}
	if req.ACS != sp.ACS {
		return Request{}, fmt.Errorf("samltest: a request to be answered at %s, not at %s", req.ACS, sp.ACS)
	}
	if to := root.SelectAttrValue("Destination", ""); to != p.SSO {
		return Request{}, fmt.Errorf("samltest: a request for %s", to)
	}
	if req.Signed, err = checkQuery(query, sp); err != nil {
		return Request{}, err
	}
	return req, nil
}

// checkQuery checks the signature over the query as it was spelled.
func checkQuery(query string, sp SP) (signed bool, err error) {
	if len(sp.Signing) == 0 {
		return false, nil
	}
	over, last, ok := strings.Cut(query, "&Signature=")
	if !ok {
		return false, errors.New("samltest: the request is not signed")
	}
	if i := strings.Index(over, "SAMLRequest="); i > 0 {
		over = over[i:]
	}
	if !strings.HasSuffix(over, "&SigAlg="+url.QueryEscape(RSASHA256)) {
		return false, errors.New("samltest: the request is not signed with RSA and SHA-256")
	}
	last, err = url.QueryUnescape(last)
	if err != nil {
		return false, err
	}
	value, err := base64.StdEncoding.DecodeString(last)
	if err != nil {
		return false, err
	}
	sum := sha256.Sum256([]byte(over))
	for _, cert := range sp.Signing {
		if key, ok := cert.PublicKey.(*rsa.PublicKey); ok && rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], value) == nil {
			return true, nil
		}
	}
	return false, errors.New("samltest: the request's signature is wrong")
}
