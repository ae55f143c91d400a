package store_test

import (
	"bytes"
	"errors"
	"maps"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"gatehouse/internal/store"
	"gatehouse/internal/storetest"
)

// belongings is one of everything that a tenant can have.
type belongings struct {
	user     store.User
	identity store.Identity
	cred     store.Credential
	session  store.Session
	question store.Challenge
	key      store.SigningKey
	hook     hooked
	trail    trailed
	company  store.Connection // with a domain
}

// furnish gives a tenant its belongings. Address, role and keys are the same
// for every tenant; ids are not.
func furnish(t *testing.T, db *store.DB, tenant store.TenantID) belongings {
	t.Helper()
	u := newUser("ada@example.com")
	u.Role, u.Phone = "chief", "49151"
	device := "device of " + u.ID.String()
	b := belongings{
		user:     u,
		identity: store.Identity{ID: store.NewIdentityID(), UserID: u.ID, Provider: "email", Subject: "ada", Data: []byte(`{}`)},
		cred:     store.Credential{ID: store.NewCredentialID(), UserID: u.ID, Kind: "password", Lookup: u.ID[:], Data: []byte("hash")},
		session:  store.Session{ID: store.NewSessionID(), UserID: u.ID, Generation: 1, AMR: []byte(`[]`), Device: device},
		question: newChallenge(db, u.ID, "recovery", "token of "+u.ID.String()),
		key:      store.SigningKey{ID: "kid " + u.ID.String(), Alg: "ES256", Private: []byte("x"), RetiresAt: db.Now().Add(time.Hour)},
	}
	b.session.IdentityID = b.identity.ID
	err := db.Write(t.Context(), tenant, func(tx *store.Tx) error {
		return errors.Join(tx.AddUser(b.user), tx.AddIdentity(b.identity), tx.AddCredential(b.cred), tx.AddSession(b.session),
			tx.SetChallenge(b.question, time.Hour), tx.AddSigningKey(b.key),
			second(tx.Count(countedName, b.user.ID[:], time.Hour, 2)), tx.AddEvent(store.Event{Name: "hello", UserID: u.ID, Data: []byte(`{}`)}))
	})
	if err != nil {
		t.Fatal(err)
	}
	b.hook = hookUp(t, db, tenant, b.user.ID)
	b.trail = trailUp(t, db, tenant, b.user.ID)
	b.company = connectUp(t, db, tenant)
	return b
}

// countedName is what furnish counts one of, for each user.
const countedName = "hello"

// room is how many more of two of them would be let through.
func room(tx *store.Tx, b belongings) (n int, err error) {
	for {
		wait, err := tx.Count(countedName, b.user.ID[:], time.Hour, 2)
		if err != nil || wait > 0 {
			for range n {
				err = errors.Join(err, tx.Uncount(countedName, b.user.ID[:]))
			}
			return n, err
		}
		n++
	}
}

// snapshot is all that tx's tenant has of b.
func snapshot(tx *store.Tx, b belongings) []any {
	var all []any
	keep := func(vs ...any) {
		for _, v := range vs {
			if err, ok := v.(error); ok {
				v = err.Error()
			}
			all = append(all, v)
		}
	}
	u, err := tx.User(b.user.ID)
	keep(u, err)
	c, err := tx.Credential(b.cred.Kind, b.cred.Lookup)
	keep(c, err)
	s, err := tx.Session(b.session.ID)
	keep(s, err)
	q, alive, err := tx.TokenChallenge(b.question.TokenHash)
	keep(q, alive, err)
	e, err := tx.EventsOf(b.user.ID, 10)
	keep(len(e), err)
	k, err := tx.SigningKeys()
	keep(k, err)
	left, err := room(tx, b)
	keep(left, err)
	keep(hookSnapshot(tx, b.hook)...)
	keep(trailSnapshot(tx)...)
	keep(connectionSnapshot(tx)...)
	_, n, err := tx.UserPage(store.UserFilter{Limit: 1})
	return append(all, n, err)
}

var errUndo = errors.New("undo")

