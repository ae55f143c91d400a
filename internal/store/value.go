package store

import (
	"context"
	"errors"
)

// KeepValue stores a value the server keeps about itself, unless there is one
// of that name, and returns the one that is kept. Of many nodes that ask at one
// instant all get the same.
func (db *DB) KeepValue(ctx context.Context, name string, value []byte) (kept []byte, err error) {
	keep := func(tx *Tx) error {
		kept, err = tx.value(name)
		if errors.Is(err, ErrNotFound) {
			kept, err = value, tx.later(`INSERT INTO server_values (name, value) VALUES (?, ?)`, name, value)
		}
		return err
	}
	err = db.Write(ctx, TenantID{}, keep)
	if errors.Is(err, ErrDuplicate) { // another node was quicker
		err = db.Write(ctx, TenantID{}, keep)
	}
	return kept, err
}

// HasValue reports whether a value of that name is kept.
func (tx *Tx) HasValue(name string) (bool, error) {
	_, err := tx.value(name)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

func (tx *Tx) value(name string) (value []byte, err error) {
	err = tx.row(`SELECT value FROM server_values WHERE name = ?`, []any{name}, &value)
	return value, err
}
