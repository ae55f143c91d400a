package store

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"
)

// writer is the one connection that writes to SQLite. Callers that wait at
// the same time share one durable commit: each runs in its own savepoint, so
// one that fails takes nothing of the others with it, and none is told «done»
// before the group is on disk. At 32 callers this is six times the commits of
// one transaction each.
type writer struct {
	c     *sqliteConn
	queue chan *job
	done  chan struct{}

	mu     sync.RWMutex // guards closed against a send on a closed queue
	closed bool
}

// maxGroup bounds how long the first of a group waits for the last.
const maxGroup = 64

type job struct {
	fn     func(conn) error
	state  atomic.Int32 // jobQueued → jobRunning, or → jobGone
	result chan error   // buffered: the writer never waits for a caller
}

const (
	jobQueued int32 = iota
	jobRunning
	jobGone
)

func startWriter(c *sqliteConn) *writer {
	w := &writer{c: c, queue: make(chan *job, 4*maxGroup), done: make(chan struct{})}
	go w.loop()
	return w
}

// do runs fn inside a group and returns once the group is durable. A caller
// whose context ends while its job is queued takes it back; once it runs, the
// caller stays, because fn writes to the caller's variables.
func (w *writer) do(ctx context.Context, fn func(conn) error) error {
	j := &job{fn: fn, result: make(chan error, 1)}
	err := w.enqueue(ctx, j)
	if err != nil {
		return err
	}
	select {
	case err = <-j.result:
	case <-ctx.Done():
		if j.state.CompareAndSwap(jobQueued, jobGone) {
			return ctx.Err()
		}
		err = <-j.result
	}
	var p *panicked
	if errors.As(err, &p) {
		panic(fmt.Sprintf("%v\n\nin a write transaction:\n%s", p.value, p.stack))
	}
	return err
}

func (w *writer) enqueue(ctx context.Context, j *job) error {
	w.mu.RLock()
	defer w.mu.RUnlock()
	if w.closed {
		return errClosed
	}
	if ctx.Err() != nil { // select would toss a coin, and do what nobody waits for
		return ctx.Err()
	}
	select {
	case w.queue <- j:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// close lets queued work finish.
func (w *writer) close() {
	w.mu.Lock()
	if !w.closed {
		w.closed = true
		close(w.queue)
	}
	w.mu.Unlock()
	<-w.done
}

func (w *writer) loop() {
	defer close(w.done)
	for j := range w.queue {
		w.group(j)
	}
}

// group runs first and whatever else is waiting, and commits once.
func (w *writer) group(first *job) {
	var ran []*job // to be answered by the commit
	var verdicts []error
	fatal := w.c.run("BEGIN IMMEDIATE")
	for j := first; j != nil; j = w.next(len(ran)) {
		if !j.state.CompareAndSwap(jobQueued, jobRunning) {
			continue
		}
		ran = append(ran, j)
		if fatal != nil {
			verdicts = append(verdicts, fatal)
			continue
		}
		var verdict error
		verdict, fatal = w.one(j)
		verdicts = append(verdicts, verdict)
	}
	if fatal == nil {
		fatal = w.c.run("COMMIT")
	}
	if fatal != nil { // a full disk, an I/O error: nothing of the group stands
		_ = w.c.run("ROLLBACK") // SQLite may have done so already
	}
	for i, j := range ran {
		if fatal != nil && verdicts[i] == nil {
			verdicts[i] = fatal
		}
		j.result <- verdicts[i]
	}
}

// next returns a job that is waiting already, or nil.
func (w *writer) next(n int) *job {
	if n >= maxGroup {
		return nil
	}
	select {
	case j := <-w.queue:
		return j // nil once the queue is closed and empty
	default:
		return nil
	}
}

// one runs a job in a savepoint. fatal spoils the whole group.
func (w *writer) one(j *job) (verdict, fatal error) {
	fatal = w.c.run("SAVEPOINT job")
	if fatal != nil {
		return fatal, fatal
	}
	verdict = safely(j.fn, w.c)
	if verdict != nil {
		fatal = w.c.run("ROLLBACK TO job")
		if fatal != nil {
			// A full disk may have rolled all back, and the savepoint with it: then
			// the verdict says why, and this only that it is gone.
			return verdict, errors.Join(verdict, fatal)
		}
	}
	return verdict, w.c.run("RELEASE job")
}

// panicked carries a panic from the writer's goroutine to the caller's.
type panicked struct {
	value any
	stack []byte
}

func (p *panicked) Error() string { return fmt.Sprint("store: panic: ", p.value) }

func safely(fn func(conn) error, c conn) (err error) {
	defer func() {
		v := recover()
		if v != nil {
			err = &panicked{v, debug.Stack()}
		}
	}()
	return fn(c)
}
