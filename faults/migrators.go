package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"gatehouse/internal/cluster"
)

// migrators start three migrations of one empty database at once, again and
// again: all succeed and the tables are those that a single one makes, also
// when one is killed in the middle.
func migrators() (all []scenario) {
	for _, engine := range []string{postgres, mysql} {
		all = append(all, scenario{name: "migrators/" + engine, bound: 90 * time.Second, run: func(ctx context.Context, t *trial) error {
			return migrateAtOnce(ctx, t, engine)
		}})
	}
	return all
}

const migratedWithin = time.Minute

// schemas describe all that a migration makes, in one text.
func schema(engine string) string {
	if engine == postgres {
		return `SELECT string_agg(x, E'\n' ORDER BY x) FROM (
	SELECT concat_ws(' ', 'column', table_name, ordinal_position, column_name, data_type, is_nullable, column_default, collation_name) AS x
		FROM information_schema.columns WHERE table_schema = 'public'
	UNION ALL SELECT 'index ' || indexdef FROM pg_indexes WHERE schemaname = 'public'
	UNION ALL SELECT concat_ws(' ', 'rule', conrelid::regclass, pg_get_constraintdef(oid)) FROM pg_constraint WHERE connamespace = 'public'::regnamespace
	UNION ALL SELECT concat_ws(' ', 'applied', version_id, is_applied) FROM schema_migrations
	UNION ALL SELECT 'lease ' || name FROM leases
	UNION ALL SELECT 'tenant ' || name FROM tenants) s`
	}
	return `SET SESSION group_concat_max_len = 1000000; SELECT GROUP_CONCAT(x ORDER BY x SEPARATOR '\n') FROM (
	SELECT CONCAT_WS(' ', 'column', table_name, ordinal_position, column_name, column_type, is_nullable, column_default, collation_name) AS x
		FROM information_schema.columns WHERE table_schema = DATABASE()
	UNION ALL SELECT CONCAT_WS(' ', 'index', table_name, index_name, seq_in_index, column_name, non_unique) FROM information_schema.statistics WHERE table_schema = DATABASE()
	UNION ALL SELECT CONCAT_WS(' ', 'rule', table_name, constraint_name, constraint_type) FROM information_schema.table_constraints WHERE table_schema = DATABASE()
	UNION ALL SELECT CONCAT_WS(' ', 'applied', version_id, is_applied) FROM schema_migrations
	UNION ALL SELECT CONCAT('lease ', CAST(name AS CHAR)) FROM leases
	UNION ALL SELECT CONCAT('tenant ', CAST(name AS CHAR)) FROM tenants) s`
}

// round is one empty database and those who migrate it.
type round struct {
	*trial
	db  database
	env []string
	n   int // migrators so far
}

func (t *trial) round(ctx context.Context, engine string) (*round, error) {
	db, err := t.database(ctx, engine, t.dir)
	return &round{trial: t, db: db, env: gatehouseEnv(db.url, newKey(), 25)}, err
}

// launch starts one migrator.
func (r *round) launch() (*process, error) {
	r.n++
	name := fmt.Sprintf("%s-migrate%d", r.db.name, r.n)
	return launch(program{name: name, argv: []string{r.o.bin, "migrate"}, dir: r.dir, env: append([]string{"GATEHOUSE_DATA=" + r.dir}, r.env...)})
}

// end reads what was made and takes the database away.
func (r *round) end(ctx context.Context) (string, error) {
	text, err := r.db.server.Query(ctx, r.db.name, schema(r.db.engine))
	if err != nil {
		return "", fmt.Errorf("the tables cannot be described: %w", err)
	}
	return text, drop(ctx, r.db.server, r.db)
}

func drop(ctx context.Context, srv *cluster.Server, db database) error {
	if db.engine == postgres {
		return srv.Exec(ctx, "", "DROP DATABASE "+db.name+" WITH (FORCE)")
	}
	return srv.Exec(ctx, "", "DROP DATABASE "+db.name)
}

// together runs some migrators at once and kills the first of them after a
// while, if kill is not 0. None of the others may fail.
func (r *round) together(ctx context.Context, n int, kill time.Duration) error {
	running := make([]*process, n)
	for i := range running {
		p, err := r.launch()
		if err != nil {
			return err
		}
		running[i] = p
	}
	late := time.After(migratedWithin)
	if kill != 0 {
		pause(ctx, kill)
		running[0].kill()
		running = running[1:]
	}
	for _, p := range running {
		select {
		case <-p.gone:
		case <-late:
		case <-ctx.Done():
		}
		if p.alive() {
			p.kill()
			return fmt.Errorf("%s did not end within %v", p.name, migratedWithin)
		}
		if p.ended != nil {
			r.broke("%s: %v: %s", p.name, p.ended, p.tail())
		}
	}
	return nil
}

// single is what one migration alone makes, and how long it takes when the
// database is warm.
func (t *trial) single(ctx context.Context, engine string) (tables string, took time.Duration, err error) {
	for range 3 {
		r, err := t.round(ctx, engine)
		if err != nil {
			return "", 0, err
		}
		began := time.Now()
		err = r.together(ctx, 1, 0)
		if err != nil {
			return "", 0, err
		}
		if d := time.Since(began); took == 0 || d < took {
			took = d
		}
		tables, err = r.end(ctx)
		if err != nil {
			return "", 0, err
		}
	}
	return tables, took, nil
}

func migrateAtOnce(ctx context.Context, t *trial, engine string) error {
	want, took, err := t.single(ctx, engine)
	if err != nil {
		return err
	}
	rounds, killed, slowest := t.rounds(20), t.rounds(6), time.Duration(0)
	for i := range rounds + killed {
		r, err := t.round(ctx, engine)
		if err != nil {
			return err
		}
		began := time.Now()
		switch {
		case i < rounds:
			err = r.together(ctx, 3, 0)
		case i%2 == 0: // one of three
			err = r.together(ctx, 3, moment(i-rounds, killed, took))
		default: // alone, and another one goes on
			err = r.together(ctx, 1, moment(i-rounds, killed, took))
			if err == nil {
				err = r.together(ctx, 1, 0)
			}
		}
		if err != nil {
			return fmt.Errorf("round %d: %w", i+1, err)
		}
		slowest = max(slowest, time.Since(began))
		got, err := r.end(ctx)
		if err != nil {
			return fmt.Errorf("round %d: %w", i+1, err)
		}
		t.expect(got == want, "round %d made other tables than a single migration: %s", i+1, difference(want, got))
		if len(t.res.Broken) > 5 {
			return errors.New("too much is broken to go on")
		}
	}
	t.note("%d rounds of three at once, %d with one killed; a single one takes %v, the slowest round took %v",
		rounds, killed, took.Round(time.Millisecond), slowest.Round(time.Millisecond))
	return nil
}

// moment is when the i-th of n is killed: somewhere in its own part of the time
// that a migration takes, so that no part of it is left out.
func moment(i, n int, took time.Duration) time.Duration {
	return 1 + (time.Duration(i)*took+rand.N(took))/time.Duration(n)
}
