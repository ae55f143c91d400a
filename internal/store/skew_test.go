package store_test

import (
	"testing"
	"time"

	"gatehouse/internal/store"
	"gatehouse/internal/storetest"
)

func TestSkew_tellsHowFarTheClockIsAhead(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, clock *storetest.Clock) {
		for _, ahead := range []time.Duration{0, 30 * time.Second, -time.Hour} {
			clock.Set(time.Now().Add(ahead))
			got, err := db.Skew(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			want := ahead
			if db.Engine() == "sqlite" {
				want = 0
			}
			if d := (got - want).Abs(); d > 20*time.Second { // the machine may be busy
				t.Errorf("%v ahead: got %v", ahead, got)
			}
		}
	})
}
