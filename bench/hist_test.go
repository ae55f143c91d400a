package main

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

func TestHistogram_quantilesAreNeverBelowTheTruthAndAtMostAThirtySecondAbove(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	var h histogram
	var all []time.Duration
	for range 20_000 {
		d := time.Duration(math.Exp(rnd.Float64()*20) * 10) // 10 ns to 80 min, evenly over the scale
		all = append(all, d)
		h.record(d)
	}
	slices.Sort(all)
	for _, q := range []float64{0.001, 0.25, 0.5, 0.9, 0.99, 0.999, 1} {
		want := all[int(math.Ceil(q*float64(len(all))))-1]
		got := h.quantile(q)
		if got < want || got > want+want/32 {
			t.Errorf("quantile(%v): got %v, want %v to %v", q, got, want, want+want/32)
		}
	}
	if got, want := h.max, all[len(all)-1]; got != want {
		t.Errorf("max: got %v, want %v", got, want)
	}
}

func TestHistogram_bucketsFollowEachOtherWithoutGapOrOverlap(t *testing.T) {
	for i := range numBuckets {
		end := bucketEnd(i)
		if got := bucketOf(end); got != i {
			t.Fatalf("the end of bucket %d (%d): got bucket %d", i, end, got)
		}
		if i == numBuckets-1 {
			if end != math.MaxUint64 {
				t.Errorf("the last bucket ends at %d, want %d", end, uint64(math.MaxUint64))
			}
			break
		}
		if got := bucketOf(end + 1); got != i+1 {
			t.Fatalf("one past bucket %d: got bucket %d, want %d", i, got, i+1)
		}
	}
}

func TestHistogram_mergedHalvesAnswerLikeTheWhole(t *testing.T) {
	var whole, even, odd histogram
	for i := range 1000 {
		d := time.Duration(i) * time.Microsecond
		whole.record(d)
		if i%2 == 0 {
			even.record(d)
		} else {
			odd.record(d)
		}
	}
	even.merge(&odd)
	if even != whole {
		t.Errorf("merged: got count %d max %v, want %d %v, and equal buckets", even.count, even.max, whole.count, whole.max)
	}
}

func TestHistogram_holdsNothingZeroAndNegative(t *testing.T) {
	var h histogram
	if got := h.quantile(0.5); got != 0 {
		t.Errorf("empty: got %v, want 0", got)
	}
	h.record(-time.Second)
	h.record(0)
	if got := h.quantile(1); got != 0 || h.count != 2 {
		t.Errorf("got %v of %d values, want 0 of 2", got, h.count)
	}
}
