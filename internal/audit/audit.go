// Package audit keeps the trail of events so that nobody changes it unseen:
// each event has a place in a chain of hashes, the chain's end is under a key,
// and what it was at a row is signed from time to time. Begin with Sealer, which
// puts events into the trail after they were committed; Verify reads a trail and
// says what is wrong with it; Key.Sweep takes its oldest rows away and says so
// in the trail; Export and VerifyExport are for those outside the house.
//
// What somebody can do who may write to the database, but has no root key:
// change, remove, move or insert rows. All of it shows. What a copy of an older
// state of the whole database holds is whole in itself: that it is old shows
// against a checkpoint that was kept elsewhere.
//
// It must never sign what it has not followed from something it signed before.
package audit

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"time"

	"gatehouse/internal/secret"
	"gatehouse/internal/store"
)

// The first word of all that is hashed or signed, so that none of it is taken
// for another.
const (
	eventDomain      = "gatehouse audit event 1"
	goneDomain       = "gatehouse audit gone 1"
	startDomain      = "gatehouse audit start 1"
	headDomain       = "audit head"
	checkpointDomain = "gatehouse audit checkpoint 1"
	keyPurpose       = "audit checkpoint key"
)

// Digest returns the SHA-256 of an event. Hashed are, each with its length
// before it as eight bytes, big-endian: the word "gatehouse audit event 1", the
// tenant's id, the event's id, name, actor, user's id, session's id, address,
// request id, data as the text that is kept, and when it happened, as eight
// bytes of microseconds since 1970. Ids are 16 bytes.
func Digest(t store.TenantID, e *store.Event) []byte {
	h := sha256.New()
	var at [8]byte
	binary.BigEndian.PutUint64(at[:], uint64(micros(e.CreatedAt)))
	write(h, []byte(eventDomain), t[:], e.ID[:], []byte(e.Name), []byte(e.Actor), e.UserID[:], e.SessionID[:], []byte(e.IP), []byte(e.RequestID), e.Data, at[:])
	return h.Sum(nil)
}

// gone is the digest of an event that was removed before it had a place: the
// place it would have had says so.
func gone(t store.TenantID, id store.EventID) []byte {
	h := sha256.New()
	write(h, []byte(goneDomain), t[:], id[:])
	return h.Sum(nil)
}

// digestOf is the digest a row must have by its event.
func digestOf(t store.TenantID, r store.TrailRow) []byte {
	if r.Event == nil {
		return gone(t, r.ID)
	}
	return Digest(t, r.Event)
}

// Chain returns the hash of a row: the SHA-256 of the hash of the row before
// it, its number as eight bytes, big-endian, and its digest.
func Chain(prev []byte, seq int64, digest []byte) []byte {
	h := sha256.New()
	h.Write(prev)
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], uint64(seq))
	h.Write(n[:])
	h.Write(digest)
	return h.Sum(nil)
}

// Start returns what stands for the hash before the first row of a tenant's
// trail: rows of one tenant are no trail of another.
func Start(t store.TenantID) []byte {
	h := sha256.New()
	write(h, []byte(startDomain), t[:])
	return h.Sum(nil)
}

func write(h hash.Hash, parts ...[]byte) {
	var size [8]byte
	for _, p := range parts {
		binary.BigEndian.PutUint64(size[:], uint64(len(p)))
		h.Write(size[:])
		h.Write(p)
	}
}

func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// Key is what one tenant's trail is sealed with.
type Key struct {
	Tenant store.TenantID
	ID     string // of the public key: its first bytes, hashed

	root *secret.Root
	sign ed25519.PrivateKey
}

// NewKey derives a tenant's key from its root key.
func NewKey(root *secret.Root, t store.TenantID) *Key {
	seed := root.MAC(keyPurpose, t[:])
	k := &Key{Tenant: t, root: root, sign: ed25519.NewKeyFromSeed(seed[:])}
	k.ID = KeyID(k.Public())
	return k
}

// Public returns what others check checkpoints with.
func (k *Key) Public() ed25519.PublicKey { return k.sign.Public().(ed25519.PublicKey) }

// KeyID returns the id of a public key.
func KeyID(public ed25519.PublicKey) string {
	sum := sha256.Sum256(public)
	return hex.EncodeToString(sum[:8])
}

// Sign signs c.
func (k *Key) Sign(c *store.Checkpoint) {
	c.KeyID = k.ID
	c.Signature = ed25519.Sign(k.sign, statement(k.Tenant, c))
}

// statement is what a checkpoint's signature is of: the SHA-256 of these parts,
// each with its length before it as in Digest: the word "gatehouse audit checkpoint 1", the kind,
// the tenant's id, the row's number, its hash, and when it was made, in
// microseconds since 1970. Numbers are eight bytes, big-endian.
func statement(t store.TenantID, c *store.Checkpoint) []byte {
	var seq, at [8]byte
	binary.BigEndian.PutUint64(seq[:], uint64(c.Seq))
	binary.BigEndian.PutUint64(at[:], uint64(micros(c.MadeAt)))
	h := sha256.New()
	write(h, []byte(checkpointDomain), []byte(c.Kind), t[:], seq[:], c.Hash, at[:])
	return h.Sum(nil)
}

// signed reports whether c is a statement of the public key's owner about the
// tenant's trail.
func signed(public ed25519.PublicKey, t store.TenantID, c *store.Checkpoint) bool {
	return c.KeyID == KeyID(public) && ed25519.Verify(public, statement(t, c), c.Signature)
}

// seal sets the MAC of a head.
func (k *Key) seal(h *store.AuditHead) { h.MAC = k.mac(h) }

// sealed reports whether a head is as it was written.
func (k *Key) sealed(h *store.AuditHead) bool { return secret.Same(h.MAC, k.mac(h)) }

func (k *Key) mac(h *store.AuditHead) []byte {
	var n [24]byte
	binary.BigEndian.PutUint64(n[:8], uint64(h.Seq))
	binary.BigEndian.PutUint64(n[8:16], uint64(h.CheckpointSeq))
	binary.BigEndian.PutUint64(n[16:], uint64(micros(h.CheckpointAt)))
	sum := k.root.MAC(headDomain, k.Tenant[:], n[:], h.Hash)
	return sum[:]
}

// follows reports whether a row is the next after one of that number and hash.
func follows(seq int64, hash []byte, r store.TrailRow) bool {
	return r.Seq == seq+1 && bytes.Equal(r.Hash, Chain(hash, r.Seq, r.Digest))
}
