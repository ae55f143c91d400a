package store

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Charge is what happened to a subject and is counted afterwards.
type Charge struct {
	Tenant  TenantID
	Name    string
	Subject []byte
	N       int           // how many events
	Cost    time.Duration // what they take to be forgotten, one after the other
	Full    time.Time     // when they would be, had there been none before
	Far     time.Duration // no counter ends further ahead; one that does was begun before a clock was set back
}

func (c *Charge) compare(o *Charge) int {
	return cmp.Or(bytes.Compare(c.Tenant[:], o.Tenant[:]), cmp.Compare(c.Name, o.Name), bytes.Compare(c.Subject, o.Subject))
}

func chargeKey(tenant []byte, name string, subject []byte) string {
	return string(tenant) + string(subject) + "\x00" + name // names have no zero, and tenants one length
}

// mostCharges is how many go into one transaction.
const mostCharges = 128

// Charge counts what has happened already, by the rule of Take but whether it
// fits or not, and returns when each counter then ends, in the order of list. So
// many as 128 of them cost two round trips together. Of a list that fails, those
// are counted whose time is not zero, and of the others nobody knows.
func (db *DB) Charge(ctx context.Context, list []Charge) ([]time.Time, error) {
	ends := make([]time.Time, len(list))
	// In one order on all nodes, so that none waits for another that waits for it.
	order := make([]int, len(list))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int { return list[a].compare(&list[b]) })
	for some := range slices.Chunk(order, mostCharges) {
		var at map[string]int64
		err := db.Write(ctx, TenantID{}, func(tx *Tx) (err error) {
			for _, i := range some {
				err = tx.charge(&list[i])
				if err != nil {
					return err
				}
			}
			at, err = tx.ends(list, some)
			return err
		})
		if err != nil {
			return ends, err
		}
		for _, i := range some {
			ends[i] = instant(at[chargeKey(list[i].Tenant[:], list[i].Name, list[i].Subject)])
		}
	}
	return ends, nil
}

// charge moves the end of a counter on. It is held from the first statement on:
// no sweep takes it away before the second.
func (tx *Tx) charge(c *Charge) error {
	err := tx.later(`INSERT INTO counters (tenant_id, name, subject, n, ends_at) VALUES (?, ?, ?, 0, 0)`+tx.db.orHold, c.Tenant, c.Name, c.Subject)
	if err != nil {
		return err
	}
	now, far, full, cost := micros(tx.Now), micros(tx.Now.Add(c.Far)), micros(c.Full), c.Cost.Microseconds()
	// MySQL sets one column after the other: n first, which is made of ends_at.
	return tx.later(`UPDATE counters SET n = CASE WHEN ends_at <= ? OR ends_at > ? THEN ? ELSE n + ? END, ends_at = CASE WHEN ends_at > ? OR ends_at + ? < ? THEN ? ELSE ends_at + ? END
		WHERE tenant_id = ? AND name = ? AND subject = ?`,
		now, far, c.N, c.N, far, cost, full, full, cost, c.Tenant, c.Name, c.Subject)
}

// endsOf are the questions for so many counters at once: few, because each is a
// text that servers keep a plan of.
var endsOf = []struct {
	n     int
	query string
}{{1, endsQuery(1)}, {16, endsQuery(16)}, {mostCharges, endsQuery(mostCharges)}}

func endsQuery(n int) string {
	return `SELECT tenant_id, name, subject, ends_at FROM counters WHERE ` + strings.Repeat(`(tenant_id = ? AND name = ? AND subject = ?) OR `, n-1) + `(tenant_id = ? AND name = ? AND subject = ?)`
}

// ends reads when some counters of a list end. It asks for the last of them
// again and again where there are fewer than the question has places.
func (tx *Tx) ends(list []Charge, some []int) (map[string]int64, error) {
	ask := endsOf[len(endsOf)-1]
	for _, q := range endsOf {
		if len(some) <= q.n {
			ask = q
			break
		}
	}
	args := make([]any, 0, 3*ask.n)
	for i := range ask.n {
		c := &list[some[min(i, len(some)-1)]]
		args = append(args, c.Tenant, c.Name, c.Subject)
	}
	at := map[string]int64{}
	err := tx.rows(ask.query, args, func(scan func(...any) error) error {
		var tenant, name, subject []byte
		var ends int64
		err := scan(&tenant, &name, &subject, &ends)
		at[chargeKey(tenant, string(name), subject)] = ends
		return err
	})
	if err == nil && len(at) == 0 {
		err = fmt.Errorf("%w: counters that were begun are not there", ErrUnavailable)
	}
	return at, err
}
