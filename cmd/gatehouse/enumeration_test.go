package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
)

// standing is what an address may be, of which a stranger must learn nothing.
type standing struct {
	name string
	user object // as an administrator makes it; nil: nobody has the address
}

var standings = []standing{
	{"unknown", nil},
	{"known", object{"password": password, "email_confirm": true}},
	{"banned", object{"password": password, "email_confirm": true, "ban_duration": "100h"}},
	{"unconfirmed", object{"password": password, "email_confirm": false}},
	{"provider-only", object{"email_confirm": true}}, // comes in by other ways than a password
}

// door is a request anybody may make about anybody's address.
type door struct {
	name, path string
	body       func(email string) object
	samples    int // of each standing: those that hash cost more of our time
}

var doors = []door{
	{"signup", "/signup", func(e string) object { return object{"email": e, "password": "another good password"} }, 20},
	{"wrong password", "/token?grant_type=password", func(e string) object { return object{"email": e, "password": "not the password"} }, 20},
	{"recover", "/recover", func(e string) object { return object{"email": e} }, 30},
	{"otp", "/otp", func(e string) object { return object{"email": e} }, 30},
	{"otp that makes nobody", "/otp", func(e string) object { return object{"email": e, "create_user": false} }, 30},
	{"magiclink", "/magiclink", func(e string) object { return object{"email": e} }, 30},
	{"resend", "/resend", func(e string) object { return object{"email": e, "type": "signup"} }, 30},
	{"a code that is none", "/verify", func(e string) object { return object{"email": e, "type": "email", "token": "000000"} }, 30},
}

// What a stranger asks about an address is answered alike, whoever has it:
// status, headers, body, and the time it takes.
//
// Samples of all standings are taken in turn and in random order, on a server
// that hashes as one in use does, and compared by rank. One surprise is
// repeated: only what shows three times in a row is a finding.
func TestThreat_E01_E02_E03_E05_whoHasAnAccountIsNobodysBusiness(t *testing.T) {
	s := spawn(t, t.TempDir(), "GATEHOUSE_PASSWORD_HASH_MEMORY=4096", "GATEHOUSE_PASSWORD_HASH_TIME=2", "GATEHOUSE_RATE_LIMITS=off")
	for _, d := range doors {
		t.Run(d.name, func(t *testing.T) {
			for round := 1; ; round++ {
				looks, times := s.observe(t, d, round)
				for i, st := range standings[1:] {
					if diff := gocmp.Diff(looks[0], looks[i+1]); diff != "" {
						t.Errorf("%s: an address that is %s is answered otherwise than an unknown one (-unknown +%s):\n%s", d.name, st.name, st.name, diff)
					}
				}
				found := ""
				for i, st := range standings[1:] {
					if z := rankTest(times[0], times[i+1]); math.Abs(z) > 3.5 { // by chance once in two thousand
						found += fmt.Sprintf("%s: z %.1f, medians %v and %v; ", st.name, z, median(times[0]), median(times[i+1]))
					}
				}
				if found == "" || t.Failed() {
					return
				}
				t.Logf("round %d: %s", round, found)
				if round == 3 {
					t.Errorf("the time tells who has an account, three times out of three: %s", found)
					return
				}
			}
		})
	}
}

// observe asks about as many addresses of each standing as the door has
// samples, and returns how the answers look and how long each took.
func (s *server) observe(t *testing.T, d door, round int) (looks []string, times [][]time.Duration) {
	t.Helper()
	type probe struct {
		standing int
		email    string
	}
	var probes []probe
	for n, st := range standings {
		for i := range d.samples {
			email := fmt.Sprintf("%c%02d-%02d-%s@example.com", 'a'+n, i, round, strings.Trim(regexp.MustCompile(`\W`).ReplaceAllString(d.name, ""), "-"))
			probes = append(probes, probe{n, email})
			if st.user != nil {
				u := object{"email": email}
				for k, v := range st.user {
					u[k] = v
				}
				s.do(200, "POST", "/admin/users", u, bearer(operator))
			}
		}
	}
	looks, times = make([]string, len(standings)), make([][]time.Duration, len(standings))
	for range 5 { // so that no standing pays for the first of everything
		s.do(200, "GET", "/settings", nil)
	}
	rand.Shuffle(len(probes), func(i, j int) { probes[i], probes[j] = probes[j], probes[i] })
	for _, p := range probes {
		s.delivered() // what a request left behind belongs to nobody's time but its own
		began := time.Now()
		a, err := s.ask("POST", d.path, d.body(p.email))
		times[p.standing] = append(times[p.standing], time.Since(began))
		if err != nil {
			t.Fatal(err)
		}
		look := lookOf(a, p.email)
		if looks[p.standing] == "" {
			looks[p.standing] = look
		}
		if diff := gocmp.Diff(looks[p.standing], look); diff != "" {
			t.Fatalf("%s: two addresses that are %s are answered in two ways:\n%s", d.name, standings[p.standing].name, diff)
		}
	}
	return looks, times
}

