package telemetry

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

const (
	logPatience = 50 * time.Millisecond // what a line may wait for those who read the log
	logQueue    = 1024                  // lines kept for readers who have stopped reading
	logLong     = 64 << 10              // bytes; more are not kept for the next line
	logFarewell = time.Second           // what the end of the server waits for them
)

// Log is where the lines of the log go: a file or a stream. A write that fails,
// as on a full volume, or that does not end, as on a pipe nobody reads, costs
// lines, which are counted, and never a request: Write always succeeds, and
// soon.
//
// While all is well a line is written when Write returns, so that it is there
// even if the process is killed next.
type Log struct {
	path    string // empty: a stream
	lines   chan line
	written chan int64 // number of the last line that somebody waited for
	ended   chan struct{}
	dropped atomic.Int64
	stuck   atomic.Bool // a line was waited for in vain: no other is, until all are written

	mu     sync.Mutex // guards all below; held by Write
	count  int64
	free   []byte // for the next line
	timer  *time.Timer
	closed bool

	outMu sync.Mutex // guards both below; held while a line is written
	out   io.Writer
	file  *os.File // the same, when it is ours to close
}

type line struct {
	text   []byte
	number int64 // of those somebody waits for; else 0
}

// NewLog returns a log on a stream, which stays open at its end.
func NewLog(stream io.Writer) *Log {
	l := &Log{
		out: stream, lines: make(chan line, logQueue), written: make(chan int64, 1), ended: make(chan struct{}),
		timer: time.NewTimer(time.Hour),
	}
	go l.run()
	return l
}

// OpenLog returns a log that appends to a file, which it makes, with its
// folder, for its owner alone.
func OpenLog(path string) (*Log, error) {
	err := os.MkdirAll(filepath.Dir(path), 0o700) // it may well be the data folder, before that is made
	if err != nil {
		return nil, err
	}
	f, err := appendTo(path)
	if err != nil {
		return nil, err
	}
	l := NewLog(f)
	l.path, l.file = path, f
	return l, nil
}

func appendTo(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
}

// Write takes one line (io.Writer). It never fails.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		l.dropped.Add(1)
		return len(p), nil
	}
	text := append(l.free[:0], p...)
	l.free = nil
	n := line{text: text}
	wait := !l.stuck.Load()
	if wait {
		l.count++
		n.number = l.count
	}
	select {
	case l.lines <- n:
	default:
		l.dropped.Add(1)
		l.free = text
		return len(p), nil
	}
	if !wait {
		return len(p), nil
	}
	l.timer.Reset(logPatience)
	for {
		select {
		case at := <-l.written:
			if at == n.number {
				if cap(text) <= logLong {
					l.free = text
				}
				return len(p), nil
			}
		case <-l.timer.C:
			l.stuck.Store(true)
			return len(p), nil
		}
	}
}

// run writes the lines, one after the other.
func (l *Log) run() {
	defer close(l.ended)
	cut := false // the last line was written in part: the next begins a new one
	for n := range l.lines {
		l.outMu.Lock()
		if cut {
			_, err := io.WriteString(l.out, "\n")
			cut = err != nil
		}
		done, err := l.out.Write(n.text)
		l.outMu.Unlock()
		if err != nil {
			l.dropped.Add(1)
			cut = cut || done > 0
		}
		if len(l.lines) == 0 {
			l.stuck.Store(false)
		}
		if n.number == 0 {
			continue
		}
		select {
		case <-l.written: // of a line nobody waits for any more
		default:
		}
		l.written <- n.number
	}
}

// Dropped is how many lines could not be written.
func (l *Log) Dropped() int64 { return l.dropped.Load() }

// Reopen opens the file anew, after something has moved it away. On a stream it
// does nothing. When it fails the log goes on in the old file.
func (l *Log) Reopen() error {
	if l.path == "" {
		return nil
	}
	f, err := appendTo(l.path)
	if err != nil {
		return fmt.Errorf("telemetry: log: %w", err)
	}
	l.outMu.Lock()
	old := l.file
	l.out, l.file = f, f
	l.outMu.Unlock()
	return old.Close()
}

// Close writes what is still waiting, for a second at most.
func (l *Log) Close() error {
	l.mu.Lock()
	again := l.closed
	if !again {
		l.closed = true
		close(l.lines)
	}
	l.mu.Unlock()
	if again {
		return nil
	}
	t := time.NewTimer(logFarewell)
	defer t.Stop()
	select {
	case <-l.ended:
	case <-t.C:
		return errors.New("telemetry: log: the last lines could not be written")
	}
	l.outMu.Lock()
	defer l.outMu.Unlock()
	if l.file == nil {
		return nil
	}
	return l.file.Close()
}
