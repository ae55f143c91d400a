package auth

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// mergeMetadata lays patch over a stored JSON object: top-level keys replace,
// null deletes.
//
// Codes: InvalidInput when the result is larger than a token can carry.
func mergeMetadata(old []byte, patch map[string]any) ([]byte, error) {
	if len(patch) == 0 {
		if len(old) == 0 {
			return []byte("{}"), nil
		}
		return old, nil
	}
	all, err := readMetadata(old)
	if err != nil {
		return nil, err
	}
	for k, v := range patch {
		if v == nil {
			delete(all, k)
			continue
		}
		all[k] = v
	}
	b, err := json.Marshal(all)
	if err != nil {
		return nil, Invalid("data", "metadata cannot be written as JSON")
	}
	if len(b) > maxMetadata {
		return nil, Invalid("data", "metadata is limited to 32 KiB: it travels in every access token")
	}
	return b, nil
}

// Schema says what user data may hold.
type Schema interface {
	// Check returns what is wrong with the data for the keys that were written;
	// fresh tells that the user is new, so that nothing may be missing.
	Check(data map[string]any, written []string, fresh bool) error
}

// userData lays patch over what a user's metadata are, and holds the result
// against the operator's schema.
//
// Codes: InvalidInput.
func (s *Service) userData(old []byte, patch map[string]any) ([]byte, error) {
	b, err := mergeMetadata(old, patch)
	if err != nil || s.schema == nil {
		return b, err
	}
	all, err := readMetadata(b)
	if err != nil {
		return nil, err
	}
	err = s.schema.Check(all, slices.Sorted(maps.Keys(patch)), len(old) == 0)
	if err != nil {
		return nil, Invalid("data", err.Error())
	}
	return b, nil
}

// readMetadata reads a stored JSON object; nothing stored is an empty one.
func readMetadata(stored []byte) (map[string]any, error) {
	all := map[string]any{}
	if len(stored) == 0 {
		return all, nil
	}
	d := json.NewDecoder(bytes.NewReader(stored))
	d.UseNumber() // 2^53+1 must not become 2^53
	err := d.Decode(&all)
	if err != nil {
		return nil, fmt.Errorf("auth: stored metadata: %w", err)
	}
	if all == nil { // a stored null
		all = map[string]any{}
	}
	return all, nil
}