var (
	anID      = regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}`)
	anInstant = regexp.MustCompile(`20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z`)
)

// lookOf is an answer without what differs between any two requests.
func lookOf(a answer, email string) string {
	h := a.header.Clone()
	for _, name := range []string{"Date", "X-Request-Id", "Content-Length"} { // the last by the digits of instants
		h.Del(name)
	}
	var headers []string
	for name, values := range h {
		headers = append(headers, name+": "+strings.Join(values, ", "))
	}
	slices.Sort(headers)
	body := strings.ReplaceAll(a.body, email, "ADDRESS")
	body = anInstant.ReplaceAllString(anID.ReplaceAllString(body, "ID"), "INSTANT")
	body = regexp.MustCompile(`after \d+ seconds`).ReplaceAllString(body, "after N seconds")
	var v any
	if json.Unmarshal([]byte(body), &v) == nil {
		b, _ := json.MarshalIndent(v, "", " ")
		body = string(b)
	}
	return fmt.Sprintf("%d %s\n%s\n%s", a.status, http.StatusText(a.status), strings.Join(headers, "\n"), body)
}

// rankTest compares two samples by rank (Mann and Whitney 1947) and returns
// how many standard deviations the sum of ranks is off.
func rankTest(a, b []time.Duration) float64 {
	type ranked struct {
		d     time.Duration
		first bool
	}
	var all []ranked
	for _, d := range a {
		all = append(all, ranked{d, true})
	}
	for _, d := range b {
		all = append(all, ranked{d, false})
	}
	slices.SortFunc(all, func(x, y ranked) int { return cmp.Compare(x.d, y.d) })
	sum := 0.0
	for i := 0; i < len(all); {
		j := i
		for j < len(all) && all[j].d == all[i].d {
			j++
		}
		middle := float64(i+j+1) / 2 // equal values share the mean of their ranks
		for ; i < j; i++ {
			if all[i].first {
				sum += middle
			}
		}
	}
	n, m := float64(len(a)), float64(len(b))
	u := sum - n*(n+1)/2
	return (u - n*m/2) / math.Sqrt(n*m*(n+m+1)/12)
}

func median(d []time.Duration) time.Duration {
	s := slices.Sorted(slices.Values(d))
	return s[len(s)/2].Round(time.Microsecond)
}

func TestRankTest_tellsADifferenceFromNone(t *testing.T) {
	noise := func(n int, shift time.Duration) (d []time.Duration) {
		r := rand.New(rand.NewPCG(1, uint64(shift)))
		for range n {
			d = append(d, time.Millisecond+shift+time.Duration(r.NormFloat64()*float64(100*time.Microsecond)))
		}
		return d
	}
	if z := rankTest(noise(50, 0), noise(50, 1)); math.Abs(z) > 3.5 {
		t.Errorf("of two samples of one kind z is %.1f", z)
	}
	if z := rankTest(noise(50, 0), noise(50, 150*time.Microsecond)); math.Abs(z) < 3.5 {
		t.Errorf("a difference of a seventh of the time has z %.1f, and would not be seen", z)
	}
	if z := rankTest([]time.Duration{1, 1, 1, 1}, []time.Duration{1, 1, 1, 1}); z != 0 {
		t.Errorf("of equal values z is %.1f", z)
	}
}
