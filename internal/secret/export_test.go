package secret

// Work is what one argon2id computation cost.
type Work struct {
	Params
	Salt, Tag int // bytes
}

// Count has note called before each argon2id computation of h, which is then
// done as ever.
func (h *Hasher) Count(note func(Work)) {
	derive := h.derive
	h.derive = func(password, salt []byte, time, memory uint32, threads uint8, size uint32) []byte {
		note(Work{Params{memory, time, threads}, len(salt), int(size)})
		return derive(password, salt, time, memory, threads, size)
	}
}

// Waiting returns how many wait for a slot.
func (p *Pool) Waiting() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.waiting
}

// Idle reports whether nothing runs, nobody waits and no record of anyone is
// left.
func (p *Pool) Idle() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.busy == 0 && p.waiting == 0 && len(p.lines) == 0 && len(p.turns) == 0 && p.longest() == 0
}
