package social

import (
	"context"
	"slices"
	"strings"
)

// oauth2Profile reads the profile of a provider that was added at run time.
func oauth2Profile(ctx context.Context, v *visit) (person, error) {
	c, err := v.object(ctx, v.userinfoAt, v.Access, nil)
	if err != nil {
		return person{}, err
	}
	return v.custom(c), nil
}

// fixed are the claims that make the identity, which a mapping must not move
// where they are signed.
var fixed = []string{"iss", "sub", "aud", "exp", "iat", "nonce", "azp"}

// custom reads claims as the provider's settings say. A mapping names for a claim
// of ours one of theirs; anything but a string in its place is the value itself.
func (v *visit) custom(c claims) person {
	mapped := claims{}
	for key, value := range c {
		mapped[key] = value
	}
	for to, from := range v.s.AttributeMapping {
		if v.oidc && slices.Contains(fixed, to) {
			continue
		}
		name, isName := from.(string)
		if !isName {
			mapped[to] = from
		} else if value, ok := c.at(name); ok {
			mapped[to] = value
		}
	}
	p := standard(mapped)
	p.subject = mapped.id("sub")
	p.issuer = v.iss
	custom := map[string]any{}
	for _, key := range v.s.ClaimsAllowlist {
		if value, ok := c.at(key); ok && value != nil {
			custom[key] = value
		}
	}
	p.custom = custom
	return p
}

// at returns a claim by its name, or by the path to it, with dots.
func (c claims) at(path string) (any, bool) {
	if v, ok := c[path]; ok {
		return v, true
	}
	head, rest, ok := strings.Cut(path, ".")
	if !ok {
		return nil, false
	}
	inner, ok := c[head].(map[string]any)
	if !ok {
		return nil, false
	}
	return claims(inner).at(rest)
}
