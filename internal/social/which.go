package social

import "context"

// EmailOptional tells whether people may sign in with accounts of a provider that
// tells no address of them.
func (p *Providers) EmailOptional(ctx context.Context, name string) bool {
	s, _, err := p.settings(ctx, name)
	return err == nil && s.EmailOptional
}

// OfIssuer is the provider of the list, turned on and taking ID tokens of apps,
// whose issuer is the one named; empty: none is. It asks nobody: what an issuer is
// called says the configuration.
func (p *Providers) OfIssuer(ctx context.Context, issuer string) string {
	for _, name := range p.Names() {
		r, err := p.remote(ctx, name)
		if err == nil && r.apps && r.iss == issuer {
			return name
		}
	}
	return ""
}
