package store_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/internal/store"
	"gatehouse/internal/storetest"
)

// try spends one of five tries and reports whether there was one.
func try(t *testing.T, db *store.DB, c store.Challenge) bool {
	t.Helper()
	err := db.Write(t.Context(), home, func(tx *store.Tx) error {
		_, err := tx.TryCode(c.Kind, c.Subject, 5)
		return err
	})
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		t.Fatal(err)
	}
	return err == nil
}

// tries spends all tries that are left and counts them.
func tries(t *testing.T, db *store.DB, c store.Challenge) (n int) {
	t.Helper()
	for n < 20 && try(t, db, c) {
		n++
	}
	return n
}

func TestSetChallenge_survivesAndReplacesTheLastOfItsKind(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, clock *storetest.Clock) {
		u := addUser(t, db, "ada@example.com")
		first := newChallenge(db, u.ID, "recovery", "first")
		first.Data, first.CodeExpiresAt = []byte(`{"a":1}`), clock.Now().Add(time.Minute)
		addChallenge(t, db, first)
		first.CreatedAt = clock.Now()
		other := addChallenge(t, db, newChallenge(db, u.ID, "invite", "other"))
		read(t, db, func(tx *store.Tx) error {
			got, alive, err := tx.TokenChallenge(first.TokenHash)
			if diff := cmp.Diff(first, got); diff != "" || !alive {
				t.Errorf("alive %v, (-want +got):\n%s", alive, diff)
			}
			return err
		})
		write(t, db, func(tx *store.Tx) error { _, err := tx.UseToken(first.TokenHash); return err })
		second := addChallenge(t, db, newChallenge(db, u.ID, "recovery", "second"))
		read(t, db, func(tx *store.Tx) error {
			_, _, err := tx.TokenChallenge(first.TokenHash)
			if !errors.Is(err, store.ErrNotFound) {
				t.Errorf("the replaced challenge: got %v, want ErrNotFound", err)
			}
			_, alive, err := tx.TokenChallenge(second.TokenHash)
			_, alive2, err2 := tx.TokenChallenge(other.TokenHash)
			if !alive || !alive2 {
				t.Errorf("the new one lives: %v, the one of another kind: %v; want both", alive, alive2)
			}
			return errors.Join(err, err2)
		})
	})
}

// Asking for a new code must not be a way to guess for ever.
func TestSetChallenge_triesCountOnWithinTheBudget(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, clock *storetest.Clock) {
		u := addUser(t, db, "ada@example.com")
		ask := func() store.Challenge { return addChallenge(t, db, newChallenge(db, u.ID, "recovery", "token")) }
		c := ask()
		for range 3 {
			try(t, db, c)
			clock.Advance(time.Minute) // the budget runs from the first
		}
		clock.Advance(57*time.Minute - time.Microsecond)
		if got := tries(t, db, ask()); got != 2 {
			t.Errorf("%d tries for a new code within the hour, want the 2 that were left", got)
		}
		if got := tries(t, db, ask()); got != 0 {
			t.Errorf("%d tries for another code within the hour, want none", got)
		}
		clock.Advance(time.Microsecond)
		if got := tries(t, db, ask()); got != 5 {
			t.Errorf("%d tries for a new code after the hour, want 5", got)
		}
		clock.Advance(59 * time.Minute)
		if got := tries(t, db, ask()); got != 0 {
			t.Errorf("%d tries: the second budget has not run from its own first try", got)
		}
	})
}

func TestUseChallenge_aRightAnswerGivesTheTriesBack(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, _ *storetest.Clock) {
		u := addUser(t, db, "ada@example.com")
		c := addChallenge(t, db, newChallenge(db, u.ID, "recovery", "token"))
		try(t, db, c)
		write(t, db, func(tx *store.Tx) error { _, err := tx.UseChallenge(c.ID, c.Kind, c.Subject); return err })
		if try(t, db, c) {
			t.Error("an answered challenge could be tried again")
		}
		if got := tries(t, db, addChallenge(t, db, newChallenge(db, u.ID, "recovery", "token"))); got != 5 {
			t.Errorf("%d tries after a right answer, want 5", got)
		}
	})
}

