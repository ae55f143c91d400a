package store

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// What waits behind another delivery, be it a million, costs neither the look
// at what is due nor the taking and ending of it anything: each finds its rows
// by an index, whole.
func TestSQLite_webhooksThatWaitCostNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "gatehouse.db")
	now := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	db, err := Open(t.Context(), Options{URL: "sqlite:" + path, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	_, err = db.Migrate(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	w := Webhook{ID: NewWebhookID(), Secret: []byte("s")}
	user := NewUserID()
	rec := &recorder{}
	err = db.engine.write(t.Context(), func(c conn) error {
		tx := db.tx(TenantID{}, c, writes)
		_, err := tx.AddWebhook(w, 10)
		if err != nil {
			return err
		}
		rec.conn = c
		tx = db.tx(TenantID{}, rec, writes)
		err = tx.FanOut([]TrailEvent{{Seq: 1, ID: EventID(NewDeliveryID()), UserID: user}, {Seq: 2, ID: EventID(NewDeliveryID()), UserID: user}})
		if err != nil {
			return err
		}
		_, err = tx.NextWebhook(map[WebhookID]bool{{}: true})
		if err != nil {
			return err
		}
		list, err := tx.TakeWebhooks(5, time.Minute, 2, nil)
		if err != nil || len(list) != 1 {
			return fmt.Errorf("took %d: %w", len(list), err)
		}
		_, err = tx.EndWebhook(list[0].WebhookDelivery, WebhookDead, WebhookTry{})
		if err != nil {
			return err
		}
		_, err = tx.ReplayWebhook(w.ID, list[0].Event)
		if err != nil {
			return err
		}
		list, err = tx.TakeWebhooks(5, time.Minute, 2, nil)
		if err != nil || len(list) != 1 {
			return fmt.Errorf("then took %d: %w", len(list), err)
		}
		_, err = tx.PutBackWebhook(list[0].WebhookDelivery, tx.Now, WebhookTry{})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(rec.queries) < 15 {
		t.Fatalf("%d statements were looked at", len(rec.queries))
	}
	pool, err := sql.Open("sqlite", "file:"+path)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	for n, query := range rec.queries {
		for _, step := range plan(t, pool, query, rec.args[n]) {
			if !narrow(step) {
				t.Errorf("%s\nwalks over more than it needs: %s", strings.Join(strings.Fields(query), " "), step)
			}
		}
	}
}

// narrow tells whether a step of a plan reads no more rows than are wanted.
func narrow(step string) bool {
	for _, good := range []string{
		"SEARCH w USING PRIMARY KEY (tenant_id=? AND id=?)",
		"SEARCH webhook_endpoints USING PRIMARY KEY (tenant_id=? AND id=?)",
		"SEARCH webhook_endpoints USING PRIMARY KEY (tenant_id=?)", // a tenant has few
		"webhook_endpoints_next (next_at>?",
		"USING PRIMARY KEY (tenant_id=? AND endpoint_id=? AND event_id=?)",
		"webhook_deliveries_queue (tenant_id=? AND endpoint_id=? AND state=?)", // in the order of due_at, and one of them
		"webhook_deliveries_queue (tenant_id=? AND endpoint_id=? AND state=? AND due_at<?)",
		"webhook_deliveries_user (tenant_id=? AND endpoint_id=? AND user_id=? AND state>?)", // in the order of state and seq, and one of them
		"SCALAR SUBQUERY", "CO-ROUTINE", "SCAN first", "MATERIALIZE",
	} {
		if strings.Contains(step, good) {
			return true
		}
	}
	return false
}

// plan is how SQLite would carry a statement out.
func plan(t *testing.T, pool *sql.DB, query string, args []any) (steps []string) {
	t.Helper()
	rows, err := pool.QueryContext(t.Context(), `EXPLAIN QUERY PLAN `+query, args...)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	defer rows.Close()
	for rows.Next() {
		var id, parent, unused int
		var step string
		err := rows.Scan(&id, &parent, &unused, &step)
		if err != nil {
			t.Fatal(err)
		}
		steps = append(steps, step)
	}
	if rows.Err() != nil {
		t.Fatal(rows.Err())
	}
	return steps
}
