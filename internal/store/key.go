package store

import "time"

// SigningKey is one key that signs, will sign or has signed access tokens.
type SigningKey struct {
	ID        string // the kid: RFC 7638 thumbprint
	Alg       string
	Private   []byte // sealed
	CreatedAt time.Time
	SignsAt   time.Time
	RetiresAt time.Time // zero: no end yet; from then on no longer published
}

// AddSigningKey inserts k, or returns ErrDuplicate.
func (tx *Tx) AddSigningKey(k SigningKey) error {
	return tx.later(`INSERT INTO signing_keys (tenant_id, id, alg, private, created_at, signs_at, retires_at) VALUES (?, ?, ?, ?, ?, ?, ?)`,
		tx.Tenant, k.ID, k.Alg, k.Private, micros(tx.Now), micros(k.SignsAt), micros(k.RetiresAt))
}

// SigningKeys returns all keys, oldest first.
func (tx *Tx) SigningKeys() (list []SigningKey, err error) {
	err = tx.rows(`SELECT id, alg, private, created_at, signs_at, retires_at FROM signing_keys WHERE tenant_id = ? ORDER BY signs_at, created_at, id`,
		[]any{tx.Tenant}, func(scan func(...any) error) error {
			var k SigningKey
			var created, signs, retires int64
			err := scan(&k.ID, &k.Alg, &k.Private, &created, &signs, &retires)
			k.CreatedAt, k.SignsAt, k.RetiresAt = instant(created), instant(signs), instant(retires)
			list = append(list, k)
			return err
		})
	return list, err
}

// RetireSigningKeys sets when every key but one stops being published, unless
// an earlier end is set already.
func (tx *Tx) RetireSigningKeys(but string, at time.Time) error {
	return tx.later(`UPDATE signing_keys SET retires_at = ? WHERE tenant_id = ? AND id <> ? AND (retires_at = 0 OR retires_at > ?)`,
		micros(at), tx.Tenant, but, micros(at))
}

// DropSigningKeys deletes the keys that retired before an instant.
func (tx *Tx) DropSigningKeys(before time.Time) error {
	return tx.later(`DELETE FROM signing_keys WHERE tenant_id = ? AND retires_at <> 0 AND retires_at < ?`, tx.Tenant, micros(before))
}
