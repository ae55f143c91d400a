package store

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// UserFilter picks a page of users.
type UserFilter struct {
	Aud      string // exactly, when not empty
	Contains string // in the address or in the full name, when not empty; case does not matter
	Sort     string // one of UserSorts; empty: created_at
	Asc      bool
	After    UserID // the page begins behind this user (keyset); zero: after Offset users
	Offset   int
	Limit    int
}

// UserSorts are the columns a list may be sorted by: a fixed list, because the
// name goes into the statement.
var UserSorts = []string{"created_at", "updated_at", "last_sign_in_at", "email"}

// UserPage returns a page of users, newest first unless the filter says
// otherwise, and how many match in all. Without Contains and Aud neither costs
// more the more users there are, if the page is asked for by After; one asked
// for by Offset costs a step in an index for each user before it.
func (tx *Tx) UserPage(f UserFilter) (page []User, total int, err error) {
	where, args := tx.userMatch(f)
	count := `SELECT COUNT(*) FROM users u` + where
	if f.Aud == "" && f.Contains == "" {
		count = `SELECT COALESCE(SUM(n), 0) FROM user_counts u` + where
	}
	err = tx.row(count, args, &total)
	if err != nil {
		return nil, 0, err
	}
	column, order, err := userOrder(f)
	if err != nil {
		return nil, 0, err
	}
	from := `users u`
	switch {
	case !f.After.IsZero():
		// The bound alone is what an index can be entered by; the rest, which of
		// those at the bound come after.
		than := map[bool]string{true: ">", false: "<"}[f.Asc]
		bound := fmt.Sprintf(`(SELECT %s FROM users u WHERE u.tenant_id = ? AND u.id = ?)`, column)
		where += fmt.Sprintf(` AND %[1]s %[2]s= %[3]s AND (%[1]s %[2]s %[3]s OR u.id %[2]s ?)`, column, than, bound)
		args = append(args, tx.Tenant, f.After, tx.Tenant, f.After, f.After)
	case f.Offset > 0:
		// The users before the page are stepped over in the index, unread.
		from = `(SELECT u.tenant_id AS page_tenant, u.id AS page_id FROM users u` + where + order + ` LIMIT ? OFFSET ?) page
			JOIN users u ON u.tenant_id = page_tenant AND u.id = page_id`
		args, where = append(args, f.Limit, f.Offset), ``
	}
	err = tx.rows(`SELECT `+userColumns+` FROM `+from+where+order+` LIMIT ?`, append(args, f.Limit),
		func(scan func(...any) error) error {
			var s userScan
			err := scan(s.dest()...)
			page = append(page, s.user())
			return err
		})
	return page, total, err
}

// userMatch is the condition for the users a filter picks from.
func (tx *Tx) userMatch(f UserFilter) (where string, args []any) {
	where, args = ` WHERE u.tenant_id = ?`, []any{tx.Tenant}
	if f.Aud != "" {
		where, args = where+` AND u.aud = ?`, append(args, f.Aud)
	}
	if f.Contains != "" {
		// The full name is looked for in the stored JSON text; the edge filters
		// nothing, so a match on another key's value is possible and harmless.
		like := "%" + strings.NewReplacer(`!`, `!!`, `%`, `!%`, `_`, `!_`).Replace(strings.ToLower(f.Contains)) + "%"
		where += ` AND (u.email LIKE ? ESCAPE '!' OR LOWER(` + strings.ReplaceAll(tx.db.asText, "%", "u.user_metadata") + `) LIKE ? ESCAPE '!')`
		args = append(args, like, like)
	}
	return where, args
}

// userOrder is what a filter sorts by, and how; two users never stand at one
// place.
func userOrder(f UserFilter) (column, order string, err error) {
	dir := " DESC"
	if f.Asc {
		dir = " ASC"
	}
	sort := cmp.Or(f.Sort, UserSorts[0])
	if !slices.Contains(UserSorts, sort) {
		return "", "", errors.New("store: users cannot be sorted by that")
	}
	column = "u." + sort
	if sort == "email" {
		column = "COALESCE(u.email, '')" // where NULL stands is another place on each engine
	}
	return column, ` ORDER BY ` + column + dir + `, u.id` + dir, nil
}
