package auth

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"gatehouse/internal/store"
	"gatehouse/internal/token"
)

// ring is the key ring and where it comes from.
type ring struct {
	configured []token.Key // by configuration; then the house makes none
	keys       *token.Keys

	mu     sync.Mutex // guards asked; held while the ring is read anew
	asked  time.Time  // when an unknown key id last made it be read
	loaded time.Time
}

// reloadEvery bounds how often an unknown key id makes the ring be read again.
// It is short, because a key may be new, and every token of it would be refused
// meanwhile.
const reloadEvery = time.Second

// signingKeySeal is the purpose private keys are sealed for; their kid is bound.
const signingKeySeal = "signing key"

// LoadKeys reads the key ring, making the first key where there is none. It is
// called at the start and then every few seconds, so that every node publishes
// a new key long before any node signs with it, and drops a leaked one.
func (s *Service) LoadKeys(ctx context.Context) error {
	s.ring.mu.Lock()
	defer s.ring.mu.Unlock()
	return s.loadKeys(ctx)
}

// reloadKeys reads the ring again, if no unknown key made it do so just now.
func (s *Service) reloadKeys(ctx context.Context) error {
	s.ring.mu.Lock()
	defer s.ring.mu.Unlock()
	now := s.db.Now()
	if since := now.Sub(s.ring.asked); since >= 0 && since < reloadEvery {
		return nil
	}
	err := s.loadKeys(ctx)
	if err == nil {
		s.ring.asked = now
	}
	return err
}

func (s *Service) loadKeys(ctx context.Context) error {
	s.ring.loaded = s.db.Now()
	keys := slices.Clone(s.ring.configured)
	signs := slices.ContainsFunc(keys, token.Key.Signs)
	if !signs {
		own, err := s.ownKeys(ctx)
		if err != nil {
			return err
		}
		keys = append(keys, own...)
	}
	if s.ring.keys == nil {
		var err error
		s.ring.keys, err = token.NewKeys(keys...)
		return err
	}
	have, _ := s.ring.keys.List(s.ring.loaded)
	if slices.EqualFunc(have, keys, func(a, b token.Key) bool { return a.ID == b.ID }) {
		return nil // a new ring would forget every verdict of the old one
	}
	return s.ring.keys.Replace(keys...)
}

// ownKeys returns the keys the house made for itself, the first of them now if
// there is none.
func (s *Service) ownKeys(ctx context.Context) ([]token.Key, error) {
	var rows []store.SigningKey
	var now time.Time
	read := func(tx *store.Tx) (err error) {
		now = tx.Now
		rows, err = tx.SigningKeys()
		return err
	}
	err := s.db.Read(ctx, s.tenant, read)
	if err == nil && len(rows) == 0 {
		err = s.addKey(ctx, Caller{Actor: "system"}, 0, noKey)
		if err == nil {
			err = s.db.Read(ctx, s.tenant, read)
		}
	}
	if err != nil {
		return nil, err
	}
	var keys []token.Key
	for _, r := range rows {
		if !r.RetiresAt.IsZero() && !now.Before(r.RetiresAt) {
			continue
		}
		der, err := s.root.Open(signingKeySeal, []byte(r.ID), r.Private)
		if err != nil {
			return nil, fmt.Errorf("auth: signing key %s cannot be opened with this master key: %w", r.ID, err)
		}
		k, err := token.ReadKey(r.ID, r.Alg, der, r.SignsAt)
		if err != nil {
			return nil, err
		}
		keys = append(keys, k)
	}
	return keys, nil
}

// farBehind is further back than any node's clock is wrong.
const farBehind = 12 * time.Hour

// noKey says that the house needs its first key.
func noKey(have []store.SigningKey, _ time.Time) bool { return len(have) == 0 }

