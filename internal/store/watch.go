package store

// Refreshed is what Watch is told of a session that went on to its next
// generation. It is no event: the audit trail does not grow with requests.
const Refreshed = "session.refreshed"

// Watch has f called, from many goroutines, with the name of every event this
// node commits, and with Refreshed, once each and after the commit. f must be
// quick. It is called before anything is written.
func (db *DB) Watch(f func(name string)) { db.watcher.Store(&f) }

// note remembers something for Watch.
func (tx *Tx) note(name string) {
	if tx.db.watcher.Load() != nil {
		tx.done = append(tx.done, name)
	}
}

// tell calls the watcher with what a transaction did, if it was committed.
func (db *DB) tell(tx *Tx, err error) error {
	if err != nil || tx == nil || len(tx.done) == 0 {
		return err
	}
	f := *db.watcher.Load()
	for _, name := range tx.done {
		f(name)
	}
	return nil
}

// Pool is the state of the connections to the database.
type Pool struct {
	Open, InUse int
	Waits       int64 // since the start: how often none was free
}

// Pool tells how the connections are used.
func (db *DB) Pool() Pool {
	e, ok := db.engine.(interface{ connections() Pool })
	if !ok {
		return Pool{}
	}
	return e.connections()
}

func (db *sqliteDB) connections() Pool {
	// The readers; the writer's queue is the commits of others.
	return Pool{Open: len(db.conns), InUse: cap(db.readers) - len(db.readers)}
}

func (db *postgresDB) connections() Pool {
	s := db.pool.Stat()
	return Pool{Open: int(s.TotalConns()), InUse: int(s.AcquiredConns()), Waits: s.EmptyAcquireCount()}
}

func (db *mysqlDB) connections() Pool {
	s := db.pool.Stats()
	return Pool{Open: s.OpenConnections, InUse: s.InUse, Waits: s.WaitCount}
}
