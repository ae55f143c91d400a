package fetch

import (
	"context"
	"net/netip"
	"slices"
	"syscall"
)

// neverAddresses are refused even on private networks: whoever may name a URL
// could read the machine's cloud credentials there.
var neverAddresses = prefixes(
	"169.254.0.0/16",     // link-local, 169.254.169.254 of most clouds (RFC 3927)
	"fe80::/10",          // link-local (RFC 4291)
	"fd00:ec2::254/128",  // AWS metadata
	"fd20:ce::254/128",   // Google metadata
	"100.100.100.200/32", // Alibaba metadata
	"168.63.129.16/32",   // Azure wire server: a public number, but an inner service
	"224.0.0.0/4",        // multicast (RFC 1112)
	"ff00::/8",           // multicast (RFC 4291)
)

// inner4 are the IPv4 blocks that are not the public internet (IANA special
// purpose registry, RFC 6890).
var inner4 = prefixes(
	"0.0.0.0/8",       // "this network"; 0.0.0.0 reaches loopback
	"10.0.0.0/8",      // private (RFC 1918)
	"100.64.0.0/10",   // carrier-grade NAT (RFC 6598)
	"127.0.0.0/8",     // loopback
	"172.16.0.0/12",   // private (RFC 1918)
	"192.0.0.0/24",    // protocol assignments
	"192.0.2.0/24",    // documentation (RFC 5737)
	"192.88.99.0/24",  // 6to4 relays (RFC 7526)
	"192.168.0.0/16",  // private (RFC 1918)
	"198.18.0.0/15",   // benchmarks (RFC 2544)
	"198.51.100.0/24", // documentation
	"203.0.113.0/24",  // documentation
	"240.0.0.0/4",     // reserved, broadcast
)

// inner6 are the blocks inside 2000::/3 that are not the public internet, or
// that carry an IPv4 address which another machine would unwrap out of our
// sight.
var inner6 = prefixes(
	"2001::/23",     // protocol assignments: Teredo 2001::/32, benchmarks 2001:2::/48, ORCHID
	"2001:db8::/32", // documentation (RFC 3849)
	"2002::/16",     // 6to4 (RFC 3056)
	"3fff::/20",     // documentation (RFC 9637)
)

// global6 is all of IPv6 that is handed out to the public. Being a list of
// what is allowed, it leaves out what would be forgotten in a list of what is
// not: ::1, ::, ::ffff:0:0/96, NAT64 64:ff9b::/96 and 64:ff9b:1::/48, unique
// local fc00::/7, site-local fec0::/10, discard 100::/64, SRv6 5f00::/16.
var global6 = netip.MustParsePrefix("2000::/3")

func prefixes(list ...string) []netip.Prefix {
	var p []netip.Prefix
	for _, s := range list {
		p = append(p, netip.MustParsePrefix(s))
	}
	return p
}

// allowed reports whether a connection to a may be made.
func allowed(a netip.Addr, allowPrivate bool) bool {
	// ::ffff:127.0.0.1 is 127.0.0.1 to the kernel (CVE-2026-35409 Directus):
	// judge what is dialled, not how it is written.
	a = a.Unmap().WithZone("")
	in := func(list []netip.Prefix) bool {
		return slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(a) })
	}
	switch {
	case !a.IsValid() || in(neverAddresses):
		return false
	case allowPrivate:
		return true
	case a.Is4():
		return !in(inner4)
	}
	return global6.Contains(a) && !in(inner6)
}

// Guard is the same check for a dialer of another protocol (net.Dialer,
// ControlContext), where a tenant names whom to call.
func (c *Client) Guard() func(context.Context, string, string, syscall.RawConn) error {
	return guard(c.opt.AllowPrivate)
}

// guard returns the check that the dialer runs on every address it is about to
// connect to. It sits behind the resolver, so a name that answers differently
// the second time (DNS rebinding), a number in odd notation and an alias all
// end here as what they are.
func guard(allowPrivate bool) func(context.Context, string, string, syscall.RawConn) error {
	return func(_ context.Context, network, address string, _ syscall.RawConn) error {
		if network != "tcp4" && network != "tcp6" {
			return ErrRefused
		}
		ap, err := netip.ParseAddrPort(address)
		if err != nil || !allowed(ap.Addr(), allowPrivate) {
			return ErrRefused
		}
		return nil
	}
}
