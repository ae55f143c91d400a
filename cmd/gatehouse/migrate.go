package main

import (
	"context"
	"errors"
	"fmt"

	"gatehouse/internal/store"
)

type migrateCmd struct {
	Status bool `help:"Only show what is applied and what is not."`
	JSON   bool `help:"As JSON." name:"json"`
}

// Run applies what is missing. Running it twice changes nothing.
func (c migrateCmd) Run(ctx context.Context, e env) (err error) {
	cfg, err := load(e)
	if err != nil {
		return err
	}
	if c.Status {
		err = exists(e, cfg)
		if err != nil {
			return err
		}
	}
	db, err := openDB(ctx, e, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	var list []store.Migration
	if c.Status {
		list, err = db.Migrations(ctx)
	} else {
		list, err = db.Migrate(ctx)
	}
	if err != nil {
		return err
	}
	if c.JSON {
		if list == nil {
			list = []store.Migration{}
		}
		return printJSON(e.out, list)
	}
	for _, m := range list {
		state := "applied"
		if !m.Applied {
			state = "missing"
		}
		fmt.Fprintf(e.out, "%-8s %s\n", state, m.Name)
	}
	if !c.Status && len(list) == 0 {
		fmt.Fprintln(e.out, "The database is up to date.")
	}
	return nil
}
