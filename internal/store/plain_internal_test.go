package store

import (
	"bytes"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestPlain_makesOfEveryValueWhatAllDriversBindAlike(t *testing.T) {
	id := UserID{1, 2, 3}
	for _, c := range []struct {
		what     string
		in, want any
	}{
		{"text", "née \U0001F600 '\\?", "née \U0001F600 '\\?"},
		{"no text", "", ""},
		{"NUL", "a\x00b\x00", "a\uFFFDb\uFFFD"},
		{"a byte that is no letter", "a\xffb", "a\uFFFDb"},
		{"half a letter", "a\xe2\x82", "a\uFFFD"},
		{"a surrogate", "\xed\xa0\x80", "\uFFFD"},
		{"an overlong quote", "\xc0\xa7", "\uFFFD"},
		{"the half of a letter of another encoding, and a quote", "\xbf'", "\uFFFD'"},
		{"a replacement that is there", "\uFFFD", "\uFFFD"},
		{"bytes are left alone", []byte("\x00\xff'\\"), []byte("\x00\xff'\\")},
		{"no bytes are empty bytes", []byte(nil), []byte{}},
		{"empty bytes", []byte{}, []byte{}},
		{"an id", id, id[:]},
		{"the zero id", SessionID{}, make([]byte, 16)},
		{"no value", nil, nil},
		{"a number", int64(7), int64(7)},
		{"a truth", true, true},
	} {
		got := plain([]any{0, c.in, "x"})
		if len(got) != 3 || got[0] != 0 || got[2] != "x" {
			t.Errorf("%s: its neighbours became %v", c.what, got)
		}
		if diff := cmp.Diff(c.want, got[1]); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.what, diff)
		}
		if again := plain([]any{got[1]}); !cmp.Equal(again[0], got[1]) {
			t.Errorf("%s: twice is another than once: %v, %v", c.what, again[0], got[1])
		}
	}
	if got := plain(nil); len(got) != 0 {
		t.Errorf("nothing became %v", got)
	}
}

func TestEventID_isAVersion7UUIDOfItsInstant(t *testing.T) {
	for _, at := range []time.Time{
		time.UnixMicro(0), time.UnixMicro(999), time.UnixMicro(1000), time.Date(2030, 1, 2, 3, 4, 5, 678_901_000, time.UTC),
	} {
		for _, place := range []int64{0, 1, 63, 64, ticks - 1} {
			id := eventID(at.UnixMicro()*ticks + place)
			if v, variant := id[6]>>4, id[8]>>6; v != 7 || variant != 2 {
				t.Errorf("%v: version %d and variant %b, want 7 and 10", at, v, variant)
			}
			ms := int64(id[0])<<40 | int64(id[1])<<32 | int64(id[2])<<24 | int64(id[3])<<16 | int64(id[4])<<8 | int64(id[5])
			if ms != at.UnixMilli() {
				t.Errorf("%v: its first 48 bits are %d, want the milliseconds %d (RFC 9562 §5.7)", at, ms, at.UnixMilli())
			}
		}
	}
	if a, b := eventID(7), eventID(7); a == b {
		t.Error("two nodes make one id at one instant: the rest of it is not random")
	}
}

// inOrderOf reports whether ids of a later tick are greater, whatever is random
// in them.
func inOrderOf(earlier, later int64) bool {
	a, b := eventID(earlier), eventID(later)
	return bytes.Compare(a[:], b[:]) < 0
}

func TestEventID_sortsAsEventsHappened(t *testing.T) {
	start := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC).UnixMicro() * ticks
	for i := range int64(20_000) { // over several microseconds
		if !inOrderOf(start+i, start+i+1) {
			t.Fatalf("tick %d stands behind the one after it", i)
		}
	}
	for us := range int64(2_000) { // over milliseconds
		if !inOrderOf(start+us*ticks+ticks-1, start+(us+1)*ticks) {
			t.Fatalf("the last of microsecond %d stands behind the first of the next", us)
		}
	}
}

// A tick is a microsecond times so many; it has to fit for as long as anybody
// runs this.
func TestEventID_sortsForCenturies(t *testing.T) {
	db := &DB{}
	var last EventID
	for _, at := range []time.Time{
		time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2041, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2042, 1, 1, 0, 0, 0, 0, time.UTC),
		time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC),
	} {
		id := eventID(db.nextEvent(at))
		ms := int64(id[0])<<40 | int64(id[1])<<32 | int64(id[2])<<24 | int64(id[3])<<16 | int64(id[4])<<8 | int64(id[5])
		if ms != at.UnixMilli() || bytes.Compare(last[:], id[:]) >= 0 {
			t.Errorf("an event of %v has the instant %v and the id %s, after %s", at, time.UnixMilli(ms).UTC(), id, last)
		}
		last = id
	}
}

func TestNextEvent_neverStandsStillNorGoesBack(t *testing.T) {
	db := &DB{}
	at := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	last := int64(0)
	for i := range 10_000 {
		now := at
		if i%100 == 99 {
			now = at.Add(-time.Hour) // a clock that was set back
		}
		next := db.nextEvent(now)
		if next <= last {
			t.Fatalf("event %d has tick %d after %d", i, next, last)
		}
		last = next
	}
	if next := db.nextEvent(at.Add(time.Hour)); next != at.Add(time.Hour).UnixMicro()*ticks {
		t.Errorf("an hour later the tick is %d, want that of its instant", next)
	}
}
