package main

import (
	"encoding/json"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"time"

	"gatehouse/internal/samltest"
)

// company is a SAML identity provider at an address of its own, with the same host
// as the rest: samltest listens where a browser takes it for the server under test.
type company struct {
	*samltest.IdP
	url    string
	server *http.Server
}

func startCompany(addr string) (*company, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	p, err := samltest.Start()
	if err != nil {
		return nil, err
	}
	inner, err := url.Parse(p.URL())
	if err != nil {
		p.Close()
		return nil, err
	}
	l, err := net.Listen("tcp", net.JoinHostPort(host, "0")) //nolint:noctx // listening on an address of this machine waits for nothing
	if err != nil {
		p.Close()
		return nil, err
	}
	c := &company{IdP: p, url: "http://" + l.Addr().String()}
	c.EntityID, c.SSO = c.url+"/metadata", c.url+"/sso"
	mux := http.NewServeMux()
	mux.HandleFunc("POST /_control", c.control)
	mux.Handle("/", httputil.NewSingleHostReverseProxy(inner))
	c.server = &http.Server{Handler: mux, ReadHeaderTimeout: time.Minute}
	go func() { _ = c.server.Serve(l) }() // ends with close
	return c, nil
}

func (c *company) close() {
	_ = c.server.Close() // nothing is left to lose
	c.Close()
}

// companyOrder is what a test asks for.
type companyOrder struct {
	Trust string `json:"trust"` // the metadata of a service provider
	User  *struct {
		NameID     string              `json:"name_id"`
		Attributes map[string][]string `json:"attributes"`
	} `json:"user"`
	Flaw *string `json:"flaw"` // of all answers from now on
}

func (c *company) control(w http.ResponseWriter, r *http.Request) {
	var o companyOrder
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	err := d.Decode(&o)
	if err == nil && o.Trust != "" {
		_, err = c.Trust([]byte(o.Trust))
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if o.User != nil {
		u := samltest.User{NameID: o.User.NameID}
		for name, values := range o.User.Attributes {
			u.Attributes = append(u.Attributes, samltest.Attribute{Name: name, Values: values})
		}
		c.SetUser(u)
	}
	if o.Flaw != nil {
		flaw := samltest.Flaw(*o.Flaw)
		c.Tamper(func(a *samltest.Answer) { a.Flaw = flaw })
	}
	w.WriteHeader(http.StatusNoContent)
}
