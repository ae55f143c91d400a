package breach

import "math/bits"

// table is a packed list (pack.go). It is read where it lies. It is part of the
// program, so it is trusted to be whole; a test opens the one inside.
type table string

// count returns how many values the list has.
func (t table) count() int { return int(t.uint32(8)) }

// has reports whether v is in the list.
func (t table) has(v uint64) bool {
	n := t.count()
	if n == 0 {
		return false
	}
	// The last block that begins at or before v.
	per := int(t[6])<<8 | int(t[7])
	blocks := (n + per - 1) / per
	lo, hi := 0, blocks
	for lo < hi {
		mid := int(uint(lo+hi) / 2)
		if t.uint64(headerSize+mid*checkpointSize) <= v {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo == 0 {
		return false
	}
	block := lo - 1
	found := false
	t.eachOf(block, blocks, per, func(have uint64) bool {
		found = have == v
		return have < v
	})
	return found
}

// eachOf calls yield with the values of a block in rising order until it
// returns false.
func (t table) eachOf(block, blocks, per int, yield func(uint64) bool) {
	at := headerSize + block*checkpointSize
	v := t.uint64(at)
	if !yield(v) {
		return
	}
	size := min(per, t.count()-block*per)
	r := bitReader{t[headerSize+blocks*checkpointSize:], uint64(t.uint32(at + 8))}
	k := int(t[5])
	for range size - 1 {
		v += r.rice(k) + 1
		if !yield(v) {
			return
		}
	}
}

func (t table) uint32(at int) uint32 {
	s := t[at : at+4]
	return uint32(s[0])<<24 | uint32(s[1])<<16 | uint32(s[2])<<8 | uint32(s[3])
}

func (t table) uint64(at int) uint64 { return uint64(t.uint32(at))<<32 | uint64(t.uint32(at+4)) }

// bitReader reads what bitWriter wrote.
type bitReader struct {
	t  table
	at uint64 // bits read
}

// peek returns the next bits, at least 57 of them, from the highest down;
// zeros follow.
func (r *bitReader) peek() uint64 { return r.t.uint64(int(r.at/8)) << (r.at % 8) }

func (r *bitReader) rice(k int) uint64 {
	var high uint64
	for {
		ones := uint64(bits.LeadingZeros64(^r.peek()))
		high += ones
		r.at += ones
		// Fewer ones than peek is sure of: a zero ended them.
		if ones < 57 {
			r.at++
			break
		}
	}
	low := r.peek() >> (64 - k)
	r.at += uint64(k)
	return high<<k | low
}
