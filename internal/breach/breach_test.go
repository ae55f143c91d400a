package breach

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// entries is how many passwords the list inside has. README.md says it too.
const entries = 7141

func TestCommon_findsWhatEverybodyTries(t *testing.T) {
	t.Parallel()
	for _, p := range []string{
		"123456", "password", "qwerty", "111111", "iloveyou", "letmein", "trustno1", "welcome", "admin", "qwerty123",
		"123456789", "password1", "hugohugo", "eyphed", // the last two end the source
		"Password1", "PASSWORD", "QwErTy",
	} {
		if !Common(p) {
			t.Errorf("Common(%q) = false", p)
		}
	}
}

func TestCommon_leavesStrongOnesAlone(t *testing.T) {
	t.Parallel()
	for _, p := range []string{
		"", " ", "password ", " password", "correct-horse-battery-staple", "zK4!vq9_Lw2#", "пароль-который-никто-не-знает",
		"\xff\xfe\x00", strings.Repeat("password", 1000),
	} {
		if Common(p) {
			t.Errorf("Common(%q) = true", p)
		}
	}
}

func TestCommon_takesAlmostNoOtherForACommonOne(t *testing.T) {
	t.Parallel()
	const n = 1_000_000
	// A million random passwords meet 7141 values once in 77 runs of this
	// test; five times, once in 3e11.
	if wrong := strangers(table(packed), n); wrong > 4 {
		t.Errorf("%d of %d random passwords are taken for common ones", wrong, n)
	}
}

func TestCommon_allocatesNothing(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() { Common("password1") }); n != 0 {
		t.Errorf("%v allocations in a lookup", n)
	}
}

// strangers returns how many of n random passwords l takes for its own.
func strangers(l table, n int) (wrong int) {
	raw := make([]byte, 16*n)
	rand.Read(raw)
	for p := range slices.Chunk(raw, 16) {
		if l.has(value(base64.RawStdEncoding.EncodeToString(p))) {
			wrong++
		}
	}
	return wrong
}

func TestPacked_isWhole(t *testing.T) {
	t.Parallel()
	if packed[:4] != magic || packed[4] != version {
		t.Fatalf("the list begins with %q", packed[:5])
	}
	l := table(packed)
	if l.count() != entries {
		t.Errorf("%d entries, want %d", l.count(), entries)
	}
	all := values(l)
	if len(all) != entries || !slices.IsSorted(all) || len(slices.Compact(slices.Clone(all))) != entries {
		t.Errorf("%d values decoded, sorted %v", len(all), slices.IsSorted(all))
	}
	again, err := packValues(all)
	if err != nil || string(again) != packed {
		t.Errorf("what is decoded does not pack into the same bytes: %v", err)
	}
}

// values decodes all of l.
func values(l table) []uint64 {
	all := []uint64{}
	per := int(binary.BigEndian.Uint16([]byte(l[6:8])))
	blocks := (l.count() + per - 1) / per
	for b := range blocks {
		l.eachOf(b, blocks, per, func(v uint64) bool {
			all = append(all, v)
			return true
		})
	}
	return all
}

func TestPack_findsExactlyWhatWasPacked(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		most := uint64(1)<<rapid.IntRange(0, valueBits).Draw(t, "bits") - 1
		set := rapid.SliceOfN(rapid.Uint64Range(0, most), 0, 600).Draw(t, "set")
		// Neighbours and the ends are where codes and blocks meet.
		if rapid.Bool().Draw(t, "ends") {
			set = append(set, 0, 1, 2, 1<<valueBits-1, 1<<valueBits-2)
		}
		b, err := packValues(set)
		if err != nil {
			t.Fatal(err)
		}
		l := table(b)
		want := slices.Clone(set)
		slices.Sort(want)
		want = slices.Compact(want)
		if diff := cmp.Diff(append([]uint64{}, want...), values(l)); diff != "" {
			t.Fatalf("-want +got\n%s", diff)
		}
		for _, v := range append(want, 0, 1<<valueBits-1) {
			for _, near := range []uint64{v, v + 1, v - 1} {
				_, in := slices.BinarySearch(want, near)
				if l.has(near) != in {
					t.Fatalf("has(%d) = %v", near, !in)
				}
			}
		}
	})
}

func TestPack_crossesAGapOfManyOnes(t *testing.T) {
	t.Parallel()
	var want []uint64
	for v := range uint64(5000) {
		want = append(want, v)
	}
	want = append(want, 1<<valueBits-3, 1<<valueBits-1)
	b, err := packValues(want)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, values(table(b))); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestPack_ofAHundredThousandIsSmallAndExact(t *testing.T) {
	t.Parallel()
	const n = 100_000
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("Password-%d", i)
	}
	b, err := Pack(list)
	if err != nil {
		t.Fatal(err)
	}
	if len(b) > 350_000 {
		t.Errorf("%d bytes, want 350000 at most", len(b))
	}
	l := table(b)
	if l.count() != n {
		t.Errorf("%d entries, want %d", l.count(), n)
	}
	for _, p := range list {
		if !l.has(value(p)) || !l.has(value(strings.ToUpper(p))) {
			t.Fatalf("%q was packed and is not found", p)
		}
	}
	// Two in ten million: more than five is once in 2e7 runs.
	if wrong := strangers(l, 1_000_000); wrong > 5 {
		t.Errorf("%d of a million others are found", wrong)
	}
	slices.Reverse(list)
	again, err := Pack(append(list, "PASSWORD-7"))
	if err != nil || string(again) != string(b) {
		t.Errorf("another order and a repetition make other bytes: %v", err)
	}
}

func TestPack_refusesEmptyLinesAndLargeValues(t *testing.T) {
	t.Parallel()
	if _, err := Pack([]string{"a", ""}); err == nil {
		t.Error("an empty password was packed")
	}
	if _, err := packValues([]uint64{1 << valueBits}); err == nil {
		t.Error("a value of too many bits was packed")
	}
}

func BenchmarkCommon(b *testing.B) {
	for b.Loop() {
		Common("a password of some length")
	}
}
