package secret

// Load tells how much work runs and waits now, and how much was refused since
// the start.
func (p *Pool) Load() (running, waiting int, refused int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.busy, p.waiting, p.refused
}

// Load is that of its pool.
func (h *Hasher) Load() (running, waiting int, refused int64) { return h.pool.Load() }