// addKey makes a key that signs after overlap. With due it does so only if due
// says so of the keys there are; of several nodes that find so one makes it.
func (s *Service) addKey(ctx context.Context, c Caller, overlap time.Duration, due func([]store.SigningKey, time.Time) bool) error {
	signsAt := s.db.Now().Add(overlap)
	if overlap == 0 && due == nil {
		signsAt = s.db.Now().Add(-farBehind)
	}
	k, der, err := token.NewES256(signsAt)
	if err != nil {
		return err
	}
	sealed := s.root.Seal(signingKeySeal, []byte(k.ID), der)
	return s.db.Write(ctx, s.tenant, func(tx *store.Tx) error {
		err := tx.HoldTenant() // whoever comes second waits here until the first has made it; and other nodes hear of it
		if err != nil {
			return err
		}
		if due != nil {
			have, err := tx.SigningKeys()
			if err != nil || !due(have, tx.Now) {
				return err
			}
			if len(have) == 0 {
				return tx.AddSigningKey(store.SigningKey{ID: k.ID, Alg: k.Alg, Private: sealed, SignsAt: signsAt})
			}
		}
		err = tx.AddSigningKey(store.SigningKey{ID: k.ID, Alg: k.Alg, Private: sealed, SignsAt: signsAt})
		if err != nil {
			return err
		}
		// What the old keys sign until then must verify until it expires; with
		// no overlap they are not trusted any more at all, and no node's clock is
		// so far behind that it is before then.
		retire := signsAt.Add(s.policy.AccessTTL + time.Hour)
		if overlap == 0 {
			retire = tx.Now.Add(-farBehind)
		}
		err = tx.RetireSigningKeys(k.ID, retire)
		if err == nil {
			err = tx.DropSigningKeys(tx.Now.Add(-24 * time.Hour))
		}
		if err == nil {
			err = s.emit(tx, c, SigningKeyRotated, UserID{}, SessionID{}, map[string]any{"kid": k.ID})
		}
		return err
	})
}

// RotateKeys makes the next signing key. It is published at once and signs
// after Policy.KeyOverlap, when every verifier has had time to fetch it. With
// now it signs at once and every older key is refused from then on: for a key
// that leaked. Access tokens die with it; sessions live on and refresh.
func (s *Service) RotateKeys(ctx context.Context, c Caller, now bool) error {
	if slices.ContainsFunc(s.ring.configured, token.Key.Signs) {
		return errors.New("the signing key comes from the configuration (JWT_SECRET or JWT_KEYS): change it there")
	}
	overlap := s.policy.KeyOverlap
	if now {
		overlap = 0
	}
	err := s.addKey(ctx, c, overlap, nil)
	if err != nil {
		return err
	}
	return s.LoadKeys(ctx)
}

// RenewKeys makes the next signing key when the newest is about to reach the
// age of Policy.KeyEvery: so early that it has been published for KeyOverlap
// by then. Every node may call it at any time; one of them makes the key. Each
// reads the ring anew: a key whose time is over is refused, and published no more.
//
// Events: SigningKeyRotated.
func (s *Service) RenewKeys(ctx context.Context) error {
	every, overlap := s.policy.KeyEvery, s.policy.KeyOverlap
	if every == 0 || slices.ContainsFunc(s.ring.configured, token.Key.Signs) {
		return s.LoadKeys(ctx)
	}
	due := func(have []store.SigningKey, now time.Time) bool {
		return len(have) > 0 && !now.Before(have[len(have)-1].SignsAt.Add(every-overlap)) // the list ends with the newest
	}
	var now time.Time
	var have []store.SigningKey
	err := s.db.Read(ctx, s.tenant, func(tx *store.Tx) (err error) {
		now = tx.Now
		have, err = tx.SigningKeys()
		return err
	})
	if err == nil && due(have, now) {
		err = s.addKey(ctx, Caller{Actor: "system"}, overlap, due)
	}
	if err != nil {
		return err
	}
	return s.LoadKeys(ctx)
}

// Keys lists the key ring, and the kid that signs now.
func (s *Service) Keys() (keys []token.Key, signing string) { return s.ring.keys.List(s.db.Now()) }

// JWKS returns the public keys (RFC 7517 §5) and their entity tag.
func (s *Service) JWKS() (body []byte, etag string) { return s.ring.keys.JWKS() }
