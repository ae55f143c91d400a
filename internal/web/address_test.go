package web

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"
)

func request(peer, header string, values ...string) *http.Request {
	r := &http.Request{RemoteAddr: peer, Header: http.Header{}}
	for _, v := range values {
		r.Header.Add(header, v)
	}
	return r
}

func TestClientAddress_isThePeerUnlessTheConfiguredHeaderSaysMore(t *testing.T) {
	const peer = "203.0.113.9:4711"
	for _, c := range []struct {
		what, peer, header string
		values             []string
		want               string
	}{
		{"no header configured: a forged one is ignored", peer, "", []string{"198.51.100.1"}, "203.0.113.9"},
		{"configured and missing: still limited", peer, "X-Real-Ip", nil, "203.0.113.9"},
		{"empty", peer, "X-Real-Ip", []string{""}, "203.0.113.9"},
		{"empty first part", peer, "X-Real-Ip", []string{" , 198.51.100.1"}, "203.0.113.9"},
		{"an address", peer, "X-Real-Ip", []string{"198.51.100.1"}, "198.51.100.1"},
		{"the name in any case", peer, "x-real-ip", []string{"198.51.100.1"}, "198.51.100.1"},
		{"the first part", peer, "X-Real-Ip", []string{" 198.51.100.1 , 10.0.0.1"}, "198.51.100.1"},
		{"two lines: nobody knows which one the proxy wrote", peer, "X-Real-Ip", []string{"198.51.100.1", "10.0.0.1"}, "203.0.113.9"},
		{"the same line twice", peer, "X-Real-Ip", []string{"198.51.100.1", "198.51.100.1"}, "203.0.113.9"},
		{"the port is not part of the name", peer, "X-Real-Ip", []string{"198.51.100.1:5555"}, "198.51.100.1"},
		{"nor behind IPv6", peer, "X-Real-Ip", []string{"[2001:db8:1:2:3::4]:5555"}, "2001:db8:1:2::/64"},
		{"brackets", peer, "X-Real-Ip", []string{"[2001:db8:1:2:3::4]"}, "2001:db8:1:2::/64"},
		{"one network, one name", peer, "X-Real-Ip", []string{"2001:0DB8:1:2:ffff::"}, "2001:db8:1:2::/64"},
		{"IPv4 in IPv6", peer, "X-Real-Ip", []string{"::ffff:198.51.100.1"}, "198.51.100.1"},
		{"IPv4 in IPv6, in hexadecimal", peer, "X-Real-Ip", []string{"::FFFF:c633:6401"}, "198.51.100.1"},
		{"zone", peer, "X-Real-Ip", []string{"fe80::1%eth0"}, "fe80::/64"},
		{"any key", peer, "X-Key", []string{"tenant-7/user"}, "tenant-7/user"},
		{"a long key", peer, "X-Key", []string{strings.Repeat("k", 500)}, strings.Repeat("k", 128)},
		{"a key with control characters", peer, "X-Key", []string{"a\x01b"}, "203.0.113.9"},
		{"a key outside ASCII", peer, "X-Key", []string{"é"}, "203.0.113.9"},
		{"leading zeros are no address", peer, "X-Key", []string{"198.051.100.1"}, "198.051.100.1"},
		{"IPv6 peer", "[2001:db8:1:2:3:4:5:6]:80", "", nil, "2001:db8:1:2::/64"},
		{"IPv4 peer on an IPv6 socket", "[::ffff:203.0.113.9]:80", "", nil, "203.0.113.9"},
		{"Unix socket", "@", "", nil, "unknown"},
		{"no peer at all", "", "", nil, "unknown"},
	} {
		if got := (&Clients{Header: c.header}).Of(request(c.peer, http.CanonicalHeaderKey(c.header), c.values...)); got != c.want {
			t.Errorf("%s: got %q, want %q", c.what, got, c.want)
		}
	}
}

