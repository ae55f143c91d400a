package config

import (
	"net/netip"
	"strings"
	"time"
)

// RateLimit says how often one client may ask.
type RateLimit struct {
	Limits         string   `env:"RATE_LIMITS" envDefault:"on" oneof:"on|off" help:"off lifts every limit. For tests: passwords and codes can then be guessed without end."`
	Proxies        []string `env:"TRUSTED_PROXIES" scope:"house" check:"network" help:"Networks (10.0.0.0/8) and addresses of the proxies in front. If set, what a request says about its client counts only when it comes from one of them: then the client is the last hop of X-Forwarded-For that is none of them, or what RATE_LIMIT_HEADER says. Empty: the address of the connection, unless RATE_LIMIT_HEADER is set."`
	Header         string   `env:"RATE_LIMIT_HEADER" scope:"house" check:"header" help:"Request header whose first part names the client; of X-Forwarded-For it is the last part, which the nearest proxy wrote. Only behind a proxy that sets it: a client that may set it itself escapes every limit, unless TRUSTED_PROXIES says from whom it counts. Empty: the address of the connection, or what a proxy on this machine says in X-Forwarded-For."`
	SBForwardedFor bool     `env:"SECURITY_SB_FORWARDED_FOR_ENABLED" scope:"house" envDefault:"false" help:"The first address of the request header Sb-Forwarded-For is the client, before anything else that says who it is. Only behind a proxy that overwrites it."`
	OTP            float64  `env:"RATE_LIMIT_OTP" envDefault:"30" min:"1" help:"Requests for mail: sign-up, recovery, links, codes; each counts by itself."`
	TokenRefresh   float64  `env:"RATE_LIMIT_TOKEN_REFRESH" envDefault:"150" min:"1" help:"Requests for tokens."`
	Verify         float64  `env:"RATE_LIMIT_VERIFY" envDefault:"30" min:"1" help:"Attempts at a link or code."`
	Anonymous      float64  `env:"RATE_LIMIT_ANONYMOUS_USERS" envDefault:"30" min:"1" help:"Anonymous users made from one address, in an hour."`
	SSO            float64  `env:"RATE_LIMIT_SSO" envDefault:"30" min:"1" help:"Sign-ins that set out to a company's own provider."`
	Web3           float64  `env:"RATE_LIMIT_WEB3" envDefault:"30" min:"1" help:"Sign-ins with a wallet."`
	MailSent       Rate     `env:"RATE_LIMIT_EMAIL_SENT" envDefault:"0" help:"Mails that people ask for, in all: 30 is so many in an hour, 30/10m so many at once and one more every ten minutes. 0: no limit."`
	SMSSent        Rate     `env:"RATE_LIMIT_SMS_SENT" envDefault:"0" help:"Likewise text messages. SMS_DAILY_BUDGET bounds them, too."`

	PasswordFree  int           `env:"PASSWORD_TRIES_FREE" envDefault:"5" min:"1" max:"50" help:"Wrong passwords of an account after which each further one takes twice as long as the one before, beginning with a second. Networks and browsers the account was signed in from count for themselves, so that strangers lock nobody out."`
	PasswordDelay time.Duration `env:"PASSWORD_DELAY_MAX" envDefault:"15m" min:"1s" max:"24h" help:"Longest such wait. After a hundred wrong passwords in a row it is a day."`
}

// TrustedProxies are the networks of TRUSTED_PROXIES.
func (r *RateLimit) TrustedProxies() []netip.Prefix {
	var list []netip.Prefix
	for _, v := range r.Proxies {
		p, err := network(v)
		if err == nil {
			list = append(list, p)
		}
	}
	return list
}

// network reads a network or an address. An IPv4 network in IPv6 clothes is
// that IPv4 network.
func network(v string) (netip.Prefix, error) {
	a, err := netip.ParseAddr(v)
	if err == nil {
		a = a.WithZone("").Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(v)
	if err == nil && p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	switch {
	case err != nil && strings.Contains(v, "/"):
		return p, refuse(quoted(v)+" is not a network", "write e.g. 10.0.0.0/8 or 2001:db8::/32")
	case err != nil:
		return p, refuse(quoted(v)+" is not an address; names are not looked up", "write e.g. 10.0.0.0/8 or 192.0.2.7")
	case p.Bits() == 0: // then a client's own word would count
		return p, refuse(quoted(v)+" is everybody", "name the networks your proxies are in")
	}
	return p.Masked(), nil
}
