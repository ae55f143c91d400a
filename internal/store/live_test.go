package store_test

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"sync"
	"testing"

	"gatehouse/internal/store"
)

// To change a table nobody else may be at it. Nodes of the version before serve
// meanwhile, and take tables in whatever order: neither they nor the one that
// migrates may be made to give up for it.
//
// Mission: C04
func TestMigrate_standsInNobodysWayWhoServes(t *testing.T) {
	onServers(t, func(t *testing.T, engine, url string) {
		if engine != "postgres" {
			t.Skip("MariaDB gives way after two seconds and tries again, which takes as long as the load goes on")
		}
		db := node(t, store.Options{URL: url, MaxConns: 2})
		pool := plain(t, url)
		pool.SetMaxOpenConns(8)
		db.Lay("9000_above.sql")
		if _, err := db.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
		bytes := func(b [16]byte) string {
			if engine == "postgres" {
				return fmt.Sprintf(`'\x%x'`, b)
			}
			return fmt.Sprintf("x'%x'", b)
		}
		key := `WHERE tenant_id = ` + bytes(home) + ` AND id = `
		const people = 6
		var does [people][]string // by raw statements, of columns that every version has
		for i := range does {
			u := addUser(t, db, fmt.Sprint("u", i))
			does[i] = []string{
				`UPDATE users SET last_sign_in_at = last_sign_in_at + 1 ` + key + bytes(u.ID),
				`UPDATE sessions SET generation = generation + 1 ` + key + bytes(addSession(t, db, u.ID).ID),
			}
			if i%2 == 1 {
				slices.Reverse(does[i])
			}
		}
		ctx, stop := context.WithCancel(t.Context())
		var serving sync.WaitGroup
		for _, statements := range does {
			serving.Go(func() {
				for ctx.Err() == nil {
					err := inOne(t.Context(), pool, statements...)
					if err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		for range 4 {
			_, err := db.StepDown(t.Context())
			if err != nil {
				t.Errorf("a step down: %v", err)
				break
			}
			_, err = db.Migrate(t.Context())
			if err != nil {
				t.Errorf("up again: %v", err)
				break
			}
		}
		stop()
		serving.Wait()
		if n := users(t, db); n != people {
			t.Errorf("%d users, want %d", n, people)
		}
	})
}

// inOne runs statements in one transaction.
func inOne(ctx context.Context, pool *sql.DB, statements ...string) error {
	tx, err := pool.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // of what was committed it takes nothing back
	for _, s := range statements {
		_, err := tx.ExecContext(ctx, s)
		if err != nil {
			return fmt.Errorf("%s: %w", s, err)
		}
	}
	return tx.Commit()
}
