package social

import "context"

// EmailOptional tells whether people may sign in with accounts of a provider that
// tells no address of them.
func (p *Providers) EmailOptional(ctx context.Context, name string) bool {
	s, _, err := p.settings(ctx, name)
	return err == nil && s.EmailOptional
}
