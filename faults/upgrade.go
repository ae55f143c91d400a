package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

// upgrades replace three nodes behind haproxy by those of the next version, one
// after the other, and take them back: nobody notices, and what either version
// has issued the other takes.
func upgrades() (all []scenario) {
	for _, engine := range []string{postgres, mysql} {
		all = append(all, scenario{name: "upgrade/" + engine, bound: 2 * time.Minute, needs: "haproxy", run: func(ctx context.Context, t *trial) error {
			return rollingUpgrade(ctx, t, engine)
		}})
	}
	return all
}

// nextVersion builds the server with one more migration, such as the version
// after this one may bring, unless -next names another.
func (s *stage) nextVersion(ctx context.Context) (string, error) {
	if s.o.next != "" {
		return s.o.next, nil
	}
	bin := filepath.Join(s.dir, "gatehouse-next")
	if _, err := os.Stat(bin); err == nil {
		return bin, nil // an earlier scenario has built it
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-tags", "nextschema", "-o", bin, "gatehouse/cmd/gatehouse")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("cannot build the next version (run this inside the module): %w: %s", err, cutText(string(out), 500))
	}
	return bin, nil
}

func rollingUpgrade(ctx context.Context, t *trial, engine string) error {
	next, err := t.nextVersion(ctx)
	if err != nil {
		return err
	}
	w, err := t.open(ctx, engine)
	if err != nil {
		return err
	}
	err = w.addNodes(ctx, 3)
	if err != nil {
		return err
	}
	front, err := w.haproxy(ctx)
	if err != nil {
		return err
	}
	w.callers(front)
	stop := w.begin(ctx)
	pause(ctx, t.scaled(3*time.Second))
	began := time.Now()
	err = migrate(ctx, w.dir, "migrate-next", next, w.env)
	if err != nil {
		return err
	}
	t.note("migrated under load in %v", time.Since(began).Round(time.Millisecond))
	for _, bin := range []string{next, w.o.bin} {
		pause(ctx, t.scaled(3*time.Second))
		for _, n := range w.nodes {
			err = w.replace(ctx, n, bin)
			if err != nil {
				return err
			}
		}
	}
	pause(ctx, t.scaled(3*time.Second))
	err = stop()
	if err != nil {
		return err
	}
	ops := w.j.all()
	t.expectNoFailure("while nodes were replaced", ops)
	h, err := w.settle(ctx)
	if err != nil {
		return err
	}
	return w.busyEnough(h, 500)
}

// replace stops a node in order and starts another version in its place.
func (w *world) replace(ctx context.Context, n *node, bin string) error {
	began := time.Now()
	err := n.stop()
	if err != nil {
		w.broke("a node did not leave in peace: %v", err)
	}
	left := time.Since(began)
	n.bin = bin
	_, err = n.start(ctx)
	if err != nil {
		return fmt.Errorf("%s as %s: %w", n.name, filepath.Base(bin), err)
	}
	w.note("%s %v", n.name, left.Round(10*time.Millisecond))
	// The next one waits until the proxy sends this one work again.
	pause(ctx, 2*noticed)
	return nil
}
