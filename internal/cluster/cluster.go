// Package cluster starts throw-away database servers from what Debian
// installs: PostgreSQL, alone or with a standby, and MariaDB. It knows where
// their binaries are, how to make an empty one that answers within a second or
// two, and how to kill one like a power cut does. Begin with Postgres and
// MariaDB; what one can do is on Server.
//
// It is for tests, faults and measurements. It must never hold anything worth
// keeping: whoever can connect to 127.0.0.1 on the machine is let in as
// superuser, so that no test has a password to carry.
package cluster

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"
)

const (
	account   = "gatehouse" // the superuser of every server here
	patience  = time.Minute // for a server to answer or stop, when ctx has no deadline
	firstPort = 20_000      // below the range that outgoing connections take theirs from
	lastPort  = 32_000      // (Linux: 32768 and up), so that a killed server finds its port free
)

// Options says what server is wanted. Dir is needed, the rest has good zero
// values.
type Options struct {
	Dir      string            // data, sockets, logs; made if missing. A server that is there already is started as it is
	Fast     bool              // nothing is forced to disk, little memory: for unit tests. False: as durable as the engine can be
	Settings map[string]string // the engine's own settings, over those of this package
	Port     int               // on 127.0.0.1; 0: a free one, kept for the server's life
}

// engine is what differs between PostgreSQL and MariaDB.
type engine interface {
	install(ctx context.Context, s *Server) error
	command(s *Server) ([]string, error)
	url(s *Server, database string) string
	run(ctx context.Context, s *Server, database, statements string) (string, error)
	stop() (orderly, orphaned syscall.Signal)
}

// Server is a database server on 127.0.0.1, running or not. It dies with the
// process that started it. It is safe for concurrent use.
type Server struct {
	engine engine
	o      Options
	who    *syscall.Credential // whom it runs as; nil: as we do

	mu   sync.Mutex // guards port and proc
	port int
	proc *process // nil before the first start
}

// Postgres makes a PostgreSQL server in o.Dir, unless there is one, and starts
// it. It returns when the server answers. ctx bounds the start alone.
func Postgres(ctx context.Context, o Options) (*Server, error) {
	bin, err := postgresBinaries()
	if err != nil {
		return nil, err
	}
	return open(ctx, postgres{bin: bin}, o)
}

// MariaDB is Postgres for MariaDB.
func MariaDB(ctx context.Context, o Options) (*Server, error) {
	bin, err := mariadbBinaries()
	if err != nil {
		return nil, err
	}
	return open(ctx, bin, o)
}

// Installed returns an error that says which Debian packages are missing, and
// nil when both engines can be started.
func Installed() error {
	_, pg := postgresBinaries()
	_, maria := mariadbBinaries()
	return errors.Join(pg, maria)
}

func open(ctx context.Context, e engine, o Options) (*Server, error) {
	s, err := prepare(e, o)
	if err != nil {
		return nil, err
	}
	_, err = os.Stat(s.data())
	if errors.Is(err, os.ErrNotExist) {
		err = e.install(ctx, s)
	}
	if err != nil {
		return nil, err
	}
	return s, s.startSomewhere(ctx)
}

// prepare makes the folder, such that the server's account can use it.
func prepare(e engine, o Options) (*Server, error) {
	if o.Dir == "" {
		return nil, errors.New("cluster: Options.Dir is empty: name a folder for the server")
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, err
	}
	o.Dir = dir
	o.Settings = maps.Clone(o.Settings)
	s := &Server{engine: e, o: o, port: o.Port}
	err = os.MkdirAll(dir, 0o755)
	if err != nil {
		return nil, err
	}
	s.who, err = unprivileged()
	if err != nil || s.who == nil {
		return s, err
	}
	err = os.Chown(dir, int(s.who.Uid), int(s.who.Gid))
	if err != nil {
		return nil, err
	}
	return s, openWay(dir)
}

// startSomewhere starts the server on its port. Where the port was ours to
// choose, somebody may take it between the choice and the start: then it is
// another.
func (s *Server) startSomewhere(ctx context.Context) error {
	if s.port != 0 {
		return s.Start(ctx)
	}
	for try := 0; ; try++ {
		port, err := freePort(ctx)
		if err != nil {
			return err
		}
		s.mu.Lock()
		s.port = port
		s.mu.Unlock()
		err = s.Start(ctx)
		if err == nil || try == 3 || !errors.Is(err, errEnded) {
			return err
		}
	}
}

func freePort(ctx context.Context) (int, error) {
	var lc net.ListenConfig
	for range 100 {
		port := firstPort + rand.N(lastPort-firstPort)
		l, err := lc.Listen(ctx, "tcp", "127.0.0.1:"+strconv.Itoa(port))
		if err == nil {
			return port, l.Close()
		}
	}
	return 0, fmt.Errorf("cluster: no free port between %d and %d on 127.0.0.1", firstPort, lastPort)
}

func (s *Server) data() string    { return filepath.Join(s.o.Dir, "data") }
func (s *Server) logFile() string { return filepath.Join(s.o.Dir, "log") }

// URL is the database's address in the form that store.Options.URL takes.
func (s *Server) URL(database string) string { return s.engine.url(s, database) }

// Addr is where the server listens, 127.0.0.1:port.
func (s *Server) Addr() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return "127.0.0.1:" + strconv.Itoa(s.port)
}

// Exec runs statements, divided by semicolons, as superuser on a connection of
// its own. An empty database name means the server's own: what no database is
// needed for.
func (s *Server) Exec(ctx context.Context, database, statements string) error {
	_, err := s.engine.run(ctx, s, database, statements)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	return err
}

// Query runs one statement like Exec and returns the first column of its first
// row as text: empty for NULL, sql.ErrNoRows when there is no row.
func (s *Server) Query(ctx context.Context, database, statement string) (string, error) {
	return s.engine.run(ctx, s, database, statement)
}

// CreateDatabase makes an empty database. The name is a lower-case word.
func (s *Server) CreateDatabase(ctx context.Context, name string) error {
	return s.Exec(ctx, "", "CREATE DATABASE "+name)
}
