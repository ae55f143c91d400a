package limit

// MaxKeys is the most counters a Limiter keeps.
const MaxKeys = maxKeys

// Len returns the number of counters, by which tests see that memory is bounded.
func (l *Limiter) Len() int {
	n := 0
	for i := range l.shards {
		s := &l.shards[i]
		s.mu.Lock()
		n += len(s.counters)
		queued := 0
		for _, q := range s.names {
			queued += len(*q)
		}
		if queued != len(s.counters) {
			panic("limit: the queues and the map hold different counters")
		}
		s.mu.Unlock()
	}
	return n
}
