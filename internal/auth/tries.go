package auth

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"time"

	"gatehouse/internal/secret"
	"gatehouse/internal/store"
)

// How those are slowed down who guess passwords, whoever guesses from wherever.
const (
	firstDelay  = time.Second
	triesInARow = 100 // wrong ones after which there is no further try for a day

	sprayWindow   = 10 * time.Minute
	sprayAccounts = 10 // tried with one wrong password in the window; one more is an alarm

	deviceLife    = 400 * day // what browsers keep a cookie for
	devicePurpose = "device"
	passwordTries = "password tries" // the name of the counters
)

// Try is a password that is about to be compared, and counts as a wrong one until
// Desk.PasswordIs finds it right.
type Try struct {
	ID      UserID // zero: nobody's address or number
	Hash    string // empty: they have none
	account []byte // whose password it is said to be, known to nobody
	subject []byte // of the counter; nil: nothing was counted
}

// tryPassword counts a try before the password is compared: fifty guesses at one
// instant all count. A few are free, then each has to wait twice as long as the
// one before; what comes too early is neither compared nor counted.
//
// It counts by the address or number, whoever has it, so that the answers for one
// that is nobody's are the same. From a network or browser where its owner was
// signed in it counts by that instead: strangers who guess lock no owner out, and
// gain no further try by moving.
//
// Codes: TooMany.
func (s *Service) tryPassword(ctx context.Context, c Caller, to Contact) (Try, error) {
	var who store.Known
	err := s.db.Read(ctx, s.tenant, func(tx *store.Tx) (err error) {
		if to.Phone != "" {
			who, err = tx.KnownByPhoneFrom(to.Phone, c.IP)
		} else {
			who, err = tx.KnownByEmailFrom(to.Email, c.IP)
		}
		if errors.Is(err, store.ErrNotFound) {
			who, err = store.Known{}, nil
		}
		return err
	})
	if err != nil {
		return Try{}, err
	}
	t := Try{ID: who.ID, Hash: string(who.Hash), account: s.subject(to)}
	return t, s.countTry(ctx, c, to, who.Here, &t)
}

// tryCurrent is tryPassword for who is signed in already: the network they are at
// counts as one where the owner was.
//
// Codes: TooMany.
func (s *Service) tryCurrent(ctx context.Context, c Caller, v *Viewer, hash string) (Try, error) {
	to := Contact{Email: v.User.Email}
	if to.Email == "" {
		to.Phone = v.User.Phone
	}
	t := Try{ID: v.User.ID, Hash: hash, account: s.subject(to)}
	return t, s.countTry(ctx, c, to, true, &t)
}

func (s *Service) countTry(ctx context.Context, c Caller, to Contact, here bool, t *Try) error {
	if s.policy.PasswordFree <= 0 {
		return nil
	}
	from, device := "", s.deviceOf(c.Device, t.ID) // looked at for strangers, too, at the same cost
	switch {
	case device != nil:
		from = "device " + string(device)
	case here, to.Email == "" && (to.Phone == "" || to.Phone == "0"): // what is no address or number is nobody's, and not one stranger for all
		from = "network " + c.IP
	}
	sum := s.root.MAC("password try", t.account, []byte(from))
	for again := inFlightLooks; ; again-- {
		wait, err := s.db.CountFailure(ctx, s.tenant, passwordTries, sum[:16], store.Failures{
			Free: s.policy.PasswordFree, First: firstDelay, Most: max(s.policy.PasswordDelayMax, firstDelay), Shut: triesInARow, Keep: day,
		})
		switch {
		case err != nil:
			return err
		case wait == 0:
			t.subject = sum[:16]
			return nil
		case wait > firstDelay || again == 0 || !s.linger(ctx):
			return &Error{Code: TooMany, RetryAfter: wait}
		}
	}
}

// Tries that are still being compared count as wrong ones. Where they turn out
// right, whoever came beside them is let in within a moment: a test suite that
// signs one user in ten times at once is no guesser.
const (
	inFlightLooks = 10
	inFlightPause = 200 * time.Millisecond
	mostLingering = 64
)

