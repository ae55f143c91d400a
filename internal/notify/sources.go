package notify

import "sync"

// maxSources is how many templates of the operator's are remembered. Their
// number would otherwise be as many as there are languages, which come from
// requests.
const maxSources = 512

// sources are the places where templates of the operator's are.
type sources struct {
	mu    sync.Mutex // guards what follows
	known map[string]*remembered
	turn  uint64 // counts uses
}

// remembered is a source and what it is worth.
type remembered struct {
	*source
	used uint64 // turn of the last use
	had  bool   // there was a template once
}

func newSources() *sources { return &sources{known: map[string]*remembered{}} }

// at returns the source at from. Where there are too many the one unused for
// the longest is forgotten, first of those where nothing was ever found:
// strangers who ask for one language after another push out only each other.
func (s *sources) at(from string) *source {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.turn++
	r := s.known[from]
	if r == nil {
		if len(s.known) >= maxSources {
			s.forget()
		}
		r = &remembered{source: newSource(from)}
		s.known[from] = r
	}
	r.used = s.turn
	return r.source
}

// keep notes that there is a template at from.
func (s *sources) keep(from string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.known[from]; r != nil {
		r.had = true
	}
}

// forget drops the source that is worth least.
func (s *sources) forget() {
	least := ""
	var worth *remembered
	for from, r := range s.known {
		if worth == nil || !r.had && worth.had || r.had == worth.had && r.used < worth.used {
			least, worth = from, r
		}
	}
	delete(s.known, least)
}
