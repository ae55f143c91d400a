package web

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// maxClientKey is the length of the longest client key taken from a header, in
// bytes.
const maxClientKey = 128

// Clients tells who a request comes from. The zero value believes nobody but a
// proxy on this machine.
type Clients struct {
	// Proxies are the networks whose word counts (GATEHOUSE_TRUSTED_PROXIES). If
	// there are any, no header of anybody else's connection is looked at; with
	// none, the headers named below are believed of everybody.
	Proxies []netip.Prefix
	// Header is the one in which the proxy in front says who the client is
	// (GOTRUE_RATE_LIMIT_HEADER), or empty. It must be one that the proxy
	// overwrites: what a client can write itself is a new name for every request.
	Header string
	// Supabase has Sb-Forwarded-For looked at before anything else
	// (GOTRUE_SECURITY_SB_FORWARDED_FOR_ENABLED).
	Supabase bool
}

const (
	forwardedFor   = "X-Forwarded-For"
	sbForwardedFor = "Sb-Forwarded-For"
)

// Of names the client for rate limits and the record of events: an IPv4
// address, or the /64 network of an IPv6 address, because whoever rents one
// address there gets the whole network and could change addresses at will.
//
// Of the first comma-separated part of Header an address is taken as such, with
// or without a port; anything else is some key of the proxy's, of which up to
// 128 printable bytes are kept. Sb-Forwarded-For holds addresses alone. Where a
// header is missing, unreadable or there twice, so that nobody knows which one
// the proxy wrote, the client is the peer of the connection, never nobody: a
// request that leaves the header out must not go unlimited.
//
// X-Forwarded-For is read from its other end, whoever names it: proxies append
// to it, so what comes first is the client's own word. The client is the last
// hop that is no trusted proxy. With neither Header nor Proxies the last hop is
// believed of a proxy on this machine.
func (c *Clients) Of(r *http.Request) string {
	if key := c.told(r); key != "" {
		return key
	}
	if a, ok := parseAddress(r.RemoteAddr); ok {
		return network(a)
	}
	return "unknown" // a Unix socket: one name for all, which is limited too
}

// told is what a header says that may be believed; empty: nothing.
func (c *Clients) told(r *http.Request) string {
	if len(c.Proxies) > 0 {
		peer, ok := parseAddress(r.RemoteAddr)
		if !ok || !c.trusts(peer) {
			return ""
		}
	}
	if c.Supabase {
		if a, ok := parseAddress(firstPart(r, sbForwardedFor)); ok {
			return network(a)
		}
	}
	switch {
	case c.Header != "" && !strings.EqualFold(c.Header, forwardedFor):
		return clientKey(firstPart(r, c.Header))
	case c.Header != "", len(c.Proxies) > 0, PeerIsLoopback(r):
		if a, ok := c.lastHop(r); ok {
			return network(a)
		}
	}
	return ""
}

// firstPart is the first comma-separated part of a header that is there once.
func firstPart(r *http.Request, header string) string {
	lines := r.Header.Values(header)
	if len(lines) != 1 {
		return ""
	}
	first, _, _ := strings.Cut(lines[0], ",")
	return strings.TrimSpace(first)
}

// lastHop is the right end of X-Forwarded-For, of all its lines one after the
// other, without the trusted proxies there. If all of it is trusted proxies the
// first of them has asked.
func (c *Clients) lastHop(r *http.Request) (hop netip.Addr, ok bool) {
	for _, line := range slices.Backward(r.Header.Values(forwardedFor)) {
		for more := true; more; {
			var last string
			last, line, more = cutLast(line)
			a, valid := parseAddress(strings.TrimSpace(last))
			if !valid {
				return netip.Addr{}, false // all further left is of those whom nobody vouches for
			}
			hop, ok = a, true
			if !c.trusts(a) {
				return hop, true
			}
		}
	}
	return hop, ok
}

// cutLast cuts a list at its last comma.
func cutLast(list string) (last, rest string, more bool) {
	at := strings.LastIndexByte(list, ',')
	if at < 0 {
		return list, "", false
	}
	return list[at+1:], list[:at], true
}

func (c *Clients) trusts(a netip.Addr) bool {
	return slices.ContainsFunc(c.Proxies, func(p netip.Prefix) bool { return p.Contains(a) })
}

// direct reports whether a request comes from this machine, through no proxy
// and with none to be expected.
func (c *Clients) direct(r *http.Request) bool {
	return c.Header == "" && !c.Supabase && len(c.Proxies) == 0 && Direct(r)
}

// Direct reports whether a request comes from this machine and shows no trace
// of a proxy that passed it on.
func Direct(r *http.Request) bool {
	for _, h := range []string{"Forwarded", forwardedFor, "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-Ip", "Via"} {
		if len(r.Header.Values(h)) > 0 {
			return false
		}
	}
	// Who has a proxy drop such headers on its way (RFC 9110 §7.6.1) may have one
	// before us pass their list on.
	for _, line := range r.Header.Values("Connection") {
		for name := range strings.SplitSeq(line, ",") {
			switch strings.ToLower(strings.TrimSpace(name)) {
			case "", "close", "keep-alive", "upgrade":
			default:
				return false
			}
		}
	}
	// Some proxies leave no trace but that they speak HTTP/1.0.
	return r.ProtoAtLeast(1, 1) && PeerIsLoopback(r)
}

// PeerIsLoopback reports whether the other end of the connection is this
// machine. That is no proof of who asks: behind a proxy on the same machine
// every client is.
func PeerIsLoopback(r *http.Request) bool {
	a, ok := parseAddress(r.RemoteAddr)
	return ok && a.IsLoopback()
}

// clientKey is "" for what cannot be used.
func clientKey(v string) string {
	if a, ok := parseAddress(v); ok {
		return network(a)
	}
	if strings.ContainsFunc(v, func(c rune) bool { return c < ' ' || c > '~' }) {
		return ""
	}
	return v[:min(len(v), maxClientKey)]
}

// parseAddress reads an address with or without a port. Some proxies send the
// port along; kept, it would give every connection limits of its own. An IPv4
// address in IPv6 clothes (::ffff:192.0.2.1) is that IPv4 address.
func parseAddress(v string) (netip.Addr, bool) {
	a, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(v, "["), "]"))
	if err != nil {
		ap, err := netip.ParseAddrPort(v)
		if err != nil {
			return netip.Addr{}, false
		}
		a = ap.Addr()
	}
	return a.WithZone("").Unmap(), true
}

func network(a netip.Addr) string {
	if a.Is4() {
		return a.String()
	}
	return netip.PrefixFrom(a, 64).Masked().String()
}

// wider are the networks around that of an IPv6 client, which providers hand
// out whole: who has a /48 has 65 536 networks to come from.
func wider(client string) []string {
	p, err := netip.ParsePrefix(client)
	if err != nil || !p.Addr().Is6() || p.Bits() != 64 {
		return nil
	}
	return []string{netip.PrefixFrom(p.Addr(), 56).Masked().String(), netip.PrefixFrom(p.Addr(), 48).Masked().String()}
}
