package store

import (
	"context"
	"time"
)

// Skew is by how much this node's clock is ahead of the database's, within half
// of what the question took. The nodes of a house need not agree with the
// database, but with each other: that each is near it shows that they do. On
// SQLite, where there is one clock, it is 0.
func (db *DB) Skew(ctx context.Context) (ahead time.Duration, err error) {
	if db.clock == "" {
		return 0, nil
	}
	err = db.Read(ctx, TenantID{}, func(tx *Tx) error {
		var us int64
		before := db.Now()
		err := tx.row(db.clock, nil, &us)
		after := db.Now()
		ahead = before.Add(after.Sub(before) / 2).Sub(instant(us))
		return err
	})
	return ahead, err
}
