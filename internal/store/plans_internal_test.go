package store

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// recorder keeps what a conn is asked.
type recorder struct {
	conn
	queries []string
	args    [][]any
}

func (r *recorder) keep(query string, args []any) {
	r.queries, r.args = append(r.queries, query), append(r.args, args)
}

func (r *recorder) exec(query string, args []any) (int64, error) {
	r.keep(query, args)
	return r.conn.exec(query, args)
}

func (r *recorder) later(query string, args []any) error {
	r.keep(query, args)
	return r.conn.later(query, args)
}

func (r *recorder) rows(query string, args []any, each func(scan func(...any) error) error) error {
	r.keep(query, args)
	return r.conn.rows(query, args, each)
}

// broad is a step of a plan that walks over all rows of a tenant, or all there
// are. SQLite knows nothing of how many that is, and chooses so gladly.
var broad = regexp.MustCompile(`^SCAN |\(tenant_id=\?\)$|\(tenant_id=\? AND id[<>]\?\)$|sessions_ended \(ended_at=\?\)|PRIMARY KEY \(tenant_id=\? AND (provider|kind)=\?\)$`)

func TestSQLite_noStatementOfAUserWalksOverAll(t *testing.T) {
	path := filepath.Join(t.TempDir(), "gatehouse.db")
	db, err := Open(t.Context(), Options{URL: "sqlite:" + path, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	_, err = db.Migrate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	u := User{ID: NewUserID(), Email: "ada@example.com", AppMetadata: []byte("{}"), UserMetadata: []byte("{}")}
	s := Session{ID: NewSessionID(), UserID: u.ID, AMR: []byte("[]")}
	i := Identity{ID: NewIdentityID(), UserID: u.ID, Provider: "email", Subject: "s", Data: []byte("{}")}
	q := Challenge{ID: NewChallengeID(), Kind: "k", Subject: u.ID[:], UserID: u.ID, TokenHash: []byte("t"), CodeHash: []byte("c"), SentTo: u.Email, Data: []byte("{}")}
	rec := &recorder{}
	_ = db.engine.write(t.Context(), func(c conn) error {
		rec.conn = c
		tx := db.tx(TenantID{}, rec, writes)
		// What follows is asked for its statements; that some find nothing is no matter.
		_, _, _, _ = tx.AddUser(u), tx.AddIdentity(i), tx.AddPassword(u.ID, []byte("h")), tx.AddSession(s)
		_, _ = tx.User(u.ID)
		_, _ = tx.UserByEmail(u.Email)
		_, _, _ = tx.UserPassword(u.ID)
		_, _ = tx.KnownByEmail(u.Email)
		_, _ = tx.KnownByEmailFrom(u.Email, "192.0.2.1")
		_, _ = tx.KnownByPhoneFrom("491512345678", "192.0.2.1")
		_, _, _ = tx.SessionUser(s.ID)
		_, _ = tx.Session(s.ID)
		_, _ = tx.Rotate(s.ID, 1, "", "")
		_, _ = tx.EndSession(s.ID, "")
		_, _ = tx.EndSessions(u.ID, SessionID{15: 1}, "")
		_, _ = tx.CapSessions(u.ID, 1, s.ID, ""), tx.SetUser(&u)
		_, _ = tx.SetIdentity(i), tx.SetIdentitySignIn(u.ID, "email")
		_, _ = tx.SetChallenge(q, time.Hour), tx.DropChallenges(u.ID, "")
		_, _ = tx.UseToken(q.TokenHash)
		_, _ = tx.TryCode(q.Kind, q.Subject, 5)
		_, _ = tx.AskedAt(q.Kind, q.SentTo, 3)
		_, _ = tx.UseChallenge(q.ID, q.Kind, q.Subject)
		_, _ = tx.EmailTaken(u.Email)
		_, _ = tx.PhoneTaken("491512345678")
		_, _ = tx.UserByPhone("491512345678")
		_, _ = tx.KnownByPhone("491512345678")
		_, _ = tx.SessionsOf(u.ID, false, 10)
		_, _ = tx.SessionsOf(u.ID, true, 10)
		_, _, _ = tx.DeviceKnown(u.ID, "device")
		_, _ = tx.NameSession(s.ID, u.ID, "name")
		_, _ = tx.Challenge(q.Kind, q.Subject)
		for range 2 { // the second is one too many, which asks when the window ends
			_, _ = tx.Count("name", u.ID[:], time.Hour, 1)
		}
		_, _, _ = tx.Uncount("name", u.ID[:]), tx.DropIdentity(i.ID), tx.ClearFailures("name", u.ID[:])
		other := counted{TenantID{}, "name", u.ID[:]}
		_, _ = tx.take(other, time.Second, time.Minute)
		_, _ = tx.failAgain(other, Failures{Free: 1, First: 1, Most: 2, Shut: 3, Keep: 4})
		_, _, _, _ = tx.counter(other)
		_, _ = tx.EventsOf(u.ID, 10)
		_, _, _ = tx.UserPage(UserFilter{Limit: 1})
		_, _, _ = tx.UserPage(UserFilter{Limit: 1, Offset: 1})
		_, _ = tx.SetPassword(u.ID, []byte("h")), tx.DropCredentials(u.ID)
		_, _ = tx.DropIdentities(u.ID), tx.DropUser(u.ID)
		return errSpent // nothing of it is to stand
	})
	pool, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	if len(rec.queries) < 30 {
		t.Fatalf("%d statements were looked at", len(rec.queries))
	}
	counts := 0
	for n, query := range rec.queries {
		rows, err := pool.QueryContext(t.Context(), `EXPLAIN QUERY PLAN `+query, rec.args[n]...)
		if err != nil {
			t.Errorf("%s: %v", query, err)
			continue
		}
		var steps []string
		for rows.Next() {
			var id, parent, unused int
			var step string
			err := rows.Scan(&id, &parent, &unused, &step)
			if err != nil {
				t.Fatal(err)
			}
			steps = append(steps, step)
		}
		if rows.Err() != nil {
			t.Error(rows.Err())
		}
		rows.Close()
		if strings.Contains(query, "counters") && !strings.HasPrefix(query, "INSERT") {
			counts++
			if len(steps) != 1 || !strings.Contains(steps[0], "USING PRIMARY KEY (tenant_id=? AND name=? AND subject=?)") {
				t.Errorf("%s\nfinds no counter by its key: %s", query, fmt.Sprint(steps))
			}
		}
		for _, step := range steps {
			step = strings.TrimSuffix(step, " LEFT-JOIN")
			if broad.MatchString(step) && !strings.HasPrefix(step, "SCAN kept") && !strings.Contains(step, "users_created") && !strings.Contains(step, "user_counts") && step != "SCAN CONSTANT ROW" {
				t.Errorf("%s\nwalks over all: %s", strings.Join(strings.Fields(query), " "), fmt.Sprint(steps))
			}
		}
	}
	if counts != 8 {
		t.Errorf("%d statements about a counter were looked at, want 8", counts)
	}
}
