package main

import (
	"fmt"
	"strings"
)

// A loadTable is a table that a load fills. These are the only place that knows
// its columns; those that may be NULL and are, are left out.
type loadTable struct {
	name    string
	columns string                      // separated by spaces
	rows    func(c *crowd) int          // how many
	row     func(c *crowd, i int) []any // the i-th, oldest first, in the order of columns: []byte, string, int64 or bool
	byKey   bool                        // its key is the person's id: an engine that keeps rows by key wants them in that order
}

// names are the columns one by one.
func (t *loadTable) names() []string { return strings.Fields(t.columns) }

// at returns the i-th row in the order of age, or of the key where that is
// wanted and another one.
func (t *loadTable) at(c *crowd, i int, byKey bool) []any {
	if byKey && t.byKey {
		i = c.byID[i]
	}
	return t.row(c, i)
}

// loadTables are in an order that no reference minds.
func loadTables() []*loadTable {
	each := func(c *crowd) int { return c.people }
	return []*loadTable{
		{
			name: "users", rows: each, row: userRow, byKey: true,
			columns: "tenant_id id aud role email email_verified_at phone_verified_at new_email email_change_proved " +
				"email_change_sent_at new_phone phone_change_sent_at verified_factors confirmation_sent_at recovery_sent_at reauthentication_sent_at invited_at last_sign_in_at " +
				"banned_until deleted_at is_anonymous app_metadata user_metadata created_at updated_at",
		},
		{
			name: "identities", rows: each, row: identityRow, byKey: true,
			columns: "tenant_id provider issuer subject id user_id email data last_sign_in_at created_at updated_at",
		},
		{
			name: "credentials", rows: each, row: credentialRow, byKey: true,
			columns: "tenant_id kind lookup id user_id data created_at updated_at",
		},
		{
			name: "sessions", rows: func(c *crowd) int { return sessionsEach * c.people }, row: sessionRow,
			columns: "tenant_id id user_id generation rotated_at parent_rotated_at aal amr user_agent ip not_after created_at " +
				"refreshed_at ended_at end_reason name device",
		},
		{
			name: "user_counts", rows: func(*crowd) int { return 1 }, row: countRow,
			columns: "tenant_id slot n",
		},
	}
}

// Kinds of ids, so that no two have the same.
const (
	userIDs = 1 + iota
	identityIDs
	credentialIDs
	sessionIDs
)

// tenant is the default one.
func tenant() []byte { return make([]byte, 16) }

func bytesOf(id [16]byte) []byte { return id[:] }

// userRow is a person who signed up and signed in at once.
func userRow(c *crowd, i int) []any {
	at := c.joined(i)
	const never = int64(0)
	return []any{
		tenant(), c.ids[i][:], "authenticated", "authenticated", c.email(i), at, never, "", int64(0),
		never, "", never, int64(0), never, never, never, never, at,
		never, never, false, []byte(`{"provider":"email","providers":["email"]}`), fmt.Appendf(nil, `{"full_name":"Person %d"}`, i), at, at,
	}
}

func identityRow(c *crowd, i int) []any {
	at, id := c.joined(i), uuidText(c.ids[i])
	data := fmt.Appendf(nil, `{"email":%q,"email_verified":true,"full_name":"Person %d","phone_verified":false,"sub":%q}`, c.email(i), i, id)
	return []any{tenant(), "email", "", id, bytesOf(uuid4(identityIDs, i)), c.ids[i][:], c.email(i), data, at, at, at}
}

func credentialRow(c *crowd, i int) []any {
	at := c.joined(i)
	return []any{tenant(), "password", c.ids[i][:], bytesOf(uuid7(credentialIDs, i, at)), c.ids[i][:], c.hash, at, at}
}

// sessionRow is one of the sessions of the last quarter of a year, none of
// which was refreshed. Neighbours in time are of people who are no neighbours.
func sessionRow(c *crowd, i int) []any {
	at := c.opened(i)
	amr := fmt.Appendf(nil, `[{"method":"password","timestamp":%d}]`, at/1_000_000)
	return []any{
		tenant(), bytesOf(uuid7(sessionIDs, i, at)), c.ids[c.owner(i)][:], int64(1), int64(0), int64(0), int64(1), amr,
		"Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0", fmt.Sprintf("203.0.113.%d", i%256), int64(0), at,
		at, int64(0), "", "", "Firefox on Linux",
	}
}

// countRow says how many people there are. The server adds up all rows of a
// tenant, so that one does.
func countRow(c *crowd, _ int) []any { return []any{tenant(), int64(0), int64(c.people)} }
