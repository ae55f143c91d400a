package main

import (
	"math"
	"math/bits"
	"time"
)

const (
	subBits    = 5            // 32 steps per power of two: a bucket is at most 1/32 wide
	subBuckets = 1 << subBits // also the number of exact buckets at the bottom
	numBuckets = (64 - subBits + 1) * subBuckets
)

// A histogram counts durations in log-linear buckets, so that every quantile
// is known to within 1/32 of its value at a fixed cost of 15 KiB, however many
// values come. The zero value is empty and ready. It is not safe for several
// goroutines: each caller keeps its own and they are merged at the end.
type histogram struct {
	buckets [numBuckets]uint64
	count   uint64
	max     time.Duration
}

// record adds one duration; a negative one counts as zero.
func (h *histogram) record(d time.Duration) {
	d = max(d, 0)
	h.buckets[bucketOf(uint64(d))]++
	h.count++
	h.max = max(h.max, d)
}

// merge adds everything o has counted.
func (h *histogram) merge(o *histogram) {
	for i, n := range o.buckets {
		h.buckets[i] += n
	}
	h.count += o.count
	h.max = max(h.max, o.max)
}

// quantile returns the smallest bucket end that at least the share q (0 to 1)
// of the values do not exceed; 0 when nothing was recorded. It rounds up, never
// down: a rounded figure must not flatter.
func (h *histogram) quantile(q float64) time.Duration {
	if h.count == 0 {
		return 0
	}
	rank := max(uint64(math.Ceil(q*float64(h.count))), 1)
	var seen uint64
	for i, n := range h.buckets {
		if seen += n; seen >= rank {
			return min(time.Duration(bucketEnd(i)), h.max)
		}
	}
	return h.max
}

// bucketOf returns the index of the bucket that v nanoseconds fall into.
func bucketOf(v uint64) int {
	if v < subBuckets {
		return int(v)
	}
	shift := bits.Len64(v) - subBits - 1
	return shift*subBuckets + int(v>>shift)
}

// bucketEnd returns the largest value of bucket i.
func bucketEnd(i int) uint64 {
	if i < subBuckets {
		return uint64(i)
	}
	shift := i/subBuckets - 1
	return (uint64(i%subBuckets+subBuckets)+1)<<shift - 1
}
