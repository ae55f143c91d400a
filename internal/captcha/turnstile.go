package captcha

import "gatehouse/internal/fetch"

// TurnstileURL is where Cloudflare judges the tokens of Turnstile.
const TurnstileURL = "https://challenges.cloudflare.com/turnstile/v0/siteverify"

// Turnstile judges tokens by asking Cloudflare. It is safe for concurrent use.
type Turnstile struct{ siteverify }

var _ Checker = (*Turnstile)(nil)

// NewTurnstile checks o. It asks nobody yet.
func NewTurnstile(client *fetch.Client, o Options) (*Turnstile, error) {
	// 2,048 bytes is the most a token has, says the provider.
	s, err := newSiteverify(client, "turnstile", TurnstileURL, 2048, o)
	if err != nil {
		return nil, err
	}
	return &Turnstile{s}, nil
}
