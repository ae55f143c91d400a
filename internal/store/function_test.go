package store_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"gatehouse/internal/store"
)

func hookFunctions() []string {
	return []string{
		`CREATE SCHEMA "Odd ""one"`,
		`CREATE FUNCTION "Odd ""one".greet(event jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT jsonb_build_object('hello', event->>'name') $$`,
		`CREATE FUNCTION public.hook_silent(event jsonb) RETURNS void LANGUAGE plpgsql AS $$ BEGIN PERFORM 1; END $$`,
		`CREATE FUNCTION public.hook_null(event jsonb) RETURNS jsonb LANGUAGE sql AS $$ SELECT NULL::jsonb $$`,
		`CREATE FUNCTION public.hook_tells(event jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'not %', event; END $$`,
		`CREATE FUNCTION public.hook_sleeps(event jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(60); RETURN '{}'; END $$`,
		`CREATE FUNCTION public.hook_writes(event jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN CREATE TABLE public.hook_table (n int); RETURN '{}'; END $$`,
	}
}

func TestFunction_isCalledWithJSON(t *testing.T) {
	onAll(t, func(t *testing.T, engine, url string) {
		db := node(t, store.Options{URL: url, MaxConns: 1})
		if engine != "postgres" {
			_, err := db.Function(t.Context(), "public", "hook_null", []byte(`{}`))
			if !errors.Is(err, store.ErrNoFunctions) {
				t.Errorf("got %v, want that there are none", err)
			}
			return
		}
		raw := plain(t, url)
		do(t, raw, hookFunctions()...)
		for name, want := range map[string]string{`Odd "one.greet`: `{"hello":"it's Ada"}`, "public.hook_silent": `{}`, "public.hook_null": `null`, "public.hook_writes": `{}`} {
			schema, function, _ := strings.Cut(name, ".")
			got, err := db.Function(t.Context(), schema, function, []byte(`{"name":"it's Ada"}`))
			if err != nil || !sameJSON(got, want) {
				t.Errorf("%s: got %s, %v; want %s", name, got, err, want)
			}
		}
		_, err := raw.ExecContext(t.Context(), `SELECT n FROM public.hook_table`)
		if err != nil {
			t.Errorf("what the function wrote is not there: %v", err)
		}
		const in = `{"name":"ada@example.com"}`
		for _, name := range []string{"hook_tells", "hook_missing", `hook"; SELECT 1; --`} {
			_, err := db.Function(t.Context(), "public", name, []byte(in))
			if err == nil || strings.Contains(err.Error(), "ada@") || errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: got %v, want an error that does not repeat the input", name, err)
			}
		}
		_, err = db.Function(t.Context(), "public", "hook_sleeps", []byte(in))
		if !errors.Is(err, context.DeadlineExceeded) || strings.Contains(err.Error(), "ada@") {
			t.Errorf("one that sleeps: got %v, want that it took too long", err)
		}
		over, cancel := context.WithCancel(t.Context())
		cancel()
		_, err = db.Function(over, "public", "hook_silent", []byte(in))
		if err == nil {
			t.Error("a call nobody waits for was made")
		}
		// Whatever happened, the connections are as good as before.
		for range 20 {
			err = db.Read(t.Context(), home, func(tx *store.Tx) error { _, err := tx.Tenants(store.TenantID{}, 1); return err })
			if err != nil {
				t.Fatal(err)
			}
		}
	})
}

func sameJSON(got []byte, want string) bool {
	var a, b any
	err := errors.Join(json.Unmarshal(got, &a), json.Unmarshal([]byte(want), &b))
	x, err2 := json.Marshal(a)
	y, err3 := json.Marshal(b)
	return errors.Join(err, err2, err3) == nil && string(x) == string(y)
}
