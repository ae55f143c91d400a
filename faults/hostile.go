package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// hostile has clients do on purpose what no good client does: send a byte a
// second, read nothing, hold thousands of connections, send what is dear to
// read, ask for more than can be done. Everybody else must hardly notice.
func hostile() []scenario {
	return []scenario{
		{name: "slow-clients/sqlite", bound: time.Minute, run: slowClients},
		{name: "idle-connections/sqlite", bound: time.Minute, run: idleConnections},
		{name: "bombs/sqlite", bound: 45 * time.Second, run: bombs},
		{name: "sign-in-storm/sqlite", bound: time.Minute, run: signInStorm},
		{name: "overload/postgres", bound: 90 * time.Second, run: overload},
	}
}

// lone starts one node on an engine, with further settings, and signs somebody
// up on it.
func (t *trial) lone(ctx context.Context, engine string, more ...string) (*node, *bystander, error) {
	db, err := t.database(ctx, engine, t.dir)
	if err != nil {
		return nil, nil, err
	}
	w, err := t.openOn(ctx, db, more...)
	if err != nil {
		return nil, nil, err
	}
	n, err := w.addNode(ctx, w.o.bin, w.env)
	if err != nil {
		return nil, nil, err
	}
	b := &bystander{client: newClient(nil, n.url()), base: n.url()}
	got := b.client.send(ctx, ask{Op: opSignUp, Email: "bystander@example.com", Password: bystanderPassword})
	if got.outcome() != okay || got.Access == "" {
		return nil, nil, fmt.Errorf("sign-up: %d %s", got.Status, got.Err)
	}
	b.access = got.Access
	return n, b, nil
}

// bystander is a good client beside the others, asking for its user a hundred
// times a second, every tenth time over a new connection.
type bystander struct {
	client *client
	base   string
	access string
}

const (
	bystanderPassword = "correct horse battery"
	bystanderEvery    = 10 * time.Millisecond
)

// watch has the bystander ask for that long, whether or not earlier questions
// have been answered, and returns how long the answers took.
func (b *bystander) watch(ctx context.Context, d time.Duration) timings {
	fresh := &http.Client{Timeout: answerTimeout, Transport: &http.Transport{DisableKeepAlives: true}}
	return openLoop(ctx, d, bystanderEvery, func(i int) (int, error) {
		if i%10 == 0 {
			return b.askOver(fresh)
		}
		return b.askUser(i)
	})
}

func (b *bystander) askUser(int) (int, error) { return b.askOver(b.client.http) }

func (b *bystander) askOver(c *http.Client) (int, error) {
	r, err := ask{Op: opUser, Access: b.access}.request(context.Background(), b.base)
	if err != nil {
		return 0, err
	}
	return exchange(c, r)
}

// exchange makes a request and returns the status, once the answer is in.
func exchange(c *http.Client, r *http.Request) (int, error) {
	res, err := c.Do(r)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, res.Body)
	if (res.StatusCode == http.StatusServiceUnavailable || res.StatusCode == http.StatusTooManyRequests) && res.Header.Get("Retry-After") == "" {
		err = errors.Join(err, fmt.Errorf("%d without Retry-After", res.StatusCode))
	}
	return res.StatusCode, err
}

// timing is one answer.
type timing struct {
	nth      int // as the load counts them
	status   int
	err      error
	sent     time.Time
	answered time.Time
}

func (t timing) took() time.Duration { return t.answered.Sub(t.sent) }

type timings []timing

// openLoop calls f every so often for that long and waits for the last answer.
// It never waits for one before asking again, as the world does not.
func openLoop(ctx context.Context, d, every time.Duration, f func(i int) (status int, err error)) timings {
	var mu sync.Mutex // guards all
	var all timings
	var wait sync.WaitGroup
	began := time.Now()
	for i := 0; time.Since(began) < d && ctx.Err() == nil; i++ {
		pause(ctx, time.Until(began.Add(time.Duration(i)*every)))
		wait.Go(func() {
			t := timing{nth: i, sent: time.Now()}
			t.status, t.err = f(i)
			t.answered = time.Now()
			mu.Lock()
			all = append(all, t)
			mu.Unlock()
		})
	}
	wait.Wait()
	return all
}