// Every method of Tx is called with what belongs to the default tenant, by the
// default tenant, who must succeed, and by another, who must neither see nor
// change anything.
func TestTx_noTenantReachesAnother(t *testing.T) {
	type call = func(tx *store.Tx, b belongings) (saw bool, err error)
	did := func(err error) (bool, error) { return false, err } // its effect shows in the snapshot
	calls := map[string]call{
		"User": func(tx *store.Tx, b belongings) (bool, error) {
			u, err := tx.User(b.user.ID)
			return u.ID == b.user.ID, err
		},
		"UserByEmail": func(tx *store.Tx, b belongings) (bool, error) {
			u, err := tx.UserByEmail(b.user.Email)
			return u.ID == b.user.ID, err
		},
		"UserByPhone": func(tx *store.Tx, b belongings) (bool, error) {
			u, err := tx.UserByPhone(b.user.Phone)
			return u.ID == b.user.ID, err
		},
		"PhoneTaken": func(tx *store.Tx, _ belongings) (bool, error) {
			owner := *tx
			owner.Tenant = home
			u := newUser("") // of the default tenant alone
			u.Phone = "49152"
			err := owner.AddUser(u)
			if err != nil {
				return false, err
			}
			taken, err := tx.PhoneTaken(u.Phone)
			return taken, errors.Join(err, owner.DropUser(u.ID))
		},
		"Count": func(tx *store.Tx, b belongings) (bool, error) {
			return did(second(tx.Count(countedName, b.user.ID[:], time.Hour, 2)))
		},
		"ClearFailures": func(tx *store.Tx, b belongings) (bool, error) {
			return did(tx.ClearFailures(countedName, b.user.ID[:]))
		},
		"Uncount": func(tx *store.Tx, b belongings) (bool, error) { return did(tx.Uncount(countedName, b.user.ID[:])) },
		"UserPage": func(tx *store.Tx, b belongings) (bool, error) {
			page, total, err := tx.UserPage(store.UserFilter{Contains: "ada", Limit: 10})
			saw := total != 1
			for _, u := range page {
				saw = saw || u.ID == b.user.ID
			}
			return saw, err
		},
		"EmailTaken": func(tx *store.Tx, _ belongings) (bool, error) {
			owner := *tx
			owner.Tenant = home
			u := newUser("hers@example.com") // of the default tenant alone
			err := owner.AddUser(u)
			if err != nil {
				return false, err
			}
			taken, err := tx.EmailTaken(u.Email)
			return taken, errors.Join(err, owner.DropUser(u.ID))
		},
		"CountUsers": func(tx *store.Tx, b belongings) (bool, error) {
			n, err := tx.CountUsers()
			return n != 1 || tx.Tenant == home, err
		},
		"CountRole": func(tx *store.Tx, b belongings) (bool, error) {
			// Seen from inside: who adds a second sees two, who saw the other's sees more.
			u := newUser("eve@example.com")
			u.Role = b.user.Role
			err := tx.AddUser(u)
			if err != nil {
				return false, err
			}
			n, err := tx.CountRole(b.user.Role)
			return n != 2 || tx.Tenant == home, err
		},
		"AddUser": func(tx *store.Tx, b belongings) (bool, error) { return did(tx.AddUser(newUser("eve@example.com"))) },
		"SetUser": func(tx *store.Tx, b belongings) (bool, error) {
			u := b.user
			u.Role = "thief"
			return did(tx.SetUser(&u))
		},
		"DropUser": func(tx *store.Tx, b belongings) (bool, error) { return did(tx.DropUser(b.user.ID)) },
		"AddIdentity": func(tx *store.Tx, b belongings) (bool, error) {
			i := b.identity
			i.ID, i.Subject = store.NewIdentityID(), "eve"
			return did(tx.AddIdentity(i))
		},
		"SetIdentity": func(tx *store.Tx, b belongings) (bool, error) {
			i := b.identity
			i.Subject = "eve"
			return did(tx.SetIdentity(i))
		},
		"SetIdentitySignIn": func(tx *store.Tx, b belongings) (bool, error) {
			return did(tx.SetIdentitySignIn(b.user.ID, b.identity.Provider))
		},
		"DropIdentity":   func(tx *store.Tx, b belongings) (bool, error) { return did(tx.DropIdentity(b.identity.ID)) },
		"DropIdentities": func(tx *store.Tx, b belongings) (bool, error) { return did(tx.DropIdentities(b.user.ID)) },
		"AddCredential": func(tx *store.Tx, b belongings) (bool, error) {
			c := b.cred
			c.ID, c.Kind = store.NewCredentialID(), "passkey"
			err := tx.AddCredential(c)
			return err == nil, err
		},
		"Credential": func(tx *store.Tx, b belongings) (bool, error) {
			_, err := tx.Credential(b.cred.Kind, b.cred.Lookup)
			return err == nil, err
		},
		"SetCredential": func(tx *store.Tx, b belongings) (bool, error) {
			c := b.cred
			c.Data = []byte("eve")
			return did(tx.SetCredential(c))
		},
		"SwapCredential": func(tx *store.Tx, b belongings) (bool, error) { return tx.SwapCredential(b.cred, []byte("eve")) },
		"DropPassword":   func(tx *store.Tx, b belongings) (bool, error) { return tx.DropPassword(b.user.ID, "hash") },
		"CredentialsOf": func(tx *store.Tx, b belongings) (bool, error) {
			list, err := tx.CredentialsOf(b.user.ID, "password")
			return len(list) > 0, err
		},
		"DropCredential": func(tx *store.Tx, b belongings) (bool, error) {
			return did(tx.DropCredential("password", b.user.ID[:]))
		},
		"IdentityOwner": func(tx *store.Tx, b belongings) (bool, error) {
			id, err := tx.IdentityOwner("email", "", "ada")
			return id == b.user.ID, err
		},
		"ClaimCheck": func(tx *store.Tx, b belongings) (bool, error) {
			return tx.ClaimCheck(b.session.ID, time.Time{}, tx.Now)
		},
		"EndSessionsOf": func(tx *store.Tx, b belongings) (bool, error) {
			ids, err := tx.EndSessionsOf(b.user.ID, b.identity.ID, store.SessionID{}, "test")
			return len(ids) > 0, err
		},
		"DropCredentials": func(tx *store.Tx, b belongings) (bool, error) { return did(tx.DropCredentials(b.user.ID)) },
		"KnownByEmail": func(tx *store.Tx, b belongings) (bool, error) {
			who, err := tx.KnownByEmail(b.user.Email)
			return who.ID == b.user.ID, err
		},
		"KnownByPhone": func(tx *store.Tx, b belongings) (bool, error) {
			who, err := tx.KnownByPhone(b.user.Phone)
			return who.ID == b.user.ID, err
		},
		"KnownByEmailFrom": func(tx *store.Tx, b belongings) (bool, error) {
			who, err := tx.KnownByEmailFrom(b.user.Email, b.session.IP)
			return who.ID == b.user.ID, err
		},
		"KnownByPhoneFrom": func(tx *store.Tx, b belongings) (bool, error) {
			who, err := tx.KnownByPhoneFrom(b.user.Phone, b.session.IP)
			return who.ID == b.user.ID, err
		},
		"UserPassword": func(tx *store.Tx, b belongings) (bool, error) {
			u, h, err := tx.UserPassword(b.user.ID)
			return u.ID == b.user.ID || len(h) > 0, err
		},
		"AddPassword": func(tx *store.Tx, b belongings) (bool, error) {
			u := newUser("eve@example.com")
			return did(errors.Join(tx.AddUser(u), tx.AddPassword(u.ID, []byte("eve"))))
		},
		"PasswordOf": func(tx *store.Tx, b belongings) (bool, error) {
			h, err := tx.PasswordOf(b.user.ID)
			return len(h) > 0, err
		},
		"SetPassword": func(tx *store.Tx, b belongings) (bool, error) { return did(tx.SetPassword(b.user.ID, []byte("eve"))) },
		"AddSession": func(tx *store.Tx, b belongings) (bool, error) {
			s := b.session
			s.ID = store.NewSessionID()
			err := tx.AddSession(s)
			return err == nil, err
		},
		"Session": func(tx *store.Tx, b belongings) (bool, error) {
			s, err := tx.Session(b.session.ID)
			return s.UserID == b.user.ID, err
		},
		"SessionUser": func(tx *store.Tx, b belongings) (bool, error) {
			_, u, err := tx.SessionUser(b.session.ID)
			return u.ID == b.user.ID, err
		},
		"SessionsOf": func(tx *store.Tx, b belongings) (bool, error) {
			list, err := tx.SessionsOf(b.user.ID, true, 10)
			return len(list) > 0, err
		},
		"DeviceKnown": func(tx *store.Tx, b belongings) (bool, error) {
			known, others, err := tx.DeviceKnown(b.user.ID, b.session.Device)
			return known || others, err
		},
		"NameSession": func(tx *store.Tx, b belongings) (bool, error) { return tx.NameSession(b.session.ID, b.user.ID, "eve") },
		"Rotate":      func(tx *store.Tx, b belongings) (bool, error) { return tx.Rotate(b.session.ID, 1, "", "") },
		"CapSessions": func(tx *store.Tx, b belongings) (bool, error) {
			s := b.session
			s.ID = store.NewSessionID()
			err := errors.Join(tx.AddSession(s), tx.CapSessions(b.user.ID, 1, store.SessionID{}, "eve"))
			return err == nil, err
		},
		"EndSession": func(tx *store.Tx, b belongings) (bool, error) { return tx.EndSession(b.session.ID, "eve") },
		"EndAllSessions": func(tx *store.Tx, b belongings) (bool, error) {
			_, _, err := tx.EndAllSessions(store.SessionID{}, 1000, "eve") // its own
			return did(err)
		},
		"EndSessions": func(tx *store.Tx, b belongings) (bool, error) {
			ids, err := tx.EndSessions(b.user.ID, store.SessionID{}, "eve")
			return len(ids) > 0, err
		},
		"SetChallenge": func(tx *store.Tx, b belongings) (bool, error) {
			q := b.question
			q.SentTo = "eve@example.com"
			return did(tx.SetChallenge(q, time.Hour))
		},
		"UseToken": func(tx *store.Tx, b belongings) (bool, error) {
			q, err := tx.UseToken(b.question.TokenHash)
			return q.ID == b.question.ID, err
		},
		"TokenChallenge": func(tx *store.Tx, b belongings) (bool, error) {
			q, _, err := tx.TokenChallenge(b.question.TokenHash)
			return q.ID == b.question.ID, err
		},
		"AskedAt": func(tx *store.Tx, b belongings) (bool, error) {
			found, err := tx.AskedAt(b.question.Kind, b.question.SentTo, 10)
			return slices.ContainsFunc(found, func(s []byte) bool { return bytes.Equal(s, b.question.Subject) }), err
		},
		"TryCode": func(tx *store.Tx, b belongings) (bool, error) {
			q, err := tx.TryCode(b.question.Kind, b.question.Subject, 5)
			return q.ID == b.question.ID, err
		},
		"TryToken": func(tx *store.Tx, b belongings) (bool, error) {
			q, err := tx.TryToken(b.question.TokenHash, 5)
			return q.ID == b.question.ID, err
		},
		"Challenge": func(tx *store.Tx, b belongings) (bool, error) {
			q, err := tx.Challenge(b.question.Kind, b.question.Subject)
			return q.ID == b.question.ID, err
		},
		"UseChallenge": func(tx *store.Tx, b belongings) (bool, error) {
			return tx.UseChallenge(b.question.ID, b.question.Kind, b.question.Subject)
		},
		"DropChallenges": func(tx *store.Tx, b belongings) (bool, error) { return did(tx.DropChallenges(b.user.ID, "")) },
		"AddEvent": func(tx *store.Tx, b belongings) (bool, error) {
			return did(tx.AddEvent(store.Event{Name: "eve", UserID: b.user.ID, Data: []byte(`{}`)}))
		},
		"EventsOf": func(tx *store.Tx, b belongings) (bool, error) {
			e, err := tx.EventsOf(b.user.ID, 10)
			return len(e) > 0, err
		},
		"AddSigningKey": func(tx *store.Tx, b belongings) (bool, error) {
			return did(tx.AddSigningKey(store.SigningKey{ID: "eve", Private: []byte("x")}))
		},
		"SigningKeys": func(tx *store.Tx, b belongings) (saw bool, err error) {
			keys, err := tx.SigningKeys()
			for _, k := range keys {
				saw = saw || k.ID == b.key.ID
			}
			return saw, err
		},
		"RetireSigningKeys": func(tx *store.Tx, b belongings) (bool, error) {
			return did(tx.RetireSigningKeys("none", tx.Now.Add(-time.Hour)))
		},
		"DropSigningKeys": func(tx *store.Tx, b belongings) (bool, error) {
			return did(tx.DropSigningKeys(tx.Now.Add(24 * time.Hour)))
		},
	}
	// These are the workers', who serve all tenants at once.
	forAll := []string{"TakeDeliveries", "DropDelivery", "PutBackDelivery", "BuryDelivery", "NextDelivery", "CountDeliveries", "Sweep", "Tenants", "Lease"}
	// Checked by TestAddDelivery_remembersItsTenant; the server's own.
	forAll = append(forAll, "AddDelivery", "HasValue")
	// The list of tenants is the server's; TestTenants shows what each does.
	forAll = append(forAll, "AddTenant", "SetTenant", "SetRootKey", "RetireTenant", "TenantByID", "TenantByName", "TenantByExternalID",
		"TenantByHost", "TenantPage", "TenantsChanged", "HoldTenant", "DeletedTenants", "SweepTenant", "SweepUnconfirmed")

	maps.Copy(calls, hookCalls())
	maps.Copy(calls, trailCalls())
	maps.Copy(calls, connectionCalls())
	forAll = append(forAll, "QueuedTenant", "UnsignedTenants", "AddHead")                                                    // the sealer's; furnish adds one for each, and Head shows whose it is
	forAll = append(forAll, "TakeWebhooks", "NextWebhook", "EndWebhook", "PutBackWebhook", "SweepWebhooks", "CountWebhooks") // the couriers'

	known := map[string]bool{}
	for _, name := range forAll {
		known[name] = true
	}
	for m := range reflect.TypeFor[*store.Tx]().Methods() {
		if calls[m.Name] == nil && !known[m.Name] {
			t.Errorf("Tx.%s is not in this test: show that it keeps tenants apart", m.Name)
		}
	}

	storetest.Each(t, func(t *testing.T, db *store.DB, _ *storetest.Clock) {
		hers := furnish(t, db, home)
		furnish(t, db, storetest.Other())
		// run makes the call as a tenant, reports whether it saw or changed
		// anything of the default tenant's, and undoes it.
		run := func(tenant store.TenantID, fn call) (saw bool, diff string) {
			err := db.Write(t.Context(), tenant, func(tx *store.Tx) error {
				owner := *tx
				owner.Tenant = home
				before := snapshot(&owner, hers)
				var err error
				saw, err = fn(tx, hers)
				saw = saw && err == nil
				if _, failed := tx.CountRole(""); failed != nil {
					saw = false // refused by a key that holds tenants apart; the transaction is spent
					return errUndo
				}
				diff = cmp.Diff(before, snapshot(&owner, hers))
				return errUndo
			})
			if !errors.Is(err, errUndo) {
				t.Fatal(err)
			}
			return saw, diff
		}
		for name, fn := range calls {
			if saw, diff := run(storetest.Other(), fn); saw || diff != "" {
				t.Errorf("%s by another tenant: saw %v, changed:\n%s", name, saw, diff)
			}
			if saw, diff := run(home, fn); !saw && diff == "" {
				t.Errorf("%s by the tenant itself saw and changed nothing: this test proves nothing about it", name)
			}
		}
	})
}

func TestAddDelivery_remembersItsTenant(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, _ *storetest.Clock) {
		for _, tenant := range []store.TenantID{home, storetest.Other()} {
			id := store.NewDeliveryID()
			err := db.Write(t.Context(), tenant, func(tx *store.Tx) error {
				return tx.AddDelivery(store.Delivery{ID: id, Kind: store.DeliverMail, Body: []byte("b")})
			})
			if err != nil {
				t.Fatal(err)
			}
			if d := take(t, db, 10, 1)[0]; d.ID != id || d.Tenant != tenant {
				t.Errorf("took %s of tenant %s, want %s of %s", d.ID, d.Tenant, id, tenant)
			}
		}
	})
}

func TestTx_tenantMustExist(t *testing.T) {
	storetest.Each(t, func(t *testing.T, db *store.DB, _ *storetest.Clock) {
		err := db.Write(t.Context(), store.TenantID{15: 9}, func(tx *store.Tx) error { return tx.AddUser(newUser("ada@example.com")) })
		if err == nil {
			t.Error("a user was added to a tenant that does not exist")
		}
	})
}
