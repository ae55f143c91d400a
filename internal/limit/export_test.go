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

// Settle waits until nothing is charged in the background.
func (s *Shared) Settle() {
	for {
		s.ledger.mu.Lock()
		done := s.ledger.flushing
		s.ledger.mu.Unlock()
		if done == nil {
			return
		}
		<-done
	}
}

// Len returns how many keys something is kept of.
func (s *Shared) Len() int {
	n := 0
	for i := range s.shards {
		s.accounts[i].mu.Lock()
		n += len(s.accounts[i].kept)
		s.accounts[i].mu.Unlock()
		s.shards[i].mu.Lock()
		n += len(s.shards[i].kept)
		s.shards[i].mu.Unlock()
	}
	return n
}
