package main

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func newTestCrowd(people int) *crowd {
	return newCrowd(people, "a password", []byte("a hash"), time.Date(2026, 5, 6, 7, 8, 9, 0, time.UTC))
}

func TestHash_isOfTheFormAndSizeTheServerMakes(t *testing.T) {
	got := string(cheapHash().hash("correct horse"))
	fields := strings.Split(got, "$")
	if len(fields) != 6 || fields[1] != "argon2id" || fields[2] != "v=19" || fields[3] != "m=8,t=1,p=1" || len(fields[4]) != 22 || len(fields[5]) != 43 {
		t.Errorf("got %s, want $argon2id$v=19$m=8,t=1,p=1$ with 16 and 32 bytes of base64", got)
	}
	if got == string(cheapHash().hash("incorrect horse")) {
		t.Error("two passwords have one hash")
	}
	if got := string(usualHash().hash("x")); !strings.HasPrefix(got, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Errorf("got %s, want the parameters in it", got)
	}
}

func TestHashParameters_tellTheServer(t *testing.T) {
	want := []string{"GATEHOUSE_PASSWORD_HASH_MEMORY=8", "GATEHOUSE_PASSWORD_HASH_TIME=1"}
	if diff := cmp.Diff(want, cheapHash().env()); diff != "" {
		t.Errorf("settings (-want +got):\n%s", diff)
	}
}

func TestCrowd_isTheSameEveryTimeAndNobodyTwice(t *testing.T) {
	a, b := newTestCrowd(1000), newTestCrowd(1000)
	seen := map[string]bool{}
	for i := range a.people {
		if a.ids[i] != b.ids[i] {
			t.Fatalf("person %d has two ids", i)
		}
		seen[string(a.ids[i][:])], seen[a.email(i)] = true, true
	}
	if got, want := len(seen), 2*a.people; got != want {
		t.Errorf("got %d different ids and addresses, want %d", got, want)
	}
	sorted := slices.IsSortedFunc(a.byID, func(x, y int) int { return bytes.Compare(a.ids[x][:], a.ids[y][:]) })
	if !sorted || slices.IsSorted(a.byID) {
		t.Error("byID is not the order of the ids, or the ids have the order of age")
	}
}

func TestCrowd_cameOneAfterTheOtherUntilNow(t *testing.T) {
	c := newTestCrowd(500)
	for i := 1; i < c.people; i++ {
		if c.joined(i) <= c.joined(i-1) {
			t.Fatalf("person %d joined before %d", i, i-1)
		}
	}
	if got, want := c.joined(c.people-1), c.now.UnixMicro(); got != want {
		t.Errorf("got the last at %d, want now, %d", got, want)
	}
	if got, want := c.opened(sessionsEach*c.people-1), c.now.UnixMicro(); got != want {
		t.Errorf("got the last session at %d, want now, %d", got, want)
	}
}

func TestCrowd_everybodyHasAsManySessions(t *testing.T) {
	for _, people := range []int{1, 2, 50, 999, 1000} {
		c := newTestCrowd(people)
		count := map[int]int{}
		for i := range sessionsEach * people {
			count[c.owner(i)]++
		}
		for i := range people {
			if count[i] != sessionsEach {
				t.Fatalf("of %d people number %d has %d sessions, want %d", people, i, count[i], sessionsEach)
			}
		}
	}
}

func TestCrowd_sampleIsFromAllOver(t *testing.T) {
	c := newTestCrowd(100)
	if diff := cmp.Diff([]string{c.email(0), c.email(25), c.email(50), c.email(75)}, c.sample(4)); diff != "" {
		t.Errorf("sample (-want +got):\n%s", diff)
	}
	if got := len(c.sample(1000)); got != 100 {
		t.Errorf("got %d people of 100, want each once", got)
	}
}

func TestUUID_hasItsVersionAndTime(t *testing.T) {
	four := uuidText(uuid4(userIDs, 7))
	at := time.Date(2026, 5, 6, 7, 8, 9, 123456000, time.UTC)
	seven := uuidText(uuid7(sessionIDs, 7, at.UnixMicro()))
	if len(four) != 36 || four[14] != '4' || !strings.ContainsRune("89ab", rune(four[19])) {
		t.Errorf("got %s, want a version 4 UUID", four)
	}
	want := fmt.Sprintf("%012x", at.UnixMilli())
	if got := seven[:8] + seven[9:13]; got != want || seven[14] != '7' || !strings.ContainsRune("89ab", rune(seven[19])) {
		t.Errorf("got %s, want a version 7 UUID that begins with %s", seven, want)
	}
}

func TestLoadTables_haveAValueForEachColumn(t *testing.T) {
	c := newTestCrowd(20)
	for _, table := range loadTables() {
		for i := range table.rows(c) {
			row := table.row(c, i)
			if got, want := len(row), len(table.names()); got != want {
				t.Fatalf("%s: got %d values for %d columns", table.name, got, want)
			}
			for n, v := range row {
				switch v.(type) {
				case []byte, string, int64, bool:
				default:
					t.Fatalf("%s.%s: got a %T, which not every driver takes alike", table.name, table.names()[n], v)
				}
			}
		}
	}
}

func TestLoadTable_atGivesEveryRowOnceInEitherOrder(t *testing.T) {
	c := newTestCrowd(30)
	for _, table := range loadTables() {
		for _, byKey := range []bool{false, true} {
			seen := map[string]bool{}
			var keys []string
			for i := range table.rows(c) {
				row := table.at(c, i, byKey)
				seen[fmt.Sprint(row)] = true
				if table.name == "users" {
					keys = append(keys, string(row[1].([]byte)))
				}
			}
			if got, want := len(seen), table.rows(c); got != want {
				t.Errorf("%s, by key %v: got %d different rows, want %d", table.name, byKey, got, want)
			}
			if table.name == "users" && slices.IsSorted(keys) != byKey {
				t.Errorf("by key %v: got sorted %v", byKey, !byKey)
			}
		}
	}
}

func TestInsertStatement_hasAPlaceholderForEachValue(t *testing.T) {
	table := &loadTable{name: "t", columns: "a b c"}
	if got, want := insertStatement(table, 2), "INSERT INTO t (a, b, c) VALUES (?,?,?),(?,?,?)"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestMysqlConfig_readsTheURLs(t *testing.T) {
	got, err := mysqlConfig("mysql://me:p%40ss@db.example.com/auth")
	if err != nil || got.User != "me" || got.Passwd != "p@ss" || got.Addr != "db.example.com:3306" || got.DBName != "auth" {
		t.Errorf("got %+v, %v", got, err)
	}
	if got, err := mysqlConfig("mysql://me@127.0.0.1:4444/auth"); err != nil || got.Addr != "127.0.0.1:4444" {
		t.Errorf("got %+v, %v, want the port that was named", got, err)
	}
	for _, bad := range []string{"mysql://me@host", "mysql://me@host/", "mysql://%zz"} {
		if got, err := mysqlConfig(bad); err == nil {
			t.Errorf("%s: got %+v, want an error", bad, got)
		}
	}
}

func TestFill_refusesWhatItCannotLoad(t *testing.T) {
	for _, bad := range []string{"oracle://x", "", "sqlite:" + t.TempDir() + "/none.db"} {
		if _, err := fill(t.Context(), bad, newTestCrowd(1)); err == nil {
			t.Errorf("%q: got no error", bad)
		}
	}
}
