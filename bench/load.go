package main

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"golang.org/x/crypto/argon2"
)

const (
	sessionsEach = 3 // of every loaded person
	loadPassword = "Bench-7.for-people-who-were-loaded"
	// A step through the people that visits each once, in no order a table or an
	// index has. It is a prime larger than any crowd, so it divides none.
	stride = 1_000_000_007
)

// hashParameters are what the server is told as GATEHOUSE_PASSWORD_HASH_MEMORY
// (KiB) and GATEHOUSE_PASSWORD_HASH_TIME.
type hashParameters struct{ memory, time uint32 }

// usualHash is what the server takes when it is told nothing.
func usualHash() hashParameters { return hashParameters{memory: 19456, time: 2} }

// cheapHash is the cheapest the server takes: with it the hash no longer hides
// what the database does in a sign-in.
func cheapHash() hashParameters { return hashParameters{memory: 8, time: 1} }

// env is how the server is told.
func (p hashParameters) env() []string {
	return []string{
		fmt.Sprintf("GATEHOUSE_PASSWORD_HASH_MEMORY=%d", p.memory),
		fmt.Sprintf("GATEHOUSE_PASSWORD_HASH_TIME=%d", p.time),
	}
}

// hash returns the argon2id hash of a password as the server stores it: a PHC
// string with 16 bytes of salt and 32 of tag. A server with other parameters
// would make a new one at the first sign-in.
func (p hashParameters) hash(password string) []byte {
	salt := []byte("a salt for all !")
	tag := argon2.IDKey([]byte(password), salt, p.time, p.memory, 1, 32)
	b64 := base64.RawStdEncoding
	return fmt.Appendf(nil, "$argon2id$v=19$m=%d,t=%d,p=1$%s$%s", p.memory, p.time, b64.EncodeToString(salt), b64.EncodeToString(tag))
}

// A crowd is the people a load puts into a database: each with an address, a
// password, and three sessions. Nobody can use those sessions, for only the
// server can sign tokens; they are there to be in the way. The same number of
// people always gets the same ids.
type crowd struct {
	people   int
	password string
	hash     []byte     // of password, the same for all: one for each would take days
	now      time.Time  // the last of them has just signed up, the first a year ago
	ids      [][16]byte // by the order in which they signed up
	byID     []int      // their numbers, sorted by id
}

func newCrowd(people int, password string, hash []byte, now time.Time) *crowd {
	c := &crowd{people: people, password: password, hash: hash, now: now, ids: make([][16]byte, people), byID: make([]int, people)}
	for i := range c.ids {
		c.ids[i], c.byID[i] = uuid4(userIDs, i), i
	}
	slices.SortFunc(c.byID, func(a, b int) int { return bytes.Compare(c.ids[a][:], c.ids[b][:]) })
	return c
}

// email is the address of person i, counted from 0.
func (c *crowd) email(i int) string { return fmt.Sprintf("load-%09d@example.com", i) }

// joined is when person i signed up, in microseconds since 1970.
func (c *crowd) joined(i int) int64 {
	year := 365 * 24 * time.Hour
	return c.now.Add(-year + time.Duration(float64(year)*float64(i+1)/float64(c.people))).UnixMicro()
}

// opened is when session i began, in microseconds since 1970.
func (c *crowd) opened(i int) int64 {
	quarter := 90 * 24 * time.Hour
	return c.now.Add(-quarter + time.Duration(float64(quarter)*float64(i+1)/float64(sessionsEach*c.people))).UnixMicro()
}

// owner is whose session i is.
func (c *crowd) owner(i int) int { return int(int64(i) * stride % int64(c.people)) }

// sample returns n addresses from all over the crowd.
func (c *crowd) sample(n int) []string {
	n = min(n, c.people)
	all := make([]string, n)
	for i := range all {
		all[i] = c.email(i * c.people / n)
	}
	return all
}

// uuid4 returns the i-th random UUID (RFC 9562 §5.4) of a kind.
func uuid4(kind uint64, i int) (id [16]byte) {
	r := rand.NewPCG(kind, uint64(i))
	binary.BigEndian.PutUint64(id[:8], r.Uint64())
	binary.BigEndian.PutUint64(id[8:], r.Uint64())
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80
	return id
}

// uuid7 is uuid4 with the instant, in microseconds since 1970, in front (RFC
// 9562 §5.7).
func uuid7(kind uint64, i int, at int64) [16]byte {
	id := uuid4(kind, i)
	var millis [8]byte
	binary.BigEndian.PutUint64(millis[:], uint64(at/1000))
	copy(id[:6], millis[2:])
	id[6] = id[6]&0x0f | 0x70
	return id
}

func uuidText(id [16]byte) string {
	h := hex.EncodeToString(id[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}