// linger waits a moment, unless many do already, and reports whether it did.
func (s *Service) linger(ctx context.Context) bool {
	if s.lingering.Add(1) > mostLingering {
		s.lingering.Add(-1)
		return false
	}
	defer s.lingering.Add(-1)
	t := time.NewTimer(inFlightPause)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// compare holds a password against what was tried. One that could not be compared
// was no try.
func (s *Service) compare(ctx context.Context, c Caller, t Try, password string) (ok, rehash bool, err error) {
	ok, rehash, err = s.checkPassword(ctx, c, t.Hash, password)
	compared := err == nil
	if compared {
		err = s.triedPassword(ctx, c, t, ok)
	}
	if !compared && t.subject != nil {
		failed := s.db.WriteOne(context.WithoutCancel(ctx), s.tenant, func(tx *store.Tx) error { return tx.Uncount(passwordTries, t.subject) })
		if failed != nil {
			s.warn(c, "a password that was not compared counts as wrong", "err", failed)
		}
	}
	return ok, rehash, err
}

// succeeded forgets the wrong tries before a right one. Those of strangers are
// not forgotten by one of the owner's.
func (s *Service) succeeded(tx *store.Tx, t Try) error {
	if t.subject == nil {
		return nil
	}
	return tx.ClearFailures(passwordTries, t.subject)
}

// WrongPassword is the verdict on a try that was found wrong. One password that
// is tried on many accounts, where it stays below every account's limit, is an
// alarm.
func (d *Desk) WrongPassword(t Try, password string) error {
	if t.subject == nil {
		return ErrDenied
	}
	each := d.s.root.MAC("sprayed on an account", []byte(password), t.account)
	wait, err := d.tx.Count("sprayed on an account", each[:16], sprayWindow, 1)
	if err != nil {
		return err
	}
	if wait > 0 {
		return ErrDenied // this one on this account was counted
	}
	all := d.s.root.MAC("sprayed password", []byte(password))
	wait, err = d.tx.Count("sprayed password", all[:16], sprayWindow, sprayAccounts)
	if err == nil && wait > 0 {
		wait, err = d.tx.Count("spray told", everybody, time.Hour, 1)
		if err == nil && wait == 0 {
			d.s.warn(d.c, "one wrong password was tried on many accounts", "accounts", sprayAccounts+1)
			err = d.s.emit(d.tx, d.c, PasswordSprayed, UserID{}, SessionID{}, map[string]any{"accounts": sprayAccounts + 1})
		}
	}
	if err != nil {
		return err
	}
	return ErrDenied
}

// rememberDevice makes what a browser keeps to show that a user was signed in
// there; empty if it has that already. It opens nothing: wrong passwords that
// come with it count for themselves.
func (s *Service) rememberDevice(c Caller, id UserID) string {
	if s.policy.PasswordFree <= 0 || s.deviceOf(c.Device, id) != nil {
		return ""
	}
	const head = len(UserID{}) + 16 + 8
	b := make([]byte, 0, head+32)
	b = append(b, id[:]...)
	b = append(b, make([]byte, 16)...)
	_, _ = rand.Read(b[len(id):]) // it never fails
	b = binary.BigEndian.AppendUint64(b, uint64(s.db.Now().Unix()))
	mac := s.root.MAC(devicePurpose, s.tenant[:], b)
	return base64.RawURLEncoding.EncodeToString(append(b, mac[:]...))
}

// deviceOf returns what tells a browser from others where that user was signed
// in; nil: it is none, or somebody else's.
func (s *Service) deviceOf(kept string, id UserID) []byte {
	const user, head, whole = len(UserID{}), len(UserID{}) + 16 + 8, len(UserID{}) + 16 + 8 + 32
	b, err := base64.RawURLEncoding.DecodeString(kept)
	if err != nil || len(b) != whole {
		return nil
	}
	mac := s.root.MAC(devicePurpose, s.tenant[:], b[:head])
	made := time.Unix(int64(binary.BigEndian.Uint64(b[head-8:head])), 0)
	if !secret.Same(b[head:], mac[:]) || !bytes.Equal(b[:user], id[:]) || s.db.Now().Sub(made) > deviceLife {
		return nil
	}
	return b[user : head-8]
}
