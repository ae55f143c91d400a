package store

import (
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// UserFilter picks a page of users.
type UserFilter struct {
	Aud      string // exactly, when not empty
	Contains string // in the address, the number or the full name, when not empty; case does not matter
	Sort     string // one of UserSorts; empty: created_at
	Asc      bool
	After    *UserMark // the page begins behind it (keyset), whatever came or went before it
	Offset   int       // else the page begins behind so many users
	Limit    int
}

// UserMark is a place in a sorted list of users.
type UserMark struct {
	Value string // of the column sorted by: an address, or microseconds
	ID    UserID
}

// Mark returns the place of u in a list sorted as f says.
func (f UserFilter) Mark(u *User) UserMark {
	at := u.CreatedAt
	switch f.Sort {
	case "email":
		return UserMark{u.Email, u.ID}
	case "updated_at":
		at = u.UpdatedAt
	case "last_sign_in_at":
		at = u.LastSignInAt
	}
	return UserMark{strconv.FormatInt(micros(at), 10), u.ID}
}

// String returns an opaque form that a URL can hold as it is.
func (m UserMark) String() string {
	return base64.RawURLEncoding.EncodeToString(append(m.ID[:], m.Value...))
}

// ParseUserMark reads the opaque form of a place in the list that f is.
func (f UserFilter) ParseUserMark(s string) (m UserMark, err error) {
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || len(b) < len(m.ID) {
		return m, errNoMark
	}
	m.Value = string(b[copy(m.ID[:], b):])
	if f.Sort != "email" {
		_, err = strconv.ParseInt(m.Value, 10, 64)
	}
	if err != nil {
		return m, errNoMark
	}
	return m, nil
}

var errNoMark = errors.New("store: not a place in that list")

// value is what the sorted column is compared with.
func (m UserMark) value(f UserFilter) any {
	if f.Sort == "email" {
		return m.Value
	}
	us, _ := strconv.ParseInt(m.Value, 10, 64) // ParseUserMark and Mark give no other
	return us
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
	if f.Aud == "" && f.Contains == "" {
		total, err = tx.CountUsers()
	} else {
		err = tx.row(`SELECT COUNT(*) FROM users u`+where, args, &total)
	}
	if err != nil {
		return nil, 0, err
	}
	column, order, err := userOrder(f)
	if err != nil {
		return nil, 0, err
	}
	from := ` FROM users u`
	if column == "u.created_at" {
		from += tx.by("users_created")
	}
	if f.After == nil && f.Offset > 0 {
		// The last user before the page is found in the index; the page is what is
		// behind them. PostgreSQL, which keeps one plan for every offset, would
		// otherwise read all users.
		f.After = &UserMark{}
		var value any
		err = tx.row(`SELECT `+column+`, u.id`+from+where+order+` LIMIT 1 OFFSET ?`, append(slices.Clone(args), f.Offset-1), &value, &f.After.ID)
		if errors.Is(err, ErrNotFound) {
			return nil, total, nil
		}
		if err != nil {
			return nil, 0, err
		}
		f.After.Value = markValue(value)
	}
	if f.After != nil {
		// By the bound alone an index can be entered; the rest says which of those
		// at the bound come behind.
		than := map[bool]string{true: ">", false: "<"}[f.Asc]
		where += fmt.Sprintf(` AND %[1]s %[2]s= ? AND (%[1]s %[2]s ? OR u.id %[2]s ?)`, column, than)
		v := f.After.value(f)
		args = append(args, v, v, f.After.ID)
	}
	err = tx.rows(`SELECT `+userColumns+from+where+order+` LIMIT ?`, append(args, f.Limit),
		func(scan func(...any) error) error {
			var s userScan
			err := scan(s.dest()...)
			page = append(page, s.user())
			return err
		})
	return page, total, err
}

// markValue is a column's value as a mark has it; drivers hand numbers and text
// out as they like.
func markValue(v any) string {
	if b, ok := v.([]byte); ok {
		return string(b)
	}
	return fmt.Sprint(v)
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
		where += ` AND (u.email LIKE ? ESCAPE '!' OR u.phone LIKE ? ESCAPE '!' OR LOWER(` + strings.ReplaceAll(tx.db.asText, "%", "u.user_metadata") + `) LIKE ? ESCAPE '!')`
		args = append(args, like, "%"+strings.TrimPrefix(like, "%+"), like) // numbers are kept without +
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
