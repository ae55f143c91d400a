package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// world is a database with nodes on it, a mail server, a journal and callers.
type world struct {
	*trial
	db     database
	mails  *mailbox
	j      *journal
	file   string   // the journal's
	env    []string // of every node
	nodes  []*node
	load   *load
	client *client
}

// open makes a world around an empty database. The tables are made, but no node
// runs yet.
func (t *trial) open(ctx context.Context, engine string) (*world, error) {
	db, err := t.database(ctx, engine, t.dir)
	if err != nil {
		return nil, err
	}
	return t.openOn(ctx, db)
}

// openOn is open on a database that is there already. more are further settings
// of the nodes.
func (t *trial) openOn(ctx context.Context, db database, more ...string) (*world, error) {
	w := &world{trial: t, db: db}
	var err error
	w.mails, err = openMailbox()
	if err != nil {
		return nil, err
	}
	t.atEnd(func() error { w.mails.close(); return nil })
	w.file = filepath.Join(t.dir, "journal.jsonl")
	file, err := os.Create(w.file)
	if err != nil {
		return nil, err
	}
	t.atEnd(file.Close)
	w.j = newJournal(file, time.Now)
	w.env = gatehouseEnv(db.url, newKey(), w.mails.port(), more...)
	return w, migrate(ctx, t.dir, "migrate", t.o.bin, w.env)
}

// addNodes starts n more nodes.
func (w *world) addNodes(ctx context.Context, n int) error {
	for range n {
		_, err := w.addNode(ctx, w.o.bin, w.env)
		if err != nil {
			return err
		}
	}
	return nil
}

// addNode starts a node of its own kind.
func (w *world) addNode(ctx context.Context, bin string, env []string) (*node, error) {
	n, err := newNode(w.dir, fmt.Sprintf("node%d", len(w.nodes)+1), bin, env)
	if err != nil {
		return nil, err
	}
	w.nodes = append(w.nodes, n)
	w.atEnd(func() error {
		if n.run != nil && n.run.alive() {
			n.kill() // how it ends in peace is a scenario's question
		}
		return nil
	})
	_, err = n.start(ctx)
	return n, err
}

// callers makes the load, against these addresses.
func (w *world) callers(addresses ...string) {
	w.client = newClient(w.j, addresses...)
	w.load = &load{client: w.client, mails: w.mails, users: w.o.users, prefix: "u"}
}

// begin lets the load loose in the background. The function it returns stops it
// and waits for the last answer.
func (w *world) begin(ctx context.Context) (stop func() error) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- w.load.run(ctx) }()
	return func() error {
		cancel()
		return <-done
	}
}

// settle ends a scenario: the journal is judged, the database is looked over,
// and the server must keep what it promised.
func (w *world) settle(ctx context.Context) (*history, error) {
	h, err := w.judge()
	if err != nil {
		return nil, err
	}
	if w.db.server != nil && w.db.server.PID() == 0 {
		w.res.add(h)
		return h, errors.New("the database server itself has died; its log is in the folder of the run")
	}
	err = w.audit(ctx, h)
	if err != nil {
		return h, fmt.Errorf("the database could not be looked over: %w", err)
	}
	w.keepsPromises(ctx, h)
	for _, text := range w.mails.faults() {
		h.findings = append(h.findings, finding{Rule: ruleTwice, Text: "mail: " + text})
	}
	w.res.add(h)
	return h, nil
}

// judge reads the journal back from its file, which is what counts.
func (w *world) judge() (*history, error) {
	file, err := os.Open(w.file)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	ops, err := readJournal(file)
	if err != nil {
		return nil, err
	}
	return judge(ops), nil
}

// nobodyRestarted checks that every node still lives its first life.
func (w *world) nobodyRestarted() {
	for _, n := range w.nodes {
		err := n.alive()
		if err != nil {
			w.broke("%v", err)
		}
	}
}

// errIdle is why a scenario proves nothing.
var errIdle = errors.New("too little was done to prove anything")

// busyEnough fails a scenario whose load achieved nothing.
func (w *world) busyEnough(h *history, least int) error {
	if h.ok < least {
		return fmt.Errorf("%w: %d requests succeeded, wanted %d", errIdle, h.ok, least)
	}
	return nil
}
