package auth

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

var (
	customName = regexp.MustCompile(`^custom:[a-z0-9_-]{1,64}$`)
	scopeToken = regexp.MustCompile(`^[!#-\[\]-~]{1,128}$`) // RFC 6749 §3.3
	visible    = regexp.MustCompile(`^[!-~]+$`)
	paramName  = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,64}$`)
)

const (
	maxClientSecret = 4096
	maxTitle        = 100 // characters
	maxCustomList   = 50
	maxMapping      = 8 << 10 // bytes
	maxURL          = 2048
	maxIssuer       = 255 // bytes: it is a part of the key of identities
)

// protocolParams are what the server itself says on the way to a provider: who
// could set them would choose where its answer goes, and whether it is checked.
var protocolParams = []string{
	"client_id", "client_secret", "code", "code_challenge", "code_challenge_method", "code_verifier", "grant_type", "nonce", "redirect_uri", "request", "request_uri",
	"response_mode", "response_type", "scope", "state",
}

// protectedClaims are what no mapping may name: they say whose word it is and for
// whom, or are the server's own to give.
var protectedClaims = []string{"aud", "azp", "exp", "iat", "iss", "jti", "nbf", "nonce", "role", "app_metadata", "aal", "amr", "session_id", "is_anonymous"}

func (s *Service) checkCustom(p *CustomProvider) error {
	if !customName.MatchString(p.Name) {
		return Invalid("identifier", "An identifier is custom: and 1 to 64 small letters, digits, hyphens and underscores")
	}
	p.Title = strings.TrimSpace(p.Title)
	if p.Title == "" || len([]rune(p.Title)) > maxTitle {
		return Invalid("name", fmt.Sprintf("A name has 1 to %d characters", maxTitle))
	}
	if len(p.ClientID) > 512 || !visible.MatchString(p.ClientID) {
		return Invalid("client_id", "A client id has 1 to 512 visible ASCII characters")
	}
	err := checkList("acceptable_client_ids", p.AcceptableClientIDs, func(v string) bool { return len(v) <= 512 && visible.MatchString(v) })
	if err == nil {
		err = checkList("scopes", p.Scopes, scopeToken.MatchString)
	}
	if err == nil {
		err = checkList("custom_claims_allowlist", p.ClaimsAllowlist, func(v string) bool { return v != "" && len(v) <= 128 })
	}
	if err == nil {
		err = checkMapping(p.AttributeMapping)
	}
	if err == nil {
		err = checkParams(p.AuthParams)
	}
	if err == nil {
		err = s.checkAddresses(p)
	}
	return err
}

func checkList(field string, list []string, good func(string) bool) error {
	if len(list) > maxCustomList {
		return Invalid(field, fmt.Sprintf("At most %d entries", maxCustomList))
	}
	for _, v := range list {
		if !good(v) {
			return Invalid(field, fmt.Sprintf("%.64q is not allowed here", v))
		}
	}
	return nil
}

func checkMapping(m map[string]any) error {
	body, err := json.Marshal(m)
	if err != nil || len(body) > maxMapping {
		return Invalid("attribute_mapping", fmt.Sprintf("A mapping has at most %d bytes of JSON", maxMapping))
	}
	for _, claim := range slices.Sorted(maps.Keys(m)) {
		if claim == "" || slices.Contains(protectedClaims, strings.ToLower(claim)) {
			return Invalid("attribute_mapping", fmt.Sprintf("%.64q cannot be mapped", claim))
		}
	}
	return nil
}

func checkParams(params map[string]string) error {
	if len(params) > maxCustomList {
		return Invalid("authorization_params", fmt.Sprintf("At most %d entries", maxCustomList))
	}
	for _, name := range slices.Sorted(maps.Keys(params)) {
		if !paramName.MatchString(name) || len(params[name]) > 1024 || slices.Contains(protocolParams, strings.ToLower(name)) {
			return Invalid("authorization_params", fmt.Sprintf("%.64q cannot be set", name))
		}
	}
	return nil
}

// checkAddresses judges where a provider is. An issuer stays as it was written:
// it is compared byte by byte (OIDC Core §3.1.3.7).
func (s *Service) checkAddresses(p *CustomProvider) error {
	type address struct {
		field  string
		value  string
		needed bool
		of     string
	}
	for _, a := range []address{
		{"issuer", p.Issuer, true, CustomOIDC},
		{"discovery_url", p.DiscoveryURL, false, CustomOIDC},
		{"authorization_url", p.AuthURL, true, CustomOAuth2},
		{"token_url", p.TokenURL, true, CustomOAuth2},
		{"userinfo_url", p.UserinfoURL, true, CustomOAuth2},
		{"jwks_uri", p.JWKSURL, false, CustomOAuth2},
	} {
		switch {
		case p.Kind != CustomOIDC && p.Kind != CustomOAuth2:
			return Invalid("provider_type", "A provider's type is oidc or oauth2")
		case p.Kind != a.of && a.value != "":
			return Invalid(a.field, "A provider of type "+p.Kind+" has none")
		case p.Kind != a.of || a.value == "" && !a.needed:
			continue
		case a.value == "":
			return Invalid(a.field, "A provider of type "+p.Kind+" needs one")
		}
		err := s.checkOutside(a.field, a.value)
		if err != nil {
			return err
		}
	}
	if len(p.Issuer) > maxIssuer {
		return Invalid("issuer", fmt.Sprintf("An issuer has at most %d bytes", maxIssuer))
	}
	return nil
}

// checkOutside judges an address that the server, or a browser, is sent to: no
// javascript:, no password in it, and https, unless the wiring allows otherwise.
func (s *Service) checkOutside(field, address string) error {
	u, err := url.Parse(address)
	if err != nil || len(address) > maxURL || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || u.User != nil || strings.Contains(address, "#") {
		return Invalid(field, "Not a usable address: http or https, a host, no password, no fragment, at most 2048 bytes")
	}
	if s.outside != nil {
		err = s.outside(address)
		if err != nil {
			return Invalid(field, err.Error())
		}
		return nil
	}
	if u.Scheme != "https" {
		return Invalid(field, "The address must begin with https://")
	}
	return nil
}
