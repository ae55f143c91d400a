package web

import (
	"net/http"
	"net/netip"
	"strings"
)

// maxClientKey is the length of the longest client key taken from a header, in
// bytes.
const maxClientKey = 128

// ClientAddress names the client for rate limits and the record of events: an
// IPv4 address, or the /64 network of an IPv6 address, because whoever rents
// one address there gets the whole network and could change addresses at will.
//
// header is the name of the header in which the proxy in front says who the
// client is (GOTRUE_RATE_LIMIT_HEADER), or empty. It must be one that the proxy
// overwrites: what a client can write itself is a new name for every request.
// Of its first comma-separated part an address is taken as such, with or
// without a port; anything else is some key of the proxy's, of which up to 128
// printable bytes are kept. Where the header is missing or unreadable the
// client is the peer of the connection, never nobody: a request that leaves the
// header out must not go unlimited.
//
// X-Forwarded-For is read from its other end, whoever names it: proxies append
// to it, so what comes first is the client's own word. Without a header it is
// believed from a proxy on this machine.
func ClientAddress(r *http.Request, header string) string {
	forwarded := header == "" && PeerIsLoopback(r) || strings.EqualFold(header, forwardedFor)
	if forwarded {
		hop := lastHop(r)
		if a, ok := parseAddress(hop); ok {
			return network(a)
		}
	} else if header != "" {
		first, _, _ := strings.Cut(r.Header.Get(header), ",")
		if key := clientKey(strings.TrimSpace(first)); key != "" {
			return key
		}
	}
	if a, ok := parseAddress(r.RemoteAddr); ok {
		return network(a)
	}
	return "unknown" // a Unix socket: one name for all, which is limited too
}

const forwardedFor = "X-Forwarded-For"

// lastHop is what the nearest proxy appended to X-Forwarded-For.
func lastHop(r *http.Request) string {
	lines := r.Header.Values(forwardedFor)
	if len(lines) == 0 {
		return ""
	}
	last := lines[len(lines)-1]
	return strings.TrimSpace(last[strings.LastIndexByte(last, ',')+1:])
}

// Direct reports whether a request comes from this machine and shows no trace
// of a proxy that passed it on.
func Direct(r *http.Request) bool {
	for _, h := range []string{"Forwarded", forwardedFor, "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-Ip", "Via"} {
		if r.Header.Get(h) != "" {
			return false
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
