package breach

import (
	"encoding/binary"
	"errors"
	"math"
	"slices"
)

// The form of a packed list, all numbers big-endian:
//
//	 0  4 bytes   "GHPW"
//	 4  1 byte    version, 1
//	 5  1 byte    k, the Rice parameter
//	 6  2 bytes   how many values there are between two checkpoints
//	 8  4 bytes   how many values there are
//	12  checkpoints of 12 bytes, one for every started block of values:
//	    8 bytes   the first value of the block
//	    4 bytes   the bit where the rest of the block begins, from the first bit after the checkpoints
//	    the rest of the blocks: the distance of each value from the one before,
//	    less one, as a Rice code: its upper bits as that many ones and a zero,
//	    then its lower k bits
//	    8 zero bytes, so that a reader may always take eight at once
const (
	magic          = "GHPW"
	version        = 1
	headerSize     = 12
	checkpointSize = 12
	tail           = 8

	// valueBits makes 100 000 values answer wrongly twice in ten million
	// times (100 000 / 2^39), at three bytes each.
	valueBits = 39
	// perBlock is a compromise: a lookup decodes 64 values on average, and the
	// checkpoints add a thirtieth to the file.
	perBlock = 128
)

// Pack makes the list that Common reads out of plain passwords. Passwords that
// differ in case alone become one; the order does not matter.
func Pack(passwords []string) ([]byte, error) {
	values := make([]uint64, 0, len(passwords))
	for _, p := range passwords {
		if p == "" {
			return nil, errors.New("breach: an empty line is no password")
		}
		values = append(values, value(p))
	}
	return packValues(values)
}

// packValues packs values, each under 2^valueBits.
func packValues(values []uint64) ([]byte, error) {
	values = slices.Clone(values)
	slices.Sort(values)
	values = slices.Compact(values)
	n := len(values)
	if n > 0 && values[n-1]>>valueBits != 0 {
		return nil, errors.New("breach: a value is too large")
	}
	k := riceParameter(values)
	w := bitWriter{}
	checkpoints := []byte{}
	for i, v := range values {
		if i%perBlock == 0 {
			if w.n > math.MaxUint32 {
				return nil, errors.New("breach: too many values")
			}
			checkpoints = binary.BigEndian.AppendUint64(checkpoints, v)
			checkpoints = binary.BigEndian.AppendUint32(checkpoints, uint32(w.n))
			continue
		}
		w.rice(v-values[i-1]-1, k)
	}

	out := []byte(magic)
	out = append(out, version, byte(k))
	out = binary.BigEndian.AppendUint16(out, perBlock)
	out = binary.BigEndian.AppendUint32(out, uint32(n))
	out = append(out, checkpoints...)
	out = append(out, w.b...)
	return append(out, make([]byte, tail)...), nil
}

// riceParameter returns the k that makes the codes of values, sorted and all
// different, the shortest.
func riceParameter(values []uint64) int {
	best, bestBits := 0, uint64(math.MaxUint64)
	for k := range valueBits + 1 {
		var bits uint64
		for i := 1; i < len(values); i++ {
			bits += (values[i]-values[i-1]-1)>>k + 1 + uint64(k)
		}
		if bits < bestBits {
			best, bestBits = k, bits
		}
	}
	return best
}

// bitWriter appends bits, the highest of a byte first.
type bitWriter struct {
	b []byte
	n uint64 // bits written
}

func (w *bitWriter) bit(one bool) {
	if w.n%8 == 0 {
		w.b = append(w.b, 0)
	}
	if one {
		w.b[len(w.b)-1] |= 0x80 >> (w.n % 8)
	}
	w.n++
}

func (w *bitWriter) rice(v uint64, k int) {
	for range v >> k {
		w.bit(true)
	}
	w.bit(false)
	for i := k - 1; i >= 0; i-- {
		w.bit(v>>i&1 == 1)
	}
}
