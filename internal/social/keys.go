package social

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"golang.org/x/sync/singleflight"

	"gatehouse/internal/fetch"
)

// KeysOptions of NewKeys; zero values are the usual.
type KeysOptions struct {
	Fetch *fetch.Client
	Now   func() time.Time
	TTL   time.Duration // how long a document counts as fresh; zero: an hour
	Max   int           // how many are remembered; zero: 1024
	Log   *slog.Logger  // nil: none
}

// Keys remembers discovery documents and key sets of the whole process by their
// address. What an address says does not depend on who asks, so tenants share
// it; whether it is the right issuer is judged at each use.
//
// While a provider is down its old documents go on, for a day at most. Whatever
// fails is not tried again for some seconds, and of many who ask at once one
// goes: neither an outage nor its end brings a stampede.
type Keys struct {
	client *fetch.Client
	now    func() time.Time
	ttl    time.Duration
	max    int
	log    *slog.Logger
	flight singleflight.Group

	mu   sync.Mutex // guards docs and what its entries point at
	docs map[string]*doc
}

// doc is what one address said.
type doc struct {
	value    any // nil: nothing useful yet
	at       time.Time
	failedAt time.Time // zero: the last try went well
	err      error
	usedAt   time.Time
}

const (
	retryAfter  = 5 * time.Second  // a failure
	rotateAfter = 10 * time.Second // a key that is not there
	staleFor    = 24 * time.Hour   // a key that its owner took back must go some day, though we hear nothing
	maxKeys     = 64               // of one set
)

// NewKeys returns an empty memory.
func NewKeys(o KeysOptions) *Keys {
	k := &Keys{now: o.Now, ttl: o.TTL, max: o.Max, log: o.Log, docs: map[string]*doc{}}
	k.client = o.Fetch.Within(fetch.Limits{Timeout: callTimeout, MaxBytes: maxAnswer, MaxConcurrent: 64})
	if k.ttl <= 0 {
		k.ttl = time.Hour
	}
	if k.max <= 0 {
		k.max = 1024
	}
	if k.log == nil {
		k.log = slog.New(slog.DiscardHandler)
	}
	return k
}

// metadata is what is read of a discovery document (OpenID Connect Discovery §3).
type metadata struct {
	Issuer      string   `json:"issuer"`
	Auth        string   `json:"authorization_endpoint"`
	Token       string   `json:"token_endpoint"`
	Userinfo    string   `json:"userinfo_endpoint"`
	JWKS        string   `json:"jwks_uri"`
	Algs        []string `json:"id_token_signing_alg_values_supported"`
	AuthMethods []string `json:"token_endpoint_auth_methods_supported"`
	Challenges  []string `json:"code_challenge_methods_supported"`
	SendsIssuer bool     `json:"authorization_response_iss_parameter_supported"`
}

// discovery returns the document at address.
func (k *Keys) discovery(ctx context.Context, address string) (metadata, error) {
	v, err := k.document(ctx, address, "discovery", false, func(body []byte) (any, error) {
		var m metadata
		if err := json.Unmarshal(body, &m); err != nil {
			return nil, errors.New("not a discovery document")
		}
		return m, nil
	})
	if err != nil {
		return metadata{}, err
	}
	return v.(metadata), nil
}

// set returns the keys at address. rotated asks for newer ones than those that
// were tried in vain, which is granted once in a while: whoever sends tokens
// with keys made up must not have us call the provider each time.
func (k *Keys) set(ctx context.Context, address string, rotated bool) ([]jose.JSONWebKey, error) {
	v, err := k.document(ctx, address, "keys", rotated, func(body []byte) (any, error) {
		keys, err := parseSet(body)
		return keys, err
	})
	if err != nil {
		return nil, err
	}
	return v.([]jose.JSONWebKey), nil
}