// Proxies append to X-Forwarded-For: only its right end is a proxy's word.
func TestClientAddress_isTheRightEndOfXForwardedFor(t *testing.T) {
	const far, near = "203.0.113.9:4711", "127.0.0.1:4711"
	for _, c := range []struct {
		what, peer, header string
		lines              []string
		want               string
	}{
		{"named", far, "X-Forwarded-For", []string{"198.51.100.1"}, "198.51.100.1"},
		{"named: what the client wrote stands before it", far, "X-Forwarded-For", []string{"192.0.2.1, 198.51.100.1"}, "198.51.100.1"},
		{"named in any case", far, "x-forwarded-FOR", []string{"192.0.2.1,198.51.100.1"}, "198.51.100.1"},
		{"named: the last of several lines", far, "X-Forwarded-For", []string{"192.0.2.1", "192.0.2.2, 198.51.100.1"}, "198.51.100.1"},
		{"named: with a port", far, "X-Forwarded-For", []string{"[2001:db8:1:2:3::4]:5555"}, "2001:db8:1:2::/64"},
		{"named: rubbish at the end", far, "X-Forwarded-For", []string{"198.51.100.1, unknown"}, "203.0.113.9"},
		{"named: nothing at the end", far, "X-Forwarded-For", []string{"198.51.100.1,"}, "203.0.113.9"},
		{"named: an empty last line", far, "X-Forwarded-For", []string{"198.51.100.1", ""}, "203.0.113.9"},
		{"named and missing", far, "X-Forwarded-For", nil, "203.0.113.9"},
		{"no header named, from a proxy on this machine", near, "", []string{"192.0.2.1, 198.51.100.1"}, "198.51.100.1"},
		{"the same by IPv6", "[::1]:4711", "", []string{"192.0.2.1", "198.51.100.1"}, "198.51.100.1"},
		{"no header named: rubbish", near, "", []string{"198.51.100.1, me"}, "127.0.0.1"},
		{"no header named: missing", near, "", nil, "127.0.0.1"},
		{"no header named, from elsewhere: believed of nobody", far, "", []string{"198.51.100.1"}, "203.0.113.9"},
		{"no header named, through a Unix socket", "@", "", []string{"198.51.100.1"}, "unknown"},
		{"another header named", near, "X-Real-Ip", []string{"198.51.100.1"}, "127.0.0.1"},
	} {
		if got := (&Clients{Header: c.header}).Of(request(c.peer, "X-Forwarded-For", c.lines...)); got != c.want {
			t.Errorf("%s: got %q, want %q", c.what, got, c.want)
		}
	}
}

func TestPeerIsLoopback_asksTheConnectionAndNoHeader(t *testing.T) {
	for peer, want := range map[string]bool{
		"127.0.0.1:80": true, "127.8.8.8:80": true, "[::1]:80": true, "[::ffff:127.0.0.1]:80": true,
		"203.0.113.9:80": false, "[2001:db8::1]:80": false, "0.0.0.0:80": false, "@": false, "": false, "localhost:80": false,
	} {
		if got := PeerIsLoopback(request(peer, "X-Forwarded-For", "127.0.0.1")); got != want {
			t.Errorf("%q: got %v, want %v", peer, got, want)
		}
	}
}

