package store

import "time"

// Sweep deletes, for every tenant, up to limit rows of each kind that nobody
// can use any more, and returns how many went. A small limit keeps the writer
// free for others.
func (tx *Tx) Sweep(limit int, challengesBefore, sessionsBefore, deadBefore time.Time) (int, error) {
	gone := 0
	for _, s := range []struct {
		keys, drop string // by the primary key, whole
		before     time.Time
	}{
		{
			`SELECT tenant_id, kind, subject FROM challenges WHERE expires_at < ? LIMIT ?`,
			`DELETE FROM challenges WHERE tenant_id = ? AND kind = ? AND subject = ?`, challengesBefore,
		},
		{
			`SELECT tenant_id, id, 0 FROM sessions WHERE ended_at > 0 AND ended_at < ? LIMIT ?`,
			`DELETE FROM sessions WHERE tenant_id = ? AND id = ? AND 0 = ?`, sessionsBefore,
		},
		{
			`SELECT tenant_id, id, 0 FROM outbox WHERE dead_at > 0 AND dead_at < ? LIMIT ?`,
			`DELETE FROM outbox WHERE tenant_id = ? AND id = ? AND 0 = ?`, deadBefore,
		},
	} {
		var keys [][3]any
		err := tx.rows(s.keys, []any{micros(s.before), limit}, func(scan func(...any) error) error {
			var k [3]any
			err := scan(&k[0], &k[1], &k[2])
			keys = append(keys, k)
			return err
		})
		if err != nil {
			return gone, err
		}
		for _, k := range keys {
			n, err := tx.exec(s.drop, k[:]...)
			if err != nil {
				return gone, err
			}
			gone += int(n)
		}
	}
	return gone, nil
}
