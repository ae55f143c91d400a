// Package token signs and reads access tokens (RFC 7519) and refresh tokens.
// Begin with Keys, the key ring; refresh.go holds the other kind of token.
//
// It decides nothing about users. It never reads a key, an algorithm or an
// address from a token: the key ring alone says which algorithm a key signs
// with (RFC 8725 §3.1).
package token

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/golang-jwt/jwt/v5"
)

// Claims is what an access token says, in the shape GoTrue clients expect.
type Claims struct {
	Issuer       string           `json:"iss,omitempty"`
	Subject      string           `json:"sub,omitempty"` // the user's id
	Audience     Audience         `json:"aud,omitempty"`
	ExpiresAt    *jwt.NumericDate `json:"exp,omitempty"`
	NotBefore    *jwt.NumericDate `json:"nbf,omitempty"`
	IssuedAt     *jwt.NumericDate `json:"iat,omitempty"`
	Email        string           `json:"email"`
	Phone        string           `json:"phone"`
	AppMetadata  json.RawMessage  `json:"app_metadata,omitempty"`
	UserMetadata json.RawMessage  `json:"user_metadata,omitempty"`
	Role         string           `json:"role"`
	AAL          string           `json:"aal,omitempty"` // "aal1" or "aal2"
	AMR          json.RawMessage  `json:"amr,omitempty"` // [{"method","timestamp"}], newest first
	SessionID    string           `json:"session_id,omitempty"`
	IsAnonymous  bool             `json:"is_anonymous"`

	// Foreign tells a token signed with a key the operator brought along: it
	// may have been issued before the move, by a server without sessions.
	Foreign bool `json:"-"`
}

// Audience is one audience. It is written as a plain string, which consumers
// of GoTrue tokens rely on, and read from a string or a list of one: of more,
// nobody could say which was meant.
type Audience string

// UnmarshalJSON reads a string or a list of at most one string.
func (a *Audience) UnmarshalJSON(b []byte) error {
	var s string
	if json.Unmarshal(b, &s) == nil {
		*a = Audience(s)
		return nil
	}
	var list []string
	err := json.Unmarshal(b, &list)
	if err != nil {
		return fmt.Errorf("token: aud is neither a string nor a list of strings")
	}
	if len(list) > 1 {
		return fmt.Errorf("token: %d audiences", len(list))
	}
	if len(list) == 1 {
		*a = Audience(list[0])
	}
	return nil
}

// The methods of jwt.Claims, which the library checks times with.

// GetExpirationTime implements jwt.Claims.
func (c *Claims) GetExpirationTime() (*jwt.NumericDate, error) { return c.ExpiresAt, nil }

// GetIssuedAt implements jwt.Claims.
func (c *Claims) GetIssuedAt() (*jwt.NumericDate, error) { return c.IssuedAt, nil }

// GetNotBefore implements jwt.Claims.
func (c *Claims) GetNotBefore() (*jwt.NumericDate, error) { return c.NotBefore, nil }

// GetIssuer implements jwt.Claims.
func (c *Claims) GetIssuer() (string, error) { return c.Issuer, nil }

// GetSubject implements jwt.Claims.
func (c *Claims) GetSubject() (string, error) { return c.Subject, nil }

// GetAudience implements jwt.Claims.
func (c *Claims) GetAudience() (jwt.ClaimStrings, error) {
	return jwt.ClaimStrings{string(c.Audience)}, nil
}

// Expires returns when the token dies; the zero time: it has no end.
func (c *Claims) Expires() time.Time {
	if c.ExpiresAt == nil {
		return time.Time{}
	}
	return c.ExpiresAt.Time
}

// unambiguous refuses a part of a token that two readers could read in two
// ways (RFC 8725 §2.6): bytes that are not UTF-8, a member named twice, or a
// name that is a claim's but for its case, which encoding/json takes for the
// claim: "Role", put into a token as a harmless custom claim, would be a role.
func unambiguous(part string) error {
	b, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil || !utf8.Valid(b) {
		return errors.New("not UTF-8")
	}
	d := json.NewDecoder(bytes.NewReader(b))
	open, err := d.Token()
	if err != nil || open != json.Delim('{') {
		return errors.New("not a JSON object")
	}
	seen := map[string]bool{}
	for d.More() {
		t, err := d.Token()
		name, ok := t.(string)
		if err != nil || !ok {
			return errors.New("not a JSON object")
		}
		folded := strings.ToLower(strings.ToUpper(name)) // as encoding/json folds: ſ is an s
		if seen[folded] || isClaim(folded) && name != folded {
			return fmt.Errorf("member %q can be read in two ways", name)
		}
		seen[folded] = true
		var value json.RawMessage
		err = d.Decode(&value)
		if err != nil {
			return err
		}
	}
	return nil
}

// isClaim reports whether Claims has a member of this name.
func isClaim(name string) bool {
	switch name {
	case "iss", "sub", "aud", "exp", "nbf", "iat", "email", "phone", "app_metadata", "user_metadata",
		"role", "aal", "amr", "session_id", "is_anonymous":
		return true
	}
	return false
}