// parseSet reads public signing keys. A key it does not understand is left out,
// as RFC 7517 §5 asks for; a symmetric one is no public key (it would let HS256
// tokens be signed by everybody).
func parseSet(body []byte) ([]jose.JSONWebKey, error) {
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(body, &set); err != nil {
		return nil, errors.New("not a key set")
	}
	var keys []jose.JSONWebKey
	for _, raw := range set.Keys {
		var j jose.JSONWebKey
		if json.Unmarshal(raw, &j) != nil || j.Use != "" && j.Use != "sig" || !strong(j.Key) {
			continue
		}
		if keys = append(keys, j); len(keys) == maxKeys {
			break
		}
	}
	if len(keys) == 0 {
		return nil, errors.New("no key that could be used")
	}
	return keys, nil
}

func strong(key any) bool {
	switch key := key.(type) {
	case *rsa.PublicKey:
		return key.N.BitLen() >= 2048 && key.N.BitLen() <= 8192
	case *ecdsa.PublicKey, ed25519.PublicKey:
		return true
	}
	return false
}

// document returns what address says, from memory if that is fresh enough.
func (k *Keys) document(ctx context.Context, address, kind string, rotated bool, parse func([]byte) (any, error)) (any, error) {
	id := kind + " " + address
	if v, err, ok := k.remembered(id, rotated); ok {
		return v, err
	}
	// The flight is the process's, not the caller's: one who hangs up must not
	// take the keys from all who wait with it.
	result := k.flight.DoChan(id, func() (any, error) {
		if v, err, ok := k.remembered(id, rotated); ok {
			return v, err // who came late for the last flight
		}
		body, err := k.get(context.WithoutCancel(ctx), address)
		var v any
		if err == nil {
			if v, err = parse(body); err != nil {
				err = failed("%s of %s: %w", kind, hostOf(address), err)
			}
		}
		return k.keep(id, address, v, err)
	})
	select {
	case r := <-result:
		return r.Val, r.Err
	case <-ctx.Done():
		return nil, &Error{Kind: Unavailable, Problem: problemUnavailable, Err: ctx.Err()}
	}
}

// remembered returns what is known of a document, unless somebody has to ask.
func (k *Keys) remembered(id string, rotated bool) (any, error, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	d := k.docs[id]
	if d == nil {
		return nil, nil, false
	}
	now := k.now()
	d.usedAt = now
	age := now.Sub(d.at)
	switch {
	case d.value != nil && !rotated && age < k.ttl && age >= 0:
		return d.value, nil, true
	case d.value != nil && rotated && age < rotateAfter && age >= 0:
		return d.value, nil, true
	case !d.failedAt.IsZero() && now.Sub(d.failedAt) < retryAfter:
		if d.value != nil && age < staleFor {
			return d.value, nil, true
		}
		return nil, d.err, true
	}
	return nil, nil, false
}

// keep remembers how a try went, and returns what may be used now.
func (k *Keys) keep(id, address string, v any, err error) (any, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.now()
	d := k.docs[id]
	if d == nil {
		if len(k.docs) >= k.max {
			k.forget()
		}
		d = &doc{}
		k.docs[id] = d
	}
	d.usedAt = now
	if err == nil {
		d.value, d.at, d.failedAt, d.err = v, now, time.Time{}, nil
		return v, nil
	}
	d.failedAt, d.err = now, err
	if d.value != nil && now.Sub(d.at) < staleFor {
		k.log.Warn("an identity provider's document is not to be had; the old one goes on", "host", hostOf(address), "age", now.Sub(d.at).String(), "error", err.Error())
		return d.value, nil
	}
	return nil, err
}

// forget makes room, k.mu held. Tenants name providers, so the number of
// addresses is theirs to choose.
func (k *Keys) forget() {
	var oldest string
	for id, d := range k.docs {
		if o := k.docs[oldest]; o == nil || d.usedAt.Before(o.usedAt) {
			oldest = id
		}
	}
	delete(k.docs, oldest)
}

func (k *Keys) get(ctx context.Context, address string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, failed("the address of a document is none")
	}
	req.Header.Set("Accept", "application/json")
	res, err := k.client.Do(ctx, req)
	if err != nil {
		e := problemOf(err)
		if e.Kind == Refused {
			// These documents are public: nobody is refused, something is wrong there.
			e.Kind, e.Problem = Unavailable, problemUnavailable
		}
		return nil, e
	}
	return res.Body, nil
}
