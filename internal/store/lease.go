package store

import (
	"crypto/rand"
	"time"
)

// Holder is a node as it holds leases: a name it gives itself at each start,
// so that a node which was started again does not take its own past for itself.
type Holder [16]byte

// NewHolder returns a random name.
func NewHolder() (h Holder) {
	_, _ = rand.Read(h[:]) // never fails (crypto/rand)
	return h
}

// The jobs that one node at a time does for all.
const (
	LeaseSweep = "sweep" // old rows go
)

// Lease takes a job, or keeps it, until tx.Now plus d, and reports whether it
// is the holder's. The row stays locked until the commit: what is written in
// the same Write is written by the holder and nobody else, also when that node
// was paused for longer than its lease and does not know it.
func (tx *Tx) Lease(job string, h Holder, d time.Duration) (bool, error) {
	n, err := tx.exec(`UPDATE leases SET holder = ?, until_at = ? WHERE name = ? AND (holder = ? OR until_at < ?)`,
		h[:], micros(tx.Now.Add(d)), job, h[:], micros(tx.Now))
	return n == 1, err
}