// Spoofed headers buy nothing: who comes through no trusted proxy is who the
// connection is of, and who comes through one is whom the proxy has seen.
//
// Mission: S19
func TestClientAddress_isOnlyWhatTrustedProxiesSay(t *testing.T) {
	const far, proxy = "203.0.113.9:4711", "10.0.0.1:4711"
	trusted := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("2001:db8:ffff::/48"), netip.MustParsePrefix("192.0.2.7/32")}
	plain, named, sb := Clients{Proxies: trusted}, Clients{Proxies: trusted, Header: "X-Real-Ip"}, Clients{Proxies: trusted, Supabase: true}
	xff := Clients{Proxies: trusted, Header: "x-forwarded-for"}
	for _, c := range []struct {
		what    string
		clients Clients
		peer    string
		headers []string // name: value
		want    string
	}{
		{"a stranger's X-Forwarded-For", plain, far, []string{"X-Forwarded-For: 198.51.100.1"}, "203.0.113.9"},
		{"a stranger's named header", named, far, []string{"X-Real-Ip: 198.51.100.1"}, "203.0.113.9"},
		{"a stranger's Sb-Forwarded-For", sb, far, []string{"Sb-Forwarded-For: 198.51.100.1"}, "203.0.113.9"},
		{"a stranger who says to be a proxy", plain, far, []string{"X-Forwarded-For: 198.51.100.1, 10.0.0.1"}, "203.0.113.9"},
		{"this machine, which is not listed", plain, "127.0.0.1:1", []string{"X-Forwarded-For: 198.51.100.1"}, "127.0.0.1"},
		{"a Unix socket", plain, "@", []string{"X-Forwarded-For: 198.51.100.1"}, "unknown"},

		{"through one proxy", plain, proxy, []string{"X-Forwarded-For: 198.51.100.1"}, "198.51.100.1"},
		{"through one, with a forged hop before", plain, proxy, []string{"X-Forwarded-For: 192.0.2.1, 198.51.100.1"}, "198.51.100.1"},
		{"through three", plain, proxy, []string{"X-Forwarded-For: 192.0.2.1, 198.51.100.1, 192.0.2.7, 10.9.9.9"}, "198.51.100.1"},
		{"through three, in several lines", plain, proxy, []string{"X-Forwarded-For: 192.0.2.1, 198.51.100.1", "X-Forwarded-For: 192.0.2.7", "X-Forwarded-For: 10.9.9.9"}, "198.51.100.1"},
		{"forged line of its own", plain, proxy, []string{"X-Forwarded-For: 192.0.2.1", "X-Forwarded-For: 198.51.100.1"}, "198.51.100.1"},
		{"forged proxies do not hide the client", plain, proxy, []string{"X-Forwarded-For: 192.0.2.1, 10.0.0.2, 10.0.0.3, 198.51.100.1, 10.0.0.4"}, "198.51.100.1"},
		{"IPv6", plain, "[2001:db8:ffff::1]:80", []string{"X-Forwarded-For: 2001:db8:1:2:3::4, 2001:db8:ffff:9::1"}, "2001:db8:1:2::/64"},
		{"IPv4 in IPv6 on both sides", plain, "[::ffff:10.0.0.1]:80", []string{"X-Forwarded-For: ::ffff:198.51.100.1, ::ffff:10.0.0.2"}, "198.51.100.1"},
		{"with ports", plain, proxy, []string{"X-Forwarded-For: 198.51.100.1:99, 10.0.0.2:77"}, "198.51.100.1"},
		{"rubbish behind the client", plain, proxy, []string{"X-Forwarded-For: 198.51.100.1, unknown"}, "10.0.0.1"},
		{"rubbish before a proxy", plain, proxy, []string{"X-Forwarded-For: 198.51.100.1, evil, 10.0.0.2"}, "10.0.0.1"},
		{"a name is not looked up", plain, proxy, []string{"X-Forwarded-For: localhost"}, "10.0.0.1"},
		{"empty", plain, proxy, []string{"X-Forwarded-For: "}, "10.0.0.1"},
		{"an empty hop", plain, proxy, []string{"X-Forwarded-For: 198.51.100.1,,10.0.0.2"}, "10.0.0.1"},
		{"proxies alone", plain, proxy, []string{"X-Forwarded-For: 10.7.7.7, 10.0.0.2"}, "10.7.7.7"},
		{"missing", plain, proxy, nil, "10.0.0.1"},
		{"an underscore makes another header", plain, proxy, []string{"X_Forwarded_For: 192.0.2.1", "X-Forwarded-For: 198.51.100.1"}, "198.51.100.1"},
		{"an underscore alone", plain, proxy, []string{"X_Forwarded_For: 192.0.2.1"}, "10.0.0.1"},
		{"dropped on its way", plain, proxy, []string{"Connection: X-Forwarded-For"}, "10.0.0.1"},
		{"named as the header", xff, proxy, []string{"X-Forwarded-For: 192.0.2.1, 198.51.100.1, 10.0.0.2"}, "198.51.100.1"},
		{"other headers say nothing", plain, proxy, []string{"Forwarded: for=192.0.2.1", "X-Real-Ip: 192.0.2.1", "True-Client-Ip: 192.0.2.1", "Sb-Forwarded-For: 192.0.2.1"}, "10.0.0.1"},

		{"the named header", named, proxy, []string{"X-Real-Ip: 198.51.100.1", "X-Forwarded-For: 192.0.2.1"}, "198.51.100.1"},
		{"the named header twice", named, proxy, []string{"X-Real-Ip: 192.0.2.1", "X-Real-Ip: 198.51.100.1"}, "10.0.0.1"},
		{"the named header missing", named, proxy, []string{"X-Forwarded-For: 192.0.2.1"}, "10.0.0.1"},
		{"the named header with an underscore", named, proxy, []string{"X_Real_Ip: 192.0.2.1"}, "10.0.0.1"},

		{"Sb-Forwarded-For", sb, proxy, []string{"Sb-Forwarded-For: 198.51.100.1", "X-Forwarded-For: 192.0.2.1"}, "198.51.100.1"},
		{"Sb-Forwarded-For: its first part", sb, proxy, []string{"Sb-Forwarded-For: 198.51.100.1, 10.0.0.2"}, "198.51.100.1"},
		{"Sb-Forwarded-For: no address", sb, proxy, []string{"Sb-Forwarded-For: somebody"}, "10.0.0.1"},
		{"Sb-Forwarded-For: twice", sb, proxy, []string{"Sb-Forwarded-For: 192.0.2.1", "Sb-Forwarded-For: 198.51.100.1"}, "10.0.0.1"},
		{"Sb-Forwarded-For: missing", sb, proxy, []string{"X-Forwarded-For: 198.51.100.1"}, "198.51.100.1"},
		{"Sb-Forwarded-For of anybody", Clients{Supabase: true}, far, []string{"Sb-Forwarded-For: 198.51.100.1"}, "198.51.100.1"},
		{"Sb-Forwarded-For before the named header", Clients{Supabase: true, Header: "X-Real-Ip"}, far, []string{"Sb-Forwarded-For: 198.51.100.1", "X-Real-Ip: 192.0.2.1"}, "198.51.100.1"},
		{"Sb-Forwarded-For unreadable, the named header", Clients{Supabase: true, Header: "X-Real-Ip"}, far, []string{"Sb-Forwarded-For: me", "X-Real-Ip: 192.0.2.1"}, "192.0.2.1"},
	} {
		r := &http.Request{RemoteAddr: c.peer, Header: http.Header{}}
		for _, h := range c.headers {
			name, value, _ := strings.Cut(h, ": ")
			r.Header.Add(name, value)
		}
		if got := c.clients.Of(r); got != c.want {
			t.Errorf("%s: got %q, want %q", c.what, got, c.want)
		}
	}
}
