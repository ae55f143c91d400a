package config

import (
	"strings"
	"time"
)

// Captcha is what keeps programs from signing up and in by the thousand.
type Captcha struct {
	Enabled  bool          `env:"SECURITY_CAPTCHA_ENABLED" envDefault:"false" help:"Who signs up or in, or asks for mail, has to solve a captcha first."`
	Provider string        `env:"SECURITY_CAPTCHA_PROVIDER" envDefault:"hcaptcha" oneof:"hcaptcha|turnstile|pow" help:"Whose. pow is a proof of work that browsers do for this server, without a third party: it makes many attempts dear, and tells nobody from anybody."`
	Secret   Secret        `env:"SECURITY_CAPTCHA_SECRET" help:"The secret key of the site at hCaptcha or Turnstile."`
	Timeout  time.Duration `env:"SECURITY_CAPTCHA_TIMEOUT" envDefault:"10s" min:"100ms" max:"1m" help:"Longest time the provider may take to answer."`
	URL      string        `env:"CAPTCHA_URL" check:"web" help:"Where tokens are judged instead of at the provider's own address, for a service of one's own that speaks as it does."`
	Hosts    []string      `env:"CAPTCHA_HOSTS" check:"host" help:"Hosts of the sites a captcha may have been solved on. Empty: those that the provider has for the site."`
	WorkBits int           `env:"CAPTCHA_WORK_BITS" envDefault:"18" min:"8" max:"28" help:"How hard the proof of work is: each one more doubles it. 18 is a quarter of a second in a browser, several times that on an old telephone."`
	FailOpen bool          `env:"CAPTCHA_FAIL_OPEN" envDefault:"false" help:"Let people in unasked while the provider does not answer. A flood of requests can bring that about. Otherwise nobody gets in."`
}

// captcha looks at who judges captchas, and at what could never be answered.
func (k *checker) captcha() {
	c := k.Captcha
	if !c.Enabled || k.bad["SECURITY_CAPTCHA_PROVIDER"] {
		return
	}
	const secret = "SECURITY_CAPTCHA_SECRET"
	if c.Provider == "pow" {
		if c.FailOpen {
			k.warn("CAPTCHA_FAIL_OPEN", "nobody is asked about a proof of work, so it does nothing", "take it out")
		}
		return
	}
	switch v := strings.TrimSpace(c.Secret.Reveal()); {
	case v == "":
		k.fault(secret, "it is missing, and "+c.Provider+" is to judge captchas", "set it to the secret key of your site there, or SECURITY_CAPTCHA_PROVIDER=pow to ask no third party")
	case trial(v):
		weak := k.warn
		if k.public() {
			weak = k.fault
		}
		weak(secret, "it is one that the provider publishes for tests: every token is taken, or none", "set it to the secret key of your site")
	}
	k.outgoing("CAPTCHA_URL", c.URL)
	// Then the request is over before the provider is given up.
	if most := k.Server.MaxRequestDuration; c.FailOpen && most > 0 && c.Timeout >= most && !k.bad["SECURITY_CAPTCHA_TIMEOUT"] && !k.bad["API_MAX_REQUEST_DURATION"] {
		k.warn("CAPTCHA_FAIL_OPEN", "it does nothing while SECURITY_CAPTCHA_TIMEOUT, "+c.Timeout.String()+", is not less than API_MAX_REQUEST_DURATION, "+most.String(), "set SECURITY_CAPTCHA_TIMEOUT to e.g. 2s")
	}
}

// trial reports whether a secret is one of those for tests, as the providers'
// documentation has them.
func trial(secret string) bool {
	switch secret {
	case "0x0000000000000000000000000000000000000000", // hCaptcha
		"1x0000000000000000000000000000000AA", "2x0000000000000000000000000000000AA", "3x0000000000000000000000000000000AA": // Turnstile
		return true
	}
	return false
}
