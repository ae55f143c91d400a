package main

import (
	"context"
	"errors"
	"fmt"

	"gatehouse/internal/store"
)

type migrateCmd struct {
	Step string `arg:"" optional:"" enum:"up,status,down" default:"up" help:"up applies what is missing; status shows what is applied; down undoes the newest step, where that loses nothing."`
	JSON bool   `help:"As JSON." name:"json"`
}

// Run applies what is missing, shows it, or takes one step back. Running it
// twice changes nothing; run on several nodes at once, one of them does it.
func (c migrateCmd) Run(ctx context.Context, e env) (err error) {
	base, err := load(e)
	if err != nil {
		return err
	}
	cfg := base.Config
	if c.Step != "up" {
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
	switch c.Step {
	case "status":
		list, err = db.Migrations(ctx)
	case "down":
		var undone store.Migration
		undone, err = db.StepDown(ctx)
		list = []store.Migration{undone}
	default:
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
		switch {
		case c.Step == "down":
			state = "undone"
		case !m.Applied:
			state = "missing"
		}
		fmt.Fprintf(e.out, "%-8s %s\n", state, m.Name)
	}
	if c.Step == "up" && len(list) == 0 {
		fmt.Fprintln(e.out, "The database is up to date.")
	}
	return nil
}