// closedLoop has so many callers ask one after the other for that long.
func closedLoop(ctx context.Context, callers int, d time.Duration, f func(i int) (status int, err error)) timings {
	var mu sync.Mutex // guards all and next
	var all timings
	next := 0
	began := time.Now()
	each(callers, func(int) {
		for time.Since(began) < d && ctx.Err() == nil {
			mu.Lock()
			i := next
			next++
			mu.Unlock()
			t := timing{nth: i, sent: time.Now()}
			t.status, t.err = f(i)
			t.answered = time.Now()
			mu.Lock()
			all = append(all, t)
			mu.Unlock()
		}
	})
	return all
}

// with returns the answers of these statuses.
func (all timings) with(statuses ...int) (some timings) {
	for _, t := range all {
		if t.err == nil && slices.Contains(statuses, t.status) {
			some = append(some, t)
		}
	}
	return some
}

// others describes an answer of another status, or none at all.
func (all timings) others(statuses ...int) (n int, example string) {
	for _, t := range all {
		if t.err != nil || !slices.Contains(statuses, t.status) {
			n++
			example = fmt.Sprintf("%d %v after %v", t.status, t.err, t.took().Round(time.Millisecond))
		}
	}
	return n, example
}

// answeredIn returns those answered between two instants.
func (all timings) answeredIn(from, to time.Time) (some timings) {
	for _, t := range all {
		if !t.answered.Before(from) && t.answered.Before(to) {
			some = append(some, t)
		}
	}
	return some
}

// p99 is the time that one in a hundred took longer than.
func (all timings) p99() time.Duration { return all.quantile(0.99) }

func (all timings) quantile(q float64) time.Duration {
	if len(all) == 0 {
		return 0
	}
	sorted := slices.SortedFunc(slices.Values(all), func(a, b timing) int { return cmp.Compare(a.took(), b.took()) })
	return sorted[min(int(q*float64(len(sorted))), len(sorted)-1)].took()
}

// usage is what a process has used.
type usage struct {
	resident int64         // bytes
	cpu      time.Duration // since it began
}

// clockTick is that of /proc/PID/stat, which is the same everywhere.
const clockTick = 10 * time.Millisecond

func (r *process) usage() (usage, error) {
	dir := "/proc/" + strconv.Itoa(r.cmd.Process.Pid)
	text, err := os.ReadFile(dir + "/statm")
	if err != nil {
		return usage{}, fmt.Errorf("cannot tell what %s uses (this needs Linux): %w", r.name, err)
	}
	var u usage
	if f := strings.Fields(string(text)); len(f) > 1 {
		pages, err := strconv.ParseInt(f[1], 10, 64)
		if err != nil {
			return u, err
		}
		u.resident = pages * int64(os.Getpagesize())
	}
	text, err = os.ReadFile(dir + "/stat")
	if err != nil {
		return u, err
	}
	// The name, in parentheses, may hold anything; user and system time are the
	// twelfth and thirteenth after it (proc_pid_stat(5)).
	_, rest, _ := strings.Cut(string(text), ") ")
	f := strings.Fields(rest)
	if len(f) < 13 {
		return u, errors.New("/proc/PID/stat has another form")
	}
	for _, v := range f[11:13] {
		ticks, err := strconv.ParseInt(v, 10, 64)
		if err != nil {
			return u, err
		}
		u.cpu += time.Duration(ticks) * clockTick
	}
	return u, nil
}

// peak looks at the memory every 20 ms; the function it returns ends that and
// returns the most it saw.
func (r *process) peak(ctx context.Context) (stop func() int64) {
	ctx, cancel := context.WithCancel(ctx)
	seen := make(chan int64, 1)
	go func() {
		var most int64
		for ctx.Err() == nil {
			if u, err := r.usage(); err == nil {
				most = max(most, u.resident)
			}
			pause(ctx, 20*time.Millisecond)
		}
		seen <- most
	}()
	return func() int64 {
		cancel()
		return <-seen
	}
}

// megabytes is for notes.
func megabytes(n int64) string { return fmt.Sprintf("%.0f MB", float64(n)/1e6) }

func ms(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000) }
