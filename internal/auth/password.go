package auth

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"gatehouse/internal/secret"
)

// weak returns what is wrong with a password by today's rules: "length",
// "characters", "pwned". It is compared as received, byte for byte: no trimming, no
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
	if s.checks.Strength != nil {
		for _, r := range s.checks.Strength(password) {
			if !slices.Contains(reasons, r) {
				reasons = append(reasons, r)
			}
		}
	}
	if s.checks.Common != nil && s.checks.Common(password) {
		reasons = append(reasons, "pwned")
	}
	return reasons
}

// PasswordChecks are what else a password is held against; any may be nil.
type PasswordChecks struct {
	Strength  func(password string) (reasons []string)                 // of a level by name
	MinLength int                                                      // of that level, in bytes
	Common    func(password string) bool                               // a list at hand of what everybody uses
	Leaked    func(ctx context.Context, password string) (bool, error) // a service that knows what was stolen
	Closed    bool                                                     // no answer of that service is a no
}

// newPassword checks a password somebody wants and hashes it. It is slow.
func (s *Service) newPassword(ctx context.Context, c Caller, password string) (hash string, err error) {
	err = s.acceptable(ctx, c, password)
	if err != nil {
		return "", err
	}
	return s.hashPassword(ctx, c, password)
}

// acceptable refuses a password that somebody wants and must not have. A
// service that is asked about it learns of it the first digits of a hash. When
// the service gives no answer the password passes, unless the operator wants
// it otherwise.
//
// Codes: PasswordTooLong, WeakPassword, Unavailable.
func (s *Service) acceptable(ctx context.Context, c Caller, password string) error {
	if len(password) > maxPassword {
		return fail(PasswordTooLong)
	}
	reasons := s.weak(password)
	if len(reasons) == 0 && s.checks.Leaked != nil {
		leaked, err := s.checks.Leaked(ctx, password)
		switch {
		case err != nil && s.checks.Closed:
			return &Error{Code: Unavailable, RetryAfter: comeBack, Err: fmt.Errorf("leaked passwords: %w", err)}
		case err != nil:
			s.warn(c, "a password could not be held against leaked ones", "err", err)
		case leaked:
			reasons = append(reasons, "pwned")
		}
	}
	if len(reasons) > 0 {
		return &Error{Code: WeakPassword, Field: "password", Params: map[string]any{"reasons": reasons, "min": max(s.policy.MinPassword, s.checks.MinLength)}}
	}
	return nil
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
