package store

import "time"

// Challenge is a question waiting for its answer. It is answered once, by the
// long secret of a link or by the short code beside it. A subject has at most
// one of a kind: asking again replaces it.
type Challenge struct {
	ID            ChallengeID
	Kind          string
	Subject       []byte // the user's id, or the challenge's own
	UserID        UserID // zero: nobody's yet
	TokenHash     []byte // keyed
	CodeHash      []byte // keyed; empty: it has no code
	SentTo        string
	Data          []byte // a JSON object
	CodeExpiresAt time.Time
	ExpiresAt     time.Time // of the token
	CreatedAt     time.Time
}

const challengeColumns = `id, kind, subject, user_id, token_hash, code_hash, sent_to, data, code_expires_at, expires_at, created_at`

// SetChallenge stores c in place of the one of its kind and subject. Tries
// already spent on that one count on for the rest of budget (an hour, say):
// asking for a new code is no way to guess more often.
func (tx *Tx) SetChallenge(c Challenge, budget time.Duration) error {
	n, err := tx.exec(`UPDATE challenges SET id = ?, user_id = ?, token_hash = ?, code_hash = ?, sent_to = ?, data = ?,
		tries = CASE WHEN tries_since > ? THEN tries ELSE 0 END, code_expires_at = ?, expires_at = ?, used_at = 0, created_at = ?
		WHERE tenant_id = ? AND kind = ? AND subject = ?`,
		c.ID, c.UserID.orNull(), c.TokenHash, c.CodeHash, c.SentTo, string(c.Data),
		micros(tx.Now.Add(-budget)), micros(c.CodeExpiresAt), micros(c.ExpiresAt), micros(tx.Now),
		tx.Tenant, c.Kind, c.Subject)
	if err != nil || n == 1 {
		return err
	}
	return tx.later(`INSERT INTO challenges (tenant_id, kind, subject, id, user_id, token_hash, code_hash, sent_to, data, tries, tries_since, code_expires_at, expires_at, used_at, created_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0, 0, ?, ?, 0, ?)`,
		tx.Tenant, c.Kind, c.Subject, c.ID, c.UserID.orNull(), c.TokenHash, c.CodeHash, c.SentTo, string(c.Data),
		micros(c.CodeExpiresAt), micros(c.ExpiresAt), micros(tx.Now))
}

// UseToken consumes the living challenge with that keyed hash, or returns
// ErrNotFound. Of a hundred callers at one instant one gets it.
func (tx *Tx) UseToken(hash []byte) (Challenge, error) {
	n, err := tx.exec(`UPDATE challenges SET used_at = ? WHERE tenant_id = ? AND token_hash = ? AND used_at = 0 AND expires_at > ?`,
		micros(tx.Now), tx.Tenant, hash, micros(tx.Now))
	if err != nil {
		return Challenge{}, err
	}
	if n == 0 {
		return Challenge{}, ErrNotFound
	}
	return tx.challenge(`token_hash = ?`, hash)
}

// TokenChallenge returns the challenge with that keyed hash, used or not, and
// whether it could be consumed now. It consumes nothing.
func (tx *Tx) TokenChallenge(hash []byte) (c Challenge, alive bool, err error) {
	c, err = tx.challenge(`token_hash = ?`, hash)
	if err != nil {
		return c, false, err
	}
	var used int64
	err = tx.row(`SELECT used_at FROM challenges WHERE tenant_id = ? AND token_hash = ?`, []any{tx.Tenant, hash}, &used)
	return c, used == 0 && tx.Now.Before(c.ExpiresAt), err
}

// TryCode spends one of max tries on the living challenge of that kind and
// subject and returns it, or ErrNotFound when there is none, it has no code,
// or its tries are gone. Counting comes before comparing, so that fifty
// guesses made at one instant all count.
func (tx *Tx) TryCode(kind string, subject []byte, max int) (Challenge, error) {
	n, err := tx.exec(`UPDATE challenges SET tries_since = CASE WHEN tries = 0 THEN ? ELSE tries_since END, tries = tries + 1
		WHERE tenant_id = ? AND kind = ? AND subject = ? AND used_at = 0 AND code_expires_at > ? AND tries < ? AND code_hash <> ?`,
		micros(tx.Now), tx.Tenant, kind, subject, micros(tx.Now), max, []byte{})
	if err != nil {
		return Challenge{}, err
	}
	if n == 0 {
		return Challenge{}, ErrNotFound
	}
	return tx.Challenge(kind, subject)
}

// AskedAt returns the subjects of the newest living questions of a kind that
// went to an address and have a code.
func (tx *Tx) AskedAt(kind, sentTo string, limit int) (subjects [][]byte, err error) {
	err = tx.rows(`SELECT subject FROM challenges`+tx.by("challenges_sent")+` WHERE tenant_id = ? AND sent_to = ? AND kind = ? AND used_at = 0 AND code_expires_at > ? ORDER BY created_at DESC LIMIT ?`,
		[]any{tx.Tenant, sentTo, kind, micros(tx.Now), limit}, func(scan func(...any) error) error {
			var s []byte
			err := scan(&s)
			subjects = append(subjects, s)
			return err
		})
	return subjects, err
}

// TryToken is TryCode for a challenge found by its keyed hash: for a secret
// that needs a second proof beside it, such as PKCE's verifier.
func (tx *Tx) TryToken(hash []byte, max int) (Challenge, error) {
	n, err := tx.exec(`UPDATE challenges SET tries = tries + 1 WHERE tenant_id = ? AND token_hash = ? AND used_at = 0 AND expires_at > ? AND tries < ?`,
		tx.Tenant, hash, micros(tx.Now), max)
	if err != nil {
		return Challenge{}, err
	}
	if n == 0 {
		return Challenge{}, ErrNotFound
	}
	return tx.challenge(`token_hash = ?`, hash)
}

// UseChallenge consumes a challenge and reports whether this call was the one
// to do it. A right answer gives back the tries.
func (tx *Tx) UseChallenge(id ChallengeID, kind string, subject []byte) (bool, error) {
	n, err := tx.exec(`UPDATE challenges SET used_at = ?, tries = 0 WHERE tenant_id = ? AND kind = ? AND subject = ? AND id = ? AND used_at = 0`,
		micros(tx.Now), tx.Tenant, kind, subject, id)
	return n == 1, err
}

// DropChallenges voids every unanswered question to a user but those of a
// kind to spare (empty: none).
func (tx *Tx) DropChallenges(user UserID, spare string) error {
	return tx.later(`UPDATE challenges`+tx.by("challenges_user")+` SET used_at = ? WHERE tenant_id = ? AND user_id = ? AND used_at = 0 AND kind <> ?`,
		micros(tx.Now), tx.Tenant, user, spare)
}

// Challenge returns the newest challenge of a kind to a subject, used or not.
func (tx *Tx) Challenge(kind string, subject []byte) (Challenge, error) {
	return tx.challenge(`kind = ? AND subject = ?`, kind, subject)
}

func (tx *Tx) challenge(where string, args ...any) (Challenge, error) {
	var c Challenge
	var code, token, created int64
	err := tx.row(`SELECT `+challengeColumns+` FROM challenges WHERE tenant_id = ? AND `+where, append([]any{tx.Tenant}, args...),
		&c.ID, &c.Kind, &c.Subject, &c.UserID, &c.TokenHash, &c.CodeHash, &c.SentTo, &c.Data, &code, &token, &created)
	c.CodeExpiresAt, c.ExpiresAt, c.CreatedAt = instant(code), instant(token), instant(created)
	return c, err
}
