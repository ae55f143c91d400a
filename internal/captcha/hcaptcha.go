package captcha

import "gatehouse/internal/fetch"

// HCaptchaURL is where hCaptcha judges tokens.
const HCaptchaURL = "https://api.hcaptcha.com/siteverify"

// HCaptcha judges tokens by asking hCaptcha. It is safe for concurrent use.
type HCaptcha struct{ siteverify }

var _ Checker = (*HCaptcha)(nil)

// NewHCaptcha checks o. It asks nobody yet.
func NewHCaptcha(client *fetch.Client, o Options) (*HCaptcha, error) {
	// Its tokens have no stated length; today's are two to four thousand bytes.
	s, err := newSiteverify(client, "hcaptcha", HCaptchaURL, 16<<10, o)
	if err != nil {
		return nil, err
	}
	return &HCaptcha{s}, nil
}
