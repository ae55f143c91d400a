package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/internal/store"
	"gatehouse/internal/storetest"
)

// tokens are what ends a value, begins another statement or is no text, where
// values are written into the text of statements, as for MySQL.
func tokens() []string {
	return []string{
		`'`, `"`, "`", `\`, `\'`, `\\`, `''`, `\\'`, `\0`, `\Z`, `\n`, "\x00", "\x1a", "\n", "\r", "\r\n", "\t", "\b", "\x7f",
		"\xbf\x27", "\xbf\x5c\x27", "\x81\x5c", "\xff", "\xc0\xa7", "\xe2\x82", "\xed\xa0\x80", "\xf5\x80\x80\x80", "\xf0\x9f\x98",
		"?", "??", "$1", ":a", "@a", "%s", "%", "_", ";", "; COMMIT; ", "; ROLLBACK; ", "'; DROP TABLE users; --", "' OR '1'='1",
		"--", "-- ", "#", "/*", "*/", "/*!50000 ", "/*M! ", "START TRANSACTION", "FROM users", "INTO sessions", "E'\\'", "$$", "$a$",
		"U&'\\0027'", "_binary'", "x'27'", "0x27", "NULL", "né", "e\u0301", "\u202e", "\ufeff", "\uFFFD", "\uFFFF", "\U0001F600", "\U0010FFFF", " ", "",
	}
}

// cleaned is what becomes of text: UTF-8 without NUL, on every engine alike,
// because PostgreSQL takes no other.
func cleaned(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

// keepsEveryByte puts such values into every kind of column, and looks for
// them by it.
func keepsEveryByte(t *testing.T, db *store.DB) {
	t.Helper()
	for i, v := range []string{"", "'", `"`, `\`, `\'`, "''", "\x00", "\x1a", "\xff", "\xbf'", "\xbf\\'", "?", "$1", ";", "--", "/*", "%", "\U0001F600", " "} {
		keeps(t, db, fmt.Sprint(i), v, 100)
	}
	for i, some := range slices.Collect(slices.Chunk(tokens(), 8)) {
		keeps(t, db, fmt.Sprint("some ", i), strings.Join(some, ""), 300)
	}
	values := []string{strings.Join(tokens(), ""), "'", `\`, "\x00"}
	for range 4 {
		var b strings.Builder
		for range 40 {
			b.WriteString(tokens()[rand.N(len(tokens()))])
		}
		values = append(values, b.String()+"?")
	}
	for i, v := range values {
		keeps(t, db, fmt.Sprint("long ", i), v, 32<<10)
	}
}

// keeps puts a value into every kind of column, so often that it is size bytes
// long where there is room; key makes it unique.
func keeps(t *testing.T, db *store.DB, key, v string, size int) {
	t.Helper()
	if v != "" {
		v = strings.Repeat(v, size/len(v)+1)
	}
	// What cleaning does may take three times the room.
	short, mid, long := key+v[:min(len(v), 15)], key+v[:min(len(v), 80)], key+v
	u := newUser(mid)
	u.Role, u.NewEmail, u.AppMetadata, u.UserMetadata = mid, mid, []byte(mid), []byte(long)
	u.Phone, u.NewPhone = key+v[:min(len(v), 5)], key+v[:min(len(v), 5)] // three times that is all the room there is
	id := store.Identity{ID: store.NewIdentityID(), UserID: u.ID, Provider: short, Issuer: mid, Subject: mid, Email: mid, Data: []byte(long)}
	cred := store.Credential{ID: store.NewCredentialID(), UserID: u.ID, Kind: short, Lookup: []byte(key + v[:min(len(v), 900)]), Data: []byte(long)}
	s := store.Session{ID: store.NewSessionID(), UserID: u.ID, Generation: 1, AMR: []byte(long), UserAgent: key + v[:min(len(v), 330)], IP: short, Name: mid, Device: mid}
	q := newChallenge(db, u.ID, short, short)
	q.SentTo, q.CodeHash, q.Data = mid, []byte(short), []byte(long)
	e := store.Event{Name: short, Actor: mid, UserID: u.ID, IP: short, RequestID: mid, Data: []byte(long)}
	d := store.Delivery{ID: store.NewDeliveryID(), Kind: short, Body: []byte(long)}
	write(t, db, func(tx *store.Tx) error { // put off, so that one text holds them all
		return errors.Join(tx.AddUser(u), tx.AddIdentity(id), tx.AddCredential(cred), tx.AddPassword(u.ID, []byte(long)), tx.AddSession(s),
			tx.SetChallenge(q, time.Hour), tx.AddEvent(e), tx.AddDelivery(d))
	})
	var taken []store.Delivery
	write(t, db, func(tx *store.Tx) (err error) {
		taken, err = tx.TakeDeliveries(10, time.Minute)
		return err
	})
	kept, err := db.KeepValue(t.Context(), short, []byte(long))
	if err != nil || string(kept) != long {
		t.Errorf("%.100q: kept as a value of the server: %d bytes for %d, %v", v, len(kept), len(long), err)
	}
	check := func(where string, got, want string) {
		t.Helper()
		if got != want {
			t.Errorf("%.100q in %s came out as %.200q, want %.200q", v, where, got, want)
		}
	}
	if len(taken) != 1 {
		t.Errorf("%.100q: took %d deliveries, want 1", v, len(taken))
	} else {
		check("a delivery's kind", taken[0].Kind, cleaned(short))
		check("a delivery's body", string(taken[0].Body), long)
		write(t, db, func(tx *store.Tx) error { return second(tx.BuryDelivery(taken[0], long)) })
	}
	read(t, db, func(tx *store.Tx) error {
		got, err := tx.UserByEmail(mid)
		if err != nil || got.ID != u.ID || len(got.Identities) != 1 {
			t.Errorf("%.100q: looked for by its address: %s with %d identities, %v", v, got.ID, len(got.Identities), err)
			return nil
		}
		check("an address", got.Email, cleaned(mid))
		check("numbers", got.Phone+got.NewPhone, cleaned(u.Phone)+cleaned(u.NewPhone))
		byNumber, err := tx.UserByPhone(u.Phone)
		check("a number", byNumber.ID.String(), u.ID.String())
		if err != nil {
			t.Errorf("%.100q: looked for by its number: %v", v, err)
		}
		check("a role", got.Role, cleaned(mid))
		check("a wanted address", got.NewEmail, cleaned(mid))
		check("metadata", string(got.AppMetadata), cleaned(mid))
		check("long metadata", string(got.UserMetadata), cleaned(long))
		check("an identity's key", got.Identities[0].Provider+got.Identities[0].Issuer+got.Identities[0].Subject, cleaned(short)+cleaned(mid)+cleaned(mid))
		check("an identity's data", string(got.Identities[0].Data), cleaned(long))
		n, err := tx.CountRole(mid)
		if n != 1 || err != nil {
			t.Errorf("%.100q: %d have the role, %v; want 1", v, n, err)
		}
		c, err := tx.Credential(short, cred.Lookup)
		if err != nil || !bytes.Equal(c.Data, cred.Data) || c.UserID != u.ID {
			t.Errorf("%.100q: a credential came out otherwise, %v", v, err)
		}
		who, err := tx.KnownByEmail(mid)
		check("a hash", string(who.Hash), long)
		s2, err2 := tx.Session(s.ID)
		check("a user agent", s2.UserAgent, cleaned(s.UserAgent))
		check("a session's name and device", s2.Name+s2.Device, cleaned(mid)+cleaned(mid))
		known, _, err8 := tx.DeviceKnown(u.ID, cleaned(mid))
		if !known {
			t.Errorf("%.100q: a device is not known by its name", v)
		}
		check("a session's data", string(s2.AMR)+s2.IP, cleaned(long)+cleaned(short))
		q2, alive, err3 := tx.TokenChallenge(q.TokenHash)
		check("a question's data", string(q2.Data)+q2.Kind+q2.SentTo, cleaned(long)+cleaned(short)+cleaned(mid))
		check("a code's hash", string(q2.CodeHash), short)
		subjects, err4 := tx.AskedAt(short, mid, 10)
		if !alive || len(subjects) != 1 || !bytes.Equal(subjects[0], u.ID[:]) {
			t.Errorf("%.100q: asked at its address: %x, alive %v; want the user", v, subjects, alive)
		}
		events, err5 := tx.EventsOf(u.ID, 10)
		if len(events) != 1 || cmp.Diff([]string{cleaned(short), cleaned(mid), cleaned(short), cleaned(mid), cleaned(long)},
			[]string{events[0].Name, events[0].Actor, events[0].IP, events[0].RequestID, string(events[0].Data)}) != "" {
			t.Errorf("%.100q: an event came out otherwise: %.300q", v, fmt.Sprint(events))
		}
		_, _, err6 := tx.UserPage(store.UserFilter{Contains: mid, Aud: mid, Limit: 10})
		_, found, err7 := tx.UserPage(store.UserFilter{Contains: u.ID.String() + mid, Limit: 10})
		if found != 0 {
			t.Errorf("%.100q: found what is in no name", v)
		}
		return errors.Join(err, err2, err3, err4, err5, err6, err7, err8)
	})
	if n := users(t, db); n != 1 {
		t.Errorf("%.100q: %d users there are, want 1", v, n)
	}
	write(t, db, func(tx *store.Tx) error { return tx.DropUser(u.ID) })
}

func TestTx_valuesSurviveByteForByte(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, _ *storetest.Clock) { keepsEveryByte(t, db) })
}

// In some character sets a backslash is half of a letter, and what was escaped
// is not: whoever asks for one, or for another way to escape, is not heard.
func TestTx_valuesSurviveWhateverCharacterSetIsAskedFor(t *testing.T) {
	onServers(t, func(t *testing.T, engine, url string) {
		if engine != "mysql" {
			t.Skip("it writes no values into statements")
		}
		db := node(t, store.Options{URL: url + "?charset=gbk&collation=gbk_chinese_ci&sql_mode=%27NO_BACKSLASH_ESCAPES%27&interpolateParams=false", MaxConns: 2})
		for i, v := range []string{"\xbf'", "\xbf\\'", "\xbf' OR 1=1 -- ", `\' OR 1=1 -- `, "né\U0001F600"} {
			keeps(t, db, fmt.Sprint(i), v, 1000)
		}
	})
}
