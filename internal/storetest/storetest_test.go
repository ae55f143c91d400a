package storetest_test

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"gatehouse/internal/store"
	"gatehouse/internal/storetest"
)

// What the harness leaves behind in a process would be found, and blamed on
// others, by all who look for leaks of their own.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var ada = store.User{ID: store.NewUserID(), Email: "ada@example.com", AppMetadata: []byte("{}"), UserMetadata: []byte("{}")}

func add(t *testing.T, db *store.DB, tenant store.TenantID, u store.User) {
	t.Helper()
	err := db.Write(t.Context(), tenant, func(tx *store.Tx) error { return tx.AddUser(u) })
	if err != nil {
		t.Fatal(err)
	}
}

func wantUser(t *testing.T, db *store.DB, tenant store.TenantID, want error) {
	t.Helper()
	err := db.Read(t.Context(), tenant, func(tx *store.Tx) error {
		_, err := tx.User(ada.ID)
		return err
	})
	if !errors.Is(err, want) {
		t.Errorf("user of another database: got %v, want %v", err, want)
	}
}

func TestNew_databasesShareNothing(t *testing.T) {
	a, clock := storetest.New(t)
	b, _ := storetest.New(t)
	add(t, a, store.TenantID{}, ada)
	wantUser(t, b, store.TenantID{}, store.ErrNotFound)
	start := a.Now()
	clock.Advance(90 * time.Second)
	if got := a.Now().Sub(start); got != 90*time.Second {
		t.Errorf("the database's clock moved by %v, want 90 s", got)
	}
	if !b.Now().Equal(start) {
		t.Errorf("another test's clock moved too: %v, want %v", b.Now(), start)
	}
}

func TestNew_clockShowsTheAgreedInstant(t *testing.T) {
	db, _ := storetest.New(t)
	if got, want := db.Now().Format(time.RFC3339Nano), "2030-01-02T03:04:05.678901Z"; got != want {
		t.Errorf("clock shows %s, want %s", got, want)
	}
}

func TestEach_givesEveryEngineADatabaseOfItsOwn(t *testing.T) {
	var mu sync.Mutex
	var got []string
	t.Run("each", func(t *testing.T) {
		for range 2 { // side by side and, where processors are few, one after the other
			storetest.Each(t, func(t *testing.T, db *store.DB, _ *storetest.Clock) {
				if name := t.Name(); !strings.Contains(name, "/"+db.Engine()) {
					t.Errorf("%s runs on %s", name, db.Engine())
				}
				add(t, db, store.TenantID{}, ada)
				add(t, db, storetest.Other(), ada)
				mu.Lock()
				got = append(got, db.Engine())
				mu.Unlock()
			})
		}
	})
	slices.Sort(got)
	var want []string
	for _, e := range storetest.Engines() {
		want = append(want, e, e)
	}
	slices.Sort(want)
	if d := cmp.Diff(want, got); d != "" {
		t.Error("engines (-want +got):\n" + d)
	}
}

func TestEngines_areAllThreeUnlessTheEnvironmentLimitsThem(t *testing.T) {
	t.Setenv("GATEHOUSE_TEST_ENGINES", "")
	if d := cmp.Diff([]string{"sqlite", "postgres", "mysql"}, storetest.Engines()); d != "" {
		t.Error(d)
	}
	t.Setenv("GATEHOUSE_TEST_ENGINES", "mysql,sqlite")
	if d := cmp.Diff([]string{"mysql", "sqlite"}, storetest.Engines()); d != "" {
		t.Error(d)
	}
	t.Setenv("GATEHOUSE_TEST_ENGINES", "mysql,mariadb")
	defer func() {
		if recover() == nil {
			t.Error("mariadb is no engine here: want a panic, or the tests would pass unrun")
		}
	}()
	storetest.Engines()
}

func TestAgain_isASecondNodeOnTheSameDatabase(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, clock *storetest.Clock) {
		add(t, db, storetest.Other(), ada)
		other := storetest.Again(t, db)
		wantUser(t, other, storetest.Other(), nil)
		clock.Advance(time.Hour)
		if other == db || !other.Now().Equal(clock.Now()) || other.Engine() != db.Engine() {
			t.Errorf("%s at %v, want another on %s by the same clock", other.Engine(), other.Now(), db.Engine())
		}
		if third := storetest.Again(t, other); third.Engine() != db.Engine() {
			t.Errorf("again of again: %s", third.Engine())
		}
	})
}

func TestURL_isEmptyAndMigratedURLIsNot(t *testing.T) {
	for _, e := range storetest.Engines() {
		t.Run(e, func(t *testing.T) {
			t.Parallel()
			for url, want := range map[string]bool{storetest.URL(t, e): false, storetest.MigratedURL(t, e): true} {
				db, err := store.Open(t.Context(), store.Options{URL: url, Now: storetest.NewClock().Now})
				if err != nil {
					t.Fatal(err)
				}
				all, err := db.Migrations(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				for _, m := range all {
					if m.Applied != want {
						t.Errorf("%s: %s applied: %v, want %v", url, m.Name, m.Applied, want)
					}
				}
				if want {
					add(t, db, storetest.Other(), ada)
				}
				err = db.Close()
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// runs is a testing.M that notes on which engine it is run.
type runs struct {
	engines []string
	fail    string
}

func (r *runs) Run() int {
	r.engines = append(r.engines, storetest.Engine())
	if r.fail == storetest.Engine() {
		return 3
	}
	return 0
}

func TestMain_runsAllTestsOnEveryEngine(t *testing.T) {
	r := &runs{}
	if got := storetest.Main(r); got != 0 {
		t.Errorf("code %d, want 0", got)
	}
	if d := cmp.Diff(storetest.Engines(), r.engines); d != "" {
		t.Error("engines (-want +got):\n" + d)
	}
	r = &runs{fail: storetest.Engines()[0]}
	if got := storetest.Main(r); got != 3 {
		t.Errorf("one run failed: code %d, want its 3", got)
	}
	if got := len(r.engines); got != len(storetest.Engines()) {
		t.Errorf("after a failure the other engines were left out: %q", r.engines)
	}
	if got := storetest.Engine(); got != "sqlite" {
		t.Errorf("afterwards the engine is %s, want sqlite", got)
	}
}

// inBubbles opens a database in a bubble, which nothing may leave, on the
// engine that Main is at.
type inBubbles struct{ t *testing.T }

func (b inBubbles) Run() int {
	for range 3 { // a new database, and one that was handed back
		synctest.Test(b.t, func(t *testing.T) {
			db := storetest.Open(t, time.Now)
			if got := db.Engine(); got != storetest.Engine() {
				t.Errorf("the database is of %s, the run of %s", got, storetest.Engine())
			}
			wantUser(t, db, store.TenantID{}, store.ErrNotFound)
			add(t, db, store.TenantID{}, ada)
			synctest.Wait()
			wantUser(t, storetest.Again(t, db), store.TenantID{}, nil)
		})
	}
	return 0
}

func TestOpen_worksInABubble(t *testing.T) {
	if got := storetest.Main(inBubbles{t}); got != 0 {
		t.Errorf("code %d, want 0", got)
	}
}
