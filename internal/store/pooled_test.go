package store_test

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"gatehouse/internal/store"
	"gatehouse/internal/storetest"
)

// pooler starts pgbouncer in transaction mode, with few connections, before the
// server of a URL, and returns the URL by way of it.
func pooler(t *testing.T, address string) string {
	t.Helper()
	bin, err := exec.LookPath("pgbouncer")
	if err != nil {
		bin = "/usr/sbin/pgbouncer"
		if _, err := os.Stat(bin); err != nil {
			t.Fatal("pgbouncer is missing; on Debian: apt-get install pgbouncer")
		}
	}
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := l.Addr().(*net.TCPAddr)
	l.Close()
	name := strings.TrimPrefix(u.Path, "/")
	conf := fmt.Sprintf("[databases]\n%s = host=%s port=%s dbname=%s user=gatehouse\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = %d\n"+
		"unix_socket_dir =\nauth_type = any\npool_mode = transaction\ndefault_pool_size = 3\n", name, u.Hostname(), u.Port(), name, at.Port)
	cmd := exec.CommandContext(t.Context(), bin)
	if os.Geteuid() == 0 { // which it refuses to be
		nobody, err := user.Lookup("nobody")
		if err != nil {
			t.Fatal(err)
		}
		uid, _ := strconv.ParseUint(nobody.Uid, 10, 32)
		gid, _ := strconv.ParseUint(nobody.Gid, 10, 32)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	}
	// In no folder of ours, which that account may not enter.
	file := filepath.Join(os.TempDir(), "gatehouse-pgbouncer-"+name+".ini")
	if err := os.WriteFile(file, []byte(conf), 0o644); err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	cmd.Args, cmd.Stdout, cmd.Stderr = append(cmd.Args, file), &said, &said
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = os.Remove(file)
		if t.Failed() {
			t.Logf("pgbouncer said:\n%s", said.String())
		}
	})
	u.Host = at.String()
	until(t, "pgbouncer to answer", func() bool {
		c, err := net.Dial("tcp", u.Host)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	return u.String()
}

// Behind a pooler every transaction may be another server's connection, which
// knows nothing of what was prepared or set on the one before.
func TestPooled_everythingWorksBehindPgbouncer(t *testing.T) {
	if !slices.Contains(storetest.Engines(), "postgres") {
		t.Skip("PostgreSQL is not tested")
	}
	address := pooler(t, storetest.URL(t, "postgres"))
	first := node(t, store.Options{URL: address, MaxConns: 8})
	if _, err := first.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if again, err := first.Migrate(t.Context()); err != nil || len(again) > 0 {
		t.Errorf("Migrate once more: %v, %v; want nothing to do", again, err)
	}
	nodes := []*store.DB{first, node(t, store.Options{URL: address, MaxConns: 8})}
	const people, each = 8, 6
	var group sync.WaitGroup
	for p := range people {
		group.Go(func() {
			for i := range each {
				err := wholeLife(t, nodes[(p+i)%2], fmt.Sprint("u", p, "-", i, "@example.com"))
				if err != nil {
					t.Errorf("person %d, life %d: %v", p, i, err)
				}
			}
		})
	}
	group.Wait()
	if said, there := total(t, first, home); said != people*each || there != people*each {
		t.Errorf("%d users, and the total says %d; want %d", there, said, people*each)
	}
	for i, v := range []string{"'", `\'`, "\x00\xff", "; COMMIT; ", "?$1", "né\U0001F600", strings.Join(tokens(), "")} {
		db := nodes[i%2]
		u := newUser(fmt.Sprint(i, v[:min(len(v), 80)]))
		u.UserMetadata = []byte(v)
		write(t, db, func(tx *store.Tx) error { return errors.Join(tx.AddUser(u), tx.AddPassword(u.ID, []byte(v))) })
		read(t, db, func(tx *store.Tx) error {
			got, hash, err := tx.UserPassword(u.ID)
			if string(got.UserMetadata) != cleaned(v) || string(hash) != v || got.Email != cleaned(u.Email) {
				t.Errorf("%q came out as %q, %q, %q", v, got.UserMetadata, hash, got.Email)
			}
			return err
		})
	}
	if err := first.WriteOne(t.Context(), home, func(tx *store.Tx) error { return tx.AddPassword(store.NewUserID(), []byte("x")) }); err == nil {
		t.Error("a password of nobody was added")
	}
	err := first.Write(t.Context(), home, func(tx *store.Tx) error { return tx.AddUser(newUser("u0-0@example.com")) })
	if !errors.Is(err, store.ErrDuplicate) {
		t.Errorf("a second user of one address: %v, want ErrDuplicate", err)
	}
}

// wholeLife is a sign-up, a confirmation, a sign-in, refreshes, mail and the
// sweep, as their operations write them.
func wholeLife(t *testing.T, db *store.DB, email string) error {
	u := newUser(email)
	event := store.Event{Name: "hello", UserID: u.ID, Data: []byte(`{}`)}
	q := newChallenge(db, u.ID, "confirmation", email)
	err := db.Write(t.Context(), home, func(tx *store.Tx) error {
		return errors.Join(tx.AddUser(u),
			tx.AddIdentity(store.Identity{ID: store.NewIdentityID(), UserID: u.ID, Provider: "email", Subject: u.ID.String(), Data: []byte(`{}`)}),
			tx.AddPassword(u.ID, []byte("hash")), tx.AddEvent(event), tx.SetChallenge(q, time.Hour),
			tx.AddDelivery(store.Delivery{ID: store.NewDeliveryID(), Kind: store.DeliverMail, Body: []byte("sealed"), ExpiresAt: tx.Now.Add(time.Hour)}))
	})
	if err != nil {
		return fmt.Errorf("sign-up: %w", err)
	}
	err = db.Write(t.Context(), home, func(tx *store.Tx) error {
		_, err := tx.TryCode(q.Kind, q.Subject, 5)
		if err != nil {
			return err
		}
		used, err := tx.UseChallenge(q.ID, q.Kind, q.Subject)
		if err != nil || !used {
			return errors.Join(err, errors.New("a question was not answered"))
		}
		confirmed, err := tx.User(u.ID)
		confirmed.EmailVerifiedAt = tx.Now
		return errors.Join(err, tx.SetUser(&confirmed))
	})
	if err != nil {
		return fmt.Errorf("confirmation: %w", err)
	}
	var id store.UserID
	var hash []byte
	err = db.Read(t.Context(), home, func(tx *store.Tx) error {
		who, err := tx.KnownByEmail(email)
		id, hash = who.ID, who.Hash
		return err
	})
	if err != nil || id != u.ID || string(hash) != "hash" {
		return fmt.Errorf("look-up: %s with %q, %w", id, hash, err)
	}
	s := store.Session{ID: store.NewSessionID(), UserID: u.ID, Generation: 1, AMR: []byte(`[]`)}
	err = db.Write(t.Context(), home, func(tx *store.Tx) error {
		got, _, err := tx.UserPassword(u.ID)
		got.LastSignInAt = tx.Now
		return errors.Join(err, tx.AddSession(s), tx.CapSessions(u.ID, 3, store.SessionID{}, "too many"), tx.SetUser(&got), tx.SetIdentitySignIn(u.ID, "email"), tx.AddEvent(event))
	})
	if err != nil {
		return fmt.Errorf("sign-in: %w", err)
	}
	for g := range int64(3) {
		won := false
		err = errors.Join(
			db.Read(t.Context(), home, func(tx *store.Tx) error {
				got, who, err := tx.SessionUser(s.ID)
				if err == nil && (got.Generation != g+1 || who.ID != u.ID || len(who.Identities) != 1) {
					err = fmt.Errorf("session %+v of %s", got, who.ID)
				}
				return err
			}),
			db.WriteOne(t.Context(), home, func(tx *store.Tx) (err error) { won, err = tx.Rotate(s.ID, g+1, "192.0.2.1", "agent"); return err }))
		if err != nil || !won {
			return fmt.Errorf("refresh %d: %v, %w", g, won, err)
		}
	}
	var taken []store.Delivery
	err = db.Write(t.Context(), home, func(tx *store.Tx) (err error) { taken, err = tx.TakeDeliveries(2, time.Minute); return err })
	for _, d := range taken {
		err = errors.Join(err, db.Write(t.Context(), home, func(tx *store.Tx) error { return second(tx.DropDelivery(d)) }))
	}
	if err != nil {
		return fmt.Errorf("outbox: %w", err)
	}
	return db.Write(t.Context(), home, func(tx *store.Tx) error {
		mine, err := tx.Lease(store.LeaseSweep, store.Holder{1}, time.Minute)
		if err != nil || !mine {
			return errors.Join(err, errors.New("no lease"))
		}
		return errors.Join(second(tx.Sweep(10, tx.Now, tx.Now, tx.Now)), second(tx.SweepEvents(10, tx.Now.Add(-time.Hour))))
	})
}
