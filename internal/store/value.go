package store

import "errors"

// KeepValue stores a value the server keeps about itself, unless there is one
// of that name, and returns the one that is kept; or ErrDuplicate when another
// node stores one at the same instant: ask again.
func (tx *Tx) KeepValue(name string, value []byte) ([]byte, error) {
	var kept []byte
	err := tx.row(`SELECT value FROM server_values WHERE name = ?`, []any{name}, &kept)
	if !errors.Is(err, ErrNotFound) {
		return kept, err
	}
	return value, tx.later(`INSERT INTO server_values (name, value) VALUES (?, ?)`, name, value)
}

// HasValue reports whether a value of that name is kept.
func (tx *Tx) HasValue(name string) (bool, error) {
	var n int
	err := tx.row(`SELECT COUNT(*) FROM server_values WHERE name = ?`, []any{name}, &n)
	return n > 0, err
}
