package auth

import (
	"context"
	"errors"
	"strings"
	"unicode/utf8"

	"gatehouse/internal/secret"
)

// weak returns what is wrong with a password by today's rules: "length",
// "characters". It is compared as received, byte for byte: no trimming, no
// case, no cut-off.
func (s *Service) weak(password string) []string {
	var reasons []string
	if utf8.RuneCountInString(password) < s.policy.MinPassword {
		reasons = append(reasons, "length")
	}
	for _, set := range s.policy.RequiredCharacters {
		if !strings.ContainsAny(password, set) {
			reasons = append(reasons, "characters")
			break
		}
	}
	return reasons
}

// newPassword checks a password somebody wants and hashes it. It is slow.
func (s *Service) newPassword(ctx context.Context, c Caller, password string) (hash string, err error) {
	if len(password) > maxPassword {
		return "", fail(PasswordTooLong)
	}
	reasons := s.weak(password)
	if len(reasons) > 0 {
		return "", &Error{Code: WeakPassword, Field: "password", Params: map[string]any{"reasons": reasons, "min": s.policy.MinPassword}}
	}
	return s.hashPassword(ctx, c, password)
}

func (s *Service) hashPassword(ctx context.Context, c Caller, password string) (string, error) {
	hash, err := s.hasher.Hash(ctx, c.IP, password)
	return hash, busy(err)
}

func (s *Service) checkPassword(ctx context.Context, c Caller, hash, password string) (ok, rehash bool, err error) {
	if len(password) > maxPassword {
		password = "" // no user has one so long; the check costs the same
	}
	ok, rehash, err = s.hasher.Verify(ctx, c.IP, hash, password)
	if errors.Is(err, secret.ErrUnknownHash) {
		s.warn(c, "a stored password hash cannot be read", "err", err)
		return false, false, nil
	}
	return ok, rehash, busy(err)
}

func busy(err error) error {
	var b *secret.BusyError
	if errors.As(err, &b) {
		return &Error{Code: Busy, RetryAfter: b.RetryAfter, Err: err}
	}
	return err
}
