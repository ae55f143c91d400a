package notify

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"io"
	"math/big"
	"net"
	"net/textproto"
	"strings"
	"sync"
	"testing"
	"time"
)

// smtpServer is a small real mail server. Its fields are set before listen.
type smtpServer struct {
	cert     *tls.Certificate
	implicit bool              // TLS from the first byte
	offerTLS bool              // STARTTLS
	auth     string            // offered ways to log in, "" for none
	user     string            // the right login
	pass     string            //
	utf8     bool              // SMTPUTF8
	replies  map[string]string // what to answer to MAIL, RCPT, DATA, "." (end of mail), AUTH instead of yes
	drip     bool              // the banner comes a byte now and then, for ever
	hang     string            // say nothing any more at this: "banner" (after it), ".", QUIT
	done     chan struct{}
	wg       sync.WaitGroup
	mu       sync.Mutex
	mails    []string // whole, as they came
	lines    []string // all commands
}

func (s *smtpServer) listen(t *testing.T) (port int) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.done = make(chan struct{})
	s.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.wg.Go(func() {
				defer c.Close()
				s.talk(c)
			})
		}
	})
	t.Cleanup(func() { close(s.done); l.Close(); s.wg.Wait() })
	return l.Addr().(*net.TCPAddr).Port
}

func (s *smtpServer) talk(c net.Conn) {
	secure := s.implicit
	if s.implicit {
		c = tls.Server(c, &tls.Config{Certificates: []tls.Certificate{*s.cert}})
	}
	c.SetDeadline(time.Now().Add(20 * time.Second))
	say := func(line string) { io.WriteString(c, line+"\r\n") }
	if s.drip {
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-s.done:
				return
			case <-tick.C:
				if _, err := io.WriteString(c, "2"); err != nil {
					return
				}
			}
		}
	}
	say("220 test server")
	if s.hang == "banner" {
		<-s.done
		return
	}
	r := textproto.NewReader(bufio.NewReader(c))
	for {
		line, err := r.ReadLine()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.lines = append(s.lines, line)
		s.mu.Unlock()
		verb, arg, _ := strings.Cut(line, " ")
		verb = strings.ToUpper(verb)
		if s.hang == verb {
			<-s.done
			return
		}
		if reply, ok := s.replies[verb]; ok {
			say(reply)
			continue
		}
		switch verb {
		case "EHLO":
			say("250-test server")
			if s.offerTLS && !secure {
				say("250-STARTTLS")
			}
			if s.auth != "" {
				say("250-AUTH " + s.auth)
			}
			if s.utf8 {
				say("250-SMTPUTF8")
			}
			say("250 8BITMIME")
		case "STARTTLS":
			say("220 go")
			tc := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{*s.cert}})
			if tc.Handshake() != nil {
				return
			}
			c, secure = tc, true
			r = textproto.NewReader(bufio.NewReader(c))
		case "AUTH":
			if s.login(arg, say, r) {
				say("235 welcome")
			} else {
				say("535 5.7.8 wrong")
			}
		case "DATA":
			say("354 go on")
			b, err := io.ReadAll(r.DotReader())
			if err != nil {
				return
			}
			if s.hang == "." {
				<-s.done
				return
			}
			if reply, ok := s.replies["."]; ok {
				say(reply)
				continue
			}
			s.mu.Lock()
			s.mails = append(s.mails, string(b))
			s.mu.Unlock()
			say("250 taken")
		case "QUIT":
			say("221 bye")
			return
		default:
			say("250 ok")
		}
	}
}

func (s *smtpServer) login(arg string, say func(string), r *textproto.Reader) bool {
	way, first, _ := strings.Cut(arg, " ")
	ask := func(q string) string {
		say("334 " + base64.StdEncoding.EncodeToString([]byte(q)))
		line, _ := r.ReadLine()
		b, _ := base64.StdEncoding.DecodeString(line)
		return string(b)
	}
	switch way {
	case "PLAIN":
		b, _ := base64.StdEncoding.DecodeString(first)
		return string(b) == "\x00"+s.user+"\x00"+s.pass
	case "LOGIN":
		return ask("Username:") == s.user && ask("Password:") == s.pass
	}
	return false
}

func (s *smtpServer) received() (mails, lines []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.mails...), append([]string(nil), s.lines...)
}

// certificate makes a certificate for 127.0.0.1 and the pool that trusts it.
func certificate(t *testing.T) (*tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}
