package web

import (
	"net/http"
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
		{"the first line", peer, "X-Real-Ip", []string{"198.51.100.1", "10.0.0.1"}, "198.51.100.1"},
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
		if got := ClientAddress(request(c.peer, http.CanonicalHeaderKey(c.header), c.values...), c.header); got != c.want {
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
		if got := ClientAddress(request(c.peer, "X-Forwarded-For", c.lines...), c.header); got != c.want {
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
