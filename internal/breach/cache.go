package breach

import (
	"bytes"
	"container/list"
	"sync"
	"time"
)

const (
	cachePrefixes = 256
	cacheBytes    = 4 << 20
	cacheOne      = 64 << 10 // the longest answer that is kept; real ones have about 20 kB
	cacheFor      = time.Hour
)

// cache keeps the last answers, the oldest making room. It knows prefixes, and
// not which password was asked for. The zero value is empty.
type cache struct {
	mu    sync.Mutex // guards all below
	by    map[string]*list.Element
	order list.List // of *answer, the oldest first
	size  int       // bytes of all rows
}

type answer struct {
	prefix string
	rows   []byte
	until  time.Time
}

func (c *cache) rows(prefix string, now time.Time) ([]byte, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.by[prefix]
	if e == nil {
		return nil, false
	}
	a := e.Value.(*answer)
	if !now.Before(a.until) {
		c.drop(e)
		return nil, false
	}
	return a.rows, true
}

func (c *cache) put(prefix string, rows []byte, now time.Time) {
	if len(rows) > cacheOne {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.by[prefix]; e != nil {
		c.drop(e)
	}
	for c.order.Len() > 0 && (c.order.Len() >= cachePrefixes || c.size+len(rows) > cacheBytes) {
		c.drop(c.order.Front())
	}
	if c.by == nil {
		c.by = map[string]*list.Element{}
	}
	// Cloned for its size: what was appended to may hold twice as much.
	c.by[prefix] = c.order.PushBack(&answer{prefix, bytes.Clone(rows), now.Add(cacheFor)})
	c.size += len(rows)
}

func (c *cache) drop(e *list.Element) {
	a := c.order.Remove(e).(*answer)
	delete(c.by, a.prefix)
	c.size -= len(a.rows)
}
