package token

import "sync"

// verified remembers tokens whose signature was found good: checking an ES256
// signature costs more than all the rest of a GET /user. Whether the session
// behind it still lives is asked of the database every time.
//
// It holds at most two generations of maxVerified; the older is forgotten when
// the younger is full, so rubbish can neither grow it nor pin anything.
type verified struct {
	mu         sync.Mutex // guards both maps
	young, old map[[32]byte]*Claims
}

const maxVerified = 4096

func newVerified() *verified { return &verified{young: map[[32]byte]*Claims{}} }

func (v *verified) get(sum [32]byte) (*Claims, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	c, ok := v.young[sum]
	if ok {
		return c, true
	}
	c, ok = v.old[sum]
	if ok {
		v.add(sum, c)
	}
	return c, ok
}

func (v *verified) put(sum [32]byte, c *Claims) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.add(sum, c)
}

func (v *verified) add(sum [32]byte, c *Claims) {
	if len(v.young) >= maxVerified {
		v.old, v.young = v.young, make(map[[32]byte]*Claims, maxVerified/4)
	}
	v.young[sum] = c
}
