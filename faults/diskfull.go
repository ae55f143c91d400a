package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// diskFull fills the disk of an SQLite database under load: writes say 503,
// reads and the keys go on, and with the space comes the service, by itself.
func diskFull() []scenario {
	return []scenario{{name: "disk-full/sqlite", bound: 60 * time.Second, root: true, run: fillDisk}}
}

const diskSize = 48 << 20

func fillDisk(ctx context.Context, t *trial) error {
	dir, err := t.folder("disk")
	if err != nil {
		return err
	}
	err = mountMemory(dir, diskSize)
	if err != nil {
		return err
	}
	t.atEnd(func() error { return unmount(dir) })
	file := filepath.Join(dir, "gatehouse.db")
	w, err := t.openOn(ctx, database{engine: sqlite, url: "sqlite:" + file, file: file})
	if err != nil {
		return err
	}
	err = w.addNodes(ctx, 1)
	if err != nil {
		return err
	}
	n := w.nodes[0]
	w.callers(n.url())
	stop := w.begin(ctx)
	pause(ctx, t.scaled(4*time.Second))
	filler := filepath.Join(dir, "filler")
	err = fill(filler)
	if err != nil {
		return err
	}
	full := time.Now()
	keys := newHTTP()
	for time.Since(full) < t.scaled(8*time.Second) && ctx.Err() == nil {
		if s := status(ctx, keys, n.url()+"/.well-known/jwks.json"); s != http.StatusOK {
			t.broke("the keys were answered %d while the disk was full", s)
			break
		}
		pause(ctx, 100*time.Millisecond)
	}
	free := time.Now()
	err = os.Remove(filler)
	if err != nil {
		return err
	}
	pause(ctx, time.Second+t.scaled(5*time.Second))
	err = stop()
	if err != nil {
		return err
	}
	return w.judgeFullDisk(ctx, full, free)
}

// fill writes until nothing more fits.
func fill(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	block := make([]byte, 4096)
	for err == nil {
		_, err = f.Write(block)
	}
	if !errors.Is(err, syscall.ENOSPC) {
		return errors.Join(fmt.Errorf("the disk did not fill up: %w", err), f.Close())
	}
	return f.Close()
}

func (w *world) judgeFullDisk(ctx context.Context, full, free time.Time) error {
	w.nobodyRestarted()
	t, ops := w.trial, w.j.all()
	refusedWrites, reads := 0, 0
	during := within(ops, full, free)
	for i := range during {
		o := &during[i]
		if o.Told.Status == http.StatusServiceUnavailable {
			refusedWrites++
		}
		if o.Ask.Op == opUser {
			reads++
			t.expect(!failed(o), "a read failed while the disk was full: %d %s", o.Told.Status, o.Told.Err)
		}
	}
	t.note("%d writes of %d requests got a 503 while the disk was full, %d reads went on", refusedWrites, len(during), reads)
	t.expect(refusedWrites > 0, "no write failed while the disk was full: nothing was tried")
	t.expectManners(ops)
	t.expectNoFailure("after there was space again", within(ops, free.Add(time.Second), time.Now()))
	h, err := w.settle(ctx)
	if err != nil {
		return err
	}
	db, err := w.db.open()
	if err != nil {
		return err
	}
	defer db.Close()
	verdict := ""
	err = db.QueryRowContext(ctx, "PRAGMA integrity_check").Scan(&verdict)
	if err != nil {
		return fmt.Errorf("integrity check: %w", err)
	}
	t.expect(verdict == "ok", "the integrity check says: %s", verdict)
	return w.busyEnough(h, 200)
}
