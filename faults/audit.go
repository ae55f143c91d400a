package main

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	_ "github.com/go-sql-driver/mysql" // named "mysql"
	_ "github.com/jackc/pgx/v5/stdlib" // named "pgx"
	_ "modernc.org/sqlite"             // named "sqlite"
)

// open opens a database for reading, past the server.
func (d database) open() (*sql.DB, error) {
	switch d.engine {
	case sqlite:
		return sql.Open("sqlite", "file:"+d.file+"?_pragma=busy_timeout(5000)")
	case postgres:
		return sql.Open("pgx", d.server.URL(d.name))
	}
	return sql.Open("mysql", "gatehouse@tcp("+d.server.Addr()+")/"+d.name)
}

// halves are questions whose answer is 0 as long as nothing was done by half.
var halves = []struct{ what, query string }{
	{"users without an identity", `SELECT COUNT(*) FROM users u WHERE NOT EXISTS
		(SELECT 1 FROM identities i WHERE i.tenant_id = u.tenant_id AND i.user_id = u.id)`},
	{"users without a password", `SELECT COUNT(*) FROM users u WHERE NOT EXISTS
		(SELECT 1 FROM credentials c WHERE c.tenant_id = u.tenant_id AND c.user_id = u.id)`},
	{"users without their sign-up in the trail", `SELECT COUNT(*) FROM users u WHERE NOT EXISTS
		(SELECT 1 FROM events e WHERE e.tenant_id = u.tenant_id AND e.user_id = u.id AND e.name = 'user.signed_up')`},
	{"sign-ups in the trail without a user", `SELECT COUNT(*) FROM events e WHERE e.name = 'user.signed_up' AND NOT EXISTS
		(SELECT 1 FROM users u WHERE u.tenant_id = e.tenant_id AND u.id = e.user_id)`},
	{"sessions without a user", `SELECT COUNT(*) FROM sessions s WHERE NOT EXISTS
		(SELECT 1 FROM users u WHERE u.tenant_id = s.tenant_id AND u.id = s.user_id)`},
	{"sessions without their beginning in the trail", `SELECT COUNT(*) FROM sessions s WHERE NOT EXISTS
		(SELECT 1 FROM events e WHERE e.tenant_id = s.tenant_id AND e.user_id = s.user_id AND e.session_id = s.id AND e.name = 'session.opened')`},
	{"users too many or too few in the running count", `SELECT (SELECT COUNT(*) FROM users) - (SELECT COALESCE(SUM(n), 0) FROM user_counts)`},
	{"credentials without a user", `SELECT COUNT(*) FROM credentials c WHERE NOT EXISTS
		(SELECT 1 FROM users u WHERE u.tenant_id = c.tenant_id AND u.id = c.user_id)`},
}

// audit looks the tables over: nothing by half, every acknowledged user there,
// and as many sessions as sign-ins may have opened. A request that was carried
// out twice, by a retry or a proxy, shows here and nowhere else.
func (w *world) audit(ctx context.Context, h *history) error {
	db, err := w.db.open()
	if err != nil {
		return err
	}
	defer db.Close()
	for _, q := range halves {
		var n int
		err := db.QueryRowContext(ctx, q.query).Scan(&n)
		if err != nil {
			return fmt.Errorf("%s: %w", q.what, err)
		}
		if n != 0 {
			h.findings = append(h.findings, finding{Rule: ruleLost, Text: fmt.Sprintf("the database holds %d %s: something was done by half", n, q.what)})
		}
	}
	counts, err := sessionCounts(ctx, db)
	if err != nil {
		return err
	}
	h.findings = append(h.findings, compareCounts(h.accounts, counts)...)
	return w.auditMails(ctx, db, h)
}

// tally is how many rows an address has.
type tally struct{ users, sessions int }

func sessionCounts(ctx context.Context, db *sql.DB) (map[string]tally, error) {
	rows, err := db.QueryContext(ctx, `SELECT u.email, COUNT(DISTINCT u.id), COUNT(s.id) FROM users u LEFT JOIN sessions s ON s.user_id = u.id WHERE u.email IS NOT NULL GROUP BY u.email`)
	if err != nil {
		return nil, fmt.Errorf("users and sessions: %w", err)
	}
	defer rows.Close()
	counts := map[string]tally{}
	for rows.Next() {
		var email []byte // MySQL keeps it as bytes
		var t tally
		err := rows.Scan(&email, &t.users, &t.sessions)
		if err != nil {
			return nil, err
		}
		counts[string(email)] = t
	}
	return counts, rows.Err()
}

// compareCounts holds the rows of each address against the journal.
func compareCounts(accounts map[string]*account, counts map[string]tally) (findings []finding) {
	find := func(rule, format string, args ...any) {
		findings = append(findings, finding{Rule: rule, Text: fmt.Sprintf(format, args...)})
	}
	for email, a := range accounts {
		c := counts[email]
		switch {
		case a.exists == surely && c.users == 0:
			find(ruleLost, "%s was signed up and is not there", email)
			continue
		case a.exists == never && c.users > 0:
			find(ruleGhost, "%s was never signed up and is there", email)
		case c.users > 1:
			find(ruleTwice, "%s is there %d times", email, c.users)
		}
		if c.sessions < a.min {
			find(ruleLost, "%s has %d sessions, %d were acknowledged", email, c.sessions, a.min)
		}
		if c.sessions > a.max {
			find(ruleTwice, "%s has %d sessions, at most %d were asked for", email, c.sessions, a.max)
		}
	}
	for email := range counts {
		if accounts[email] == nil {
			find(ruleGhost, "%s is there, and nobody asked for it", email)
		}
	}
	return findings
}

// auditMails checks that every acknowledged request for a mail has led to one,
// or to a row that still promises it.
func (w *world) auditMails(ctx context.Context, db *sql.DB, h *history) error {
	missing := 0
	var whose []string
	asked := map[string]int{}
	for _, o := range w.j.all() {
		if o.Ask.Op == opCode && o.Told.outcome() == okay {
			asked[o.Ask.Email]++
		}
	}
	var waiting int
	err := db.QueryRowContext(ctx, `SELECT COUNT(*) FROM outbox WHERE dead_at = 0`).Scan(&waiting)
	if err != nil {
		return fmt.Errorf("outbox: %w", err)
	}
	for email, n := range asked {
		if lack := n - w.mails.count(email); lack > 0 {
			missing += lack
			whose = append(whose, email)
		}
	}
	if missing > waiting {
		h.findings = append(h.findings, finding{Rule: ruleLost, Text: fmt.Sprintf(
			"%d mails were promised and did not come, %d wait: %s", missing, waiting, cutText(strings.Join(whose, " "), 200))})
	}
	return nil
}
