package main

import (
	"errors"
	"fmt"

	"gatehouse/internal/config"
)

type checkCmd struct {
	JSON bool `help:"As JSON." name:"json"`
}

// Run reports every fault and warning of the configuration.
func (c checkCmd) Run(e env) error {
	cfg, report := config.Load(config.Source{Environ: e.environ, Dir: e.dir})
	_, err := configuredKeys(cfg.JWT)
	if err != nil {
		report.Faults = append(report.Faults, config.Note{Name: "GATEHOUSE_JWT_KEYS", Problem: err.Error(), Mend: "see docs/config.md"})
	}
	if c.JSON {
		err := printJSON(e.out, map[string]any{"faults": notes(report.Faults), "warnings": notes(report.Warnings)})
		if err != nil {
			return err
		}
	} else {
		for _, n := range report.Warnings {
			fmt.Fprintln(e.out, "warning:", n)
		}
		for _, n := range report.Faults {
			fmt.Fprintln(e.out, "fault:", n)
		}
	}
	switch n := len(report.Faults); {
	case n == 1:
		return errors.New("the configuration has 1 fault")
	case n > 1:
		return fmt.Errorf("the configuration has %d faults", n)
	case !c.JSON:
		fmt.Fprintln(e.out, "The configuration is fine.")
	}
	return nil
}

// notes is never null in JSON.
func notes(list []config.Note) []map[string]string {
	out := []map[string]string{}
	for _, n := range list {
		out = append(out, map[string]string{"name": n.Name, "problem": n.Problem, "mend": n.Mend})
	}
	return out
}