func TestUseChallenge_onlyTheOneThatWasJudged(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, _ *storetest.Clock) {
		u := addUser(t, db, "ada@example.com")
		old := addChallenge(t, db, newChallenge(db, u.ID, "recovery", "old"))
		next := addChallenge(t, db, newChallenge(db, u.ID, "recovery", "next"))
		write(t, db, func(tx *store.Tx) error {
			ok, err := tx.UseChallenge(old.ID, old.Kind, old.Subject)
			if ok {
				t.Error("the answer to a replaced challenge consumed the new one")
			}
			return err
		})
		read(t, db, func(tx *store.Tx) error {
			_, alive, err := tx.TokenChallenge(next.TokenHash)
			if !alive {
				t.Error("the new challenge is gone")
			}
			return err
		})
	})
}

func TestChallenge_diesAtItsInstant(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, clock *storetest.Clock) {
		c := newChallenge(db, addUser(t, db, "ada@example.com").ID, "recovery", "token")
		c.CodeExpiresAt = clock.Now().Add(time.Minute)
		addChallenge(t, db, c)
		clock.Advance(time.Minute - time.Microsecond)
		if !try(t, db, c) {
			t.Error("the code was refused before it expired")
		}
		clock.Advance(time.Microsecond)
		if try(t, db, c) {
			t.Error("the code was taken after it expired")
		}
		use := func(fn func(tx *store.Tx) error) error { return db.Write(t.Context(), home, fn) }
		clock.Set(c.ExpiresAt)
		for name, fn := range map[string]func(tx *store.Tx) error{
			"UseToken": func(tx *store.Tx) error { _, err := tx.UseToken(c.TokenHash); return err },
			"TryToken": func(tx *store.Tx) error { _, err := tx.TryToken(c.TokenHash, 5); return err },
			"TokenChallenge": func(tx *store.Tx) error {
				_, alive, err := tx.TokenChallenge(c.TokenHash)
				if err == nil && !alive {
					err = store.ErrNotFound
				}
				return err
			},
		} {
			if err := use(fn); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("%s at the end: got %v, want ErrNotFound", name, err)
			}
		}
		clock.Advance(-time.Microsecond)
		if err := use(func(tx *store.Tx) error { _, err := tx.UseToken(c.TokenHash); return err }); err != nil {
			t.Errorf("UseToken just before the end: %v", err)
		}
	})
}

func TestTryCode_refusesWhatHasNoCode(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, _ *storetest.Clock) {
		c := newChallenge(db, addUser(t, db, "ada@example.com").ID, "setup", "token")
		c.CodeHash = []byte{}
		addChallenge(t, db, c)
		if try(t, db, c) {
			t.Error("a challenge without code was handed out to compare with: an empty code would match")
		}
	})
}

func TestDropChallenges_voidsWhatIsUnanswered(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, _ *storetest.Clock) {
		u, other := addUser(t, db, "ada@example.com"), addUser(t, db, "bob@example.com")
		a := addChallenge(t, db, newChallenge(db, u.ID, "recovery", "a"))
		b := addChallenge(t, db, newChallenge(db, u.ID, "invite", "b"))
		his := addChallenge(t, db, newChallenge(db, other.ID, "recovery", "his"))
		alive := func() (list [3]bool) {
			read(t, db, func(tx *store.Tx) error {
				var errs []error
				for i, c := range []store.Challenge{a, b, his} {
					_, ok, err := tx.TokenChallenge(c.TokenHash)
					list[i], errs = ok, append(errs, err)
				}
				return errors.Join(errs...)
			})
			return list
		}
		if got, want := alive(), [3]bool{true, true, true}; got != want {
			t.Errorf("before dropping any %v live, want %v", got, want)
		}
		write(t, db, func(tx *store.Tx) error { return tx.DropChallenges(u.ID, "invite") })
		if got, want := alive(), [3]bool{false, true, true}; got != want {
			t.Errorf("after dropping all of hers but invitations %v live, want %v", got, want)
		}
		write(t, db, func(tx *store.Tx) error { return tx.DropChallenges(u.ID, "") })
		if got, want := alive(), [3]bool{false, false, true}; got != want {
			t.Errorf("after dropping all of hers %v live, want %v", got, want)
		}
	})
}
