package config_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"gatehouse/internal/config"

	"github.com/go-sql-driver/mysql"
	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgconn"
)

// sealed keeps the warning that asks several nodes for one master key away.
var sealed = "GATEHOUSE_MASTER_KEY=" + strings.Repeat("0f", 32)

func TestDatabaseURL_saysWhichEngine(t *testing.T) {
	for _, tc := range []struct{ driver, url, engine, want string }{
		{"", "", "sqlite", "sqlite:gatehouse-data/gatehouse.db"},
		{"sqlite", "", "sqlite", "sqlite:gatehouse-data/gatehouse.db"},
		{"SQLite3", "sqlite:g.db", "sqlite", "sqlite:g.db"},
		{"", "sqlite:///var/g.db", "sqlite", "sqlite:/var/g.db"},
		{"", "SQLite:a b@c:d.db", "sqlite", "sqlite:a b@c:d.db"},
		{"sqlite3", "gorm.db", "sqlite", "sqlite:gorm.db"}, // as in GoTrue's example.env
		{"sqlite3", "/var/lib/gorm.db", "sqlite", "sqlite:/var/lib/gorm.db"},

		{"", "postgres://u:p@h:5432/db", "postgres", "postgres://u:p@h:5432/db"},
		{"postgres", "postgresql://u:p@h/db", "postgres", "postgres://u:p@h/db"},
		{"postgresql", "Postgres://u:p@h/db?sslmode=verify-full&search_path=auth", "postgres", "postgres://u:p@h/db?sslmode=verify-full&search_path=auth"},
		{"", "postgres://u:p@h1:5432,h2:5433/db?target_session_attrs=read-write", "postgres", "postgres://u:p@h1:5432,h2:5433/db?target_session_attrs=read-write"},
		{"", "postgres://u@h1,h2,[::1]:5434/db?target_session_attrs=primary", "postgres", "postgres://u@h1,h2,[::1]:5434/db?target_session_attrs=primary"},
		{"", "postgres://u@h/db?target_session_attrs=any", "postgres", "postgres://u@h/db?target_session_attrs=any"},
		{"", "postgres://u:p%40%2F%3A%25@10.0.0.1/db", "postgres", "postgres://u:p%40%2F%3A%25@10.0.0.1/db"},
		{"", "postgres://u:p:q#?&=,[@h/db", "postgres", "postgres://u:p:q#?&=,[@h/db"},
		{"", "postgres://u:p@/db?host=/var/run/postgresql", "postgres", "postgres://u:p@/db?host=/var/run/postgresql"},
		{"", "postgres:///db?host=/run&options=-c%20a%3Db", "postgres", "postgres:///db?host=/run&options=-c%20a%3Db"},
		{"", "postgres://u@%2Frun%2Fpostgresql/db", "postgres", "postgres://u@%2Frun%2Fpostgresql/db"},
		{"", "postgres://h?dbname=db&user=u", "postgres", "postgres://h?dbname=db&user=u"},

		{"", "mysql://u:p@h:3306/db", "mysql", "mysql://u:p@h:3306/db"},
		{"mysql", "MYSQL://u:p@h/db?tls=skip-verify&timeout=5s", "mysql", "mysql://u:p@h/db?tls=skip-verify&timeout=5s"},
		{"mysql", "mariadb://u:p@[::1]:3306/db", "mysql", "mysql://u:p@[::1]:3306/db"},
		{"mariadb", "mysql://u:p%40%2F@h/d%25b", "mysql", "mysql://u:p%40%2F@h/d%25b"},
		{"", "mysql://root@tcp(127.0.0.1:3306)/gotrue?parseTime=true", "mysql", "root@tcp(127.0.0.1:3306)/gotrue?parseTime=true"},
		{"", "mysql://u:p/q@(h)/db", "mysql", "u:p/q@tcp(h:3306)/db"},

		{"", "user:pw@tcp(host:3306)/db?parseTime=true", "mysql", "user:pw@tcp(host:3306)/db?parseTime=true"},
		{"mysql", "root@tcp(127.0.0.1:3306)/gotrue_test?parseTime=true&sql_mode=TRADITIONAL&multiStatements=true", "mysql", "root@tcp(127.0.0.1:3306)/gotrue_test?parseTime=true&sql_mode=TRADITIONAL&multiStatements=true"},
		{"mysql", "gotrue:pw@/gotrue?parseTime=true", "mysql", "gotrue:pw@tcp(127.0.0.1:3306)/gotrue?parseTime=true"},
		{"", "user@unix(/path.sock)/db", "mysql", "user@unix(/path.sock)/db"},
		{"mysql", "user@tcp/db?charset=utf8mb4", "mysql", "user@tcp(127.0.0.1:3306)/db?charset=utf8mb4"},
		{"", "user@unix/db", "mysql", "user@unix(/tmp/mysql.sock)/db"},
		{"mysql", "root@localhost/gotrue", "mysql", "root@tcp(localhost:3306)/gotrue"},
		{"", "root@localhost/gotrue", "mysql", "root@tcp(localhost:3306)/gotrue"},
		{"mariadb", "root:pw@localhost:3307/gotrue", "mysql", "root:pw@tcp(localhost:3307)/gotrue"},
		{"", "root:p@s:s/w(o)rd@db.lan/gotrue?loc=Europe%2FBerlin", "mysql", "root:p@s:s/w(o)rd@tcp(db.lan:3306)/gotrue?loc=Europe%2FBerlin"},
		{"", "root@[::1]/gotrue", "mysql", "root@tcp([::1]:3306)/gotrue"},
		{"", "root@tcp([fe80::1%25eth0]:1)/gotrue", "mysql", "root@tcp([fe80::1%25eth0]:1)/gotrue"},
		{"mysql", "postgres:pw@localhost/gotrue", "mysql", "postgres:pw@tcp(localhost:3306)/gotrue"},
		{"", "mysql:pw@localhost/gotrue", "mysql", "mysql:pw@tcp(localhost:3306)/gotrue"},
	} {
		c, r := config.Load(source(t, []string{"DATABASE_URL=" + tc.url, "GOTRUE_DB_DRIVER=" + tc.driver, sealed}, nil))
		if err := r.Err(); err != nil || len(r.Warnings) != 0 {
			t.Errorf("%q, %q: got %v and warnings %v, want none", tc.driver, tc.url, err, r.Warnings)
			continue
		}
		if got, engine := c.DatabaseURL(), c.Database.Engine(); got != tc.want || engine != tc.engine {
			t.Errorf("%q, %q: got %s of %s, want %s of %s", tc.driver, tc.url, got, engine, tc.want, tc.engine)
		}
		if file := c.SQLiteFile(); (file != "") != (tc.engine == "sqlite") {
			t.Errorf("%q: got file %q", tc.url, file)
		}
	}
}

func TestDatabaseURL_isReadByTheDriversAsMeant(t *testing.T) {
	for url, want := range map[string][]string{
		"postgres://u:p%40%2F@h1:1,[::1]:2/d%20b?sslmode=disable": {"u", "p@/", "d b", "h1:1", "::1:2"},
		"postgres://u:p:q#?[@h/db?sslmode=disable":                {"u", "p:q#?[", "db", "h:5432"},
		"postgres://u@%2Frun/db?sslmode=disable":                  {"u", "", "db", "/run:5432"},
	} {
		c, _ := load(t, "DATABASE_URL="+url)
		p, err := pgconn.ParseConfig(c.DatabaseURL())
		if err != nil {
			t.Fatal(err)
		}
		got := []string{p.User, p.Password, p.Database, fmt.Sprintf("%s:%d", p.Host, p.Port)}
		for _, f := range p.Fallbacks {
			got = append(got, fmt.Sprintf("%s:%d", f.Host, f.Port))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", url, diff)
		}
	}
	for url, want := range map[string][]string{
		"root@localhost/gotrue":            {"root", "", "tcp", "localhost:3306", "gotrue"},
		"root:p@s:s/w(o)rd@db.lan:1/a":     {"root", "p@s:s/w(o)rd", "tcp", "db.lan:1", "a"},
		"user:pw@unix(/path.sock)/db":      {"user", "pw", "unix", "/path.sock", "db"},
		"mysql://root:p/w@(h)/db?a=b":      {"root", "p/w", "tcp", "h:3306", "db"},
		"gotrue:pw@/gotrue?parseTime=true": {"gotrue", "pw", "tcp", "127.0.0.1:3306", "gotrue"},
		"root:pw@[::1]/gotrue":             {"root", "pw", "tcp", "[::1]:3306", "gotrue"},
	} {
		c, _ := load(t, "DATABASE_URL="+url)
		m, err := mysql.ParseDSN(c.DatabaseURL())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, []string{m.User, m.Passwd, m.Net, m.Addr, m.DBName}); diff != "" {
			t.Errorf("%s (-want +got):\n%s", url, diff)
		}
	}
}

func TestDatabaseURL_faultsTellTheMendButNoPartOfTheURL(t *testing.T) {
	const (
		none  = "it does not begin with sqlite:, postgres:// or mysql://"
		pg    = "it does not begin with postgres://"
		apart = "cannot be told apart"
		host  = "or its port is not a number from 1 to 65535"
		db    = "it names no database"
	)
	for _, tc := range []struct{ driver, url, want string }{
		{"", "sqlite:", "it names no file"},
		{"", "sqlite://", "it names no file"},
		{"", "sqlite", "it names no file"},
		{"sqlite", "hunter2:hunter2@host/db", "it is not the name of a file, and DB_DRIVER says sqlite"},
		{"sqlite", "host=h password=hunter2", "it is not the name of a file"},
		{"", "hunter2", none},
		{"", "hunter2/hunter2", none},
		{"", "hunter2://hunter2@host/db", none},
		{"mysql", "oracle://u:hunter2@h/db", none},
		{"", "http://u:hunter2@h/db", none},
		{"", "://u:hunter2@h/db", none},

		{"", "postgres:u:hunter2@h/db", pg},
		{"", "Postgresql:/u:hunter2@h/db", pg},
		{"postgres", "u:hunter2@tcp(h)/db", pg},
		{"postgres", "host=h dbname=db password=hunter2", pg},
		{"", "HOST = h password=hunter2@", pg},
		{"", "user=u dbname=hunter2", pg},
		{"postgres", "hunter2", pg},
		{"", "postgres://u:hunter2/2@h/db", apart},
		{"", "postgres://u:hunter2@2@h/db", apart},
		{"", "postgres://u:hunter2%@h/db", apart},
		{"", "postgres://u:hunter2%zz@h/db", apart},
		{"", "postgres://u:hunter2%00@h/db", apart},
		{"", "postgres://u:12/hunter2@h/db", apart},
		{"", "postgres://u:hunter 2@h/db", "it contains a space; write it as %20"},
		{"", "postgres://u:hunter2@h/db ", "it contains a space"},
		{"", "postgres://u:hunter2@h/db\n", "it contains a line break"},
		{"mysql", "u:hunter2\x00@h/db", "it contains a line break"},
		{"", "postgres://", "it names no host"},
		{"", "postgres:///db", "it names no host"},
		{"", "postgres://u:hunter2@/db", "it names no host"},
		{"", "postgres://u:hunter2@h/db?host=", "it names no host"},
		{"", "postgres://u:hunter2@h:0/db", host},
		{"", "postgres://u:hunter2@h:65536/db", host},
		{"", "postgres://u:hunter2@h:+1/db", host},
		{"", "postgres://u:hunter2@h:/db", host},
		{"", "postgres://u:hunter2@h1,,h2/db", host},
		{"", "postgres://u:hunter2@h1,h2,/db", host},
		{"", "postgres://u:hunter2@::1/db", host},
		{"", "postgres://u:hunter2@[::1/db", host},
		{"", "postgres://u:hunter2@[h]/db", host},
		{"", "postgres://u:hunter2@[::1]x/db", host},
		{"", "postgres://u:hunter2@tcp(h:5432)/db", host},
		{"", "postgres://hunter2", db},
		{"", "postgres://u:hunter2@h", db},
		{"", "postgres://u:hunter2@h/", db},
		{"", "postgres://u:hunter2@h/?sslmode=require", db},
		{"", "postgres://u@h/db?password", "its parameters, after the ?, cannot be read"},
		{"", "postgres://u@h/db?password=hunter2=", "its parameters"},
		{"", "postgres://u@h/db?password=hunter2%", "its parameters"},
		{"", "postgres://u@h/db?a=b&&c=hunter2", "its parameters"},
		{"", "postgres://u:hunter2@h/db?sslmode=hunter2", "its sslmode is not a word known here; write disable,"},
		{"", "postgres://u:hunter2@h/db?target_session_attrs=hunter2", "its target_session_attrs is not a word known here"},
		{"", "postgres://u:hunter2@h/db?target_session_attrs=standby", "its target_session_attrs leads to a standby, which cannot write"},
		{"", "postgres://u:hunter2@h1,h2/db?target_session_attrs=any", "its target_session_attrs may lead to a standby"},
		{"", "postgres://u:hunter2@/db?host=h1,h2&target_session_attrs=any", "its target_session_attrs may lead to a standby"},

		{"", "mysql://u:hunter2/2@h/db", apart},
		{"", "mysql://u:12/hunter2@h/db", apart},
		{"", "mysql://u:hunter2#@h/db", apart},
		{"", "mysql://u:12#hunter2@h/db", apart},
		{"", "mysql://u:12?hunter2@h/db", apart},
		{"", "mysql://u:hunter2%zz@h/db", apart},
		{"", "mysql://u:hunter2%00@h/db", apart},
		{"", "mysql://u:hunter2@h:x/db", apart},
		{"", "mysql://u:hunter2@::1/db", host},
		{"", "mysql://", "it names no host"},
		{"", "mysql://u:hunter2@/db", "it names no host"},
		{"", "mysql://u:hunter2@h:0/db", host},
		{"", "mysql://u:hunter2@h:/db", host},
		{"", "mysql://u:hunter2@h/", db},
		{"", "mysql://u:hunter2@h", db},
		{"", "mysql://h/hunter2", "it names no user"},
		{"", "mysql://u:hunter2@h1:3306,h2:3306/db", "it names several hosts, which only PostgreSQL takes"},
		{"", "mysql://u:hunter2@h/a/b", "the name of the database or a parameter"},
		{"", "mysql://u:hunter2@h/db?parseTime=hunter2", "the name of the database or a parameter"},
		{"", "mysql://u:hunter2@h/db?tls=hunter2", "the name of the database or a parameter"},
		{"", "mysql://u:hunter2@h/db?strict=true", "its parameter strict is none any more"},
		{"", "mysql://u:hunter2@h/db?charset=gbk", "its charset is not utf8mb4, in which everything is stored; take it out"},
		{"", "u:hunter2@h/db?a=b&Charset=utf8mb4,gbk", "its charset is not utf8mb4"},
		{"", "u:hunter2@h/db?character_set_client=sjis", "its character_set_client is not"},
		{"", "u:hunter2@h/db?a=hunter2@b", "the name of the database or a parameter"},
		{"", "mysql://root:hunter2://@tcp(h)/db", "it has :// within"},

		{"mysql", "hunter2", "it is not user:password@host/database"},
		{"mysql", "hunter2@h", "it is not user:password@host/database"},
		{"", "@", "it is not user:password@host/database"},
		{"mysql", "/", "it is not user:password@host/database"},
		{"", "/@", "it is not user"},
		{"", "u:hunter2://@h/db", none},
		{"mysql", "@h/hunter2", "it names no user"},
		{"", ":hunter2@h/db", "it names no user"},
		{"", "u:hunter2@h/", db},
		{"", "u:hunter2@h/?a=b", db},
		{"", "u:hunter2@h:0/db", host},
		{"", "u:hunter2@hunter2:hunter2/db", host},
		{"", "u:hunter2@h1,h2/db", "it names several hosts"},
		{"", "u:hunter2@tcp(h1:1,h2:2)/db", "it names several hosts"},
		{"", "u:hunter2@tcp(h:1/db", "its address is neither tcp(host:port) nor unix(path)"},
		{"", "u:hunter2@tcp(h)x/db", "its address is neither"},
		{"", "u:hunter2@pipe(hunter2)/db", "its address is neither"},
		{"", "u:hunter2@tcp()/db", "it names no host"},
		{"", "u:hunter2@unix()/db", "it names no host"},
		{"", "u:hunter2@h/db?strict=true", "its parameter strict"},
		{"", "u:hunter2@tcp(h)/db?a=b&strict=", "its parameter strict"},
		{"", "u:hunter2@h/db?timeout=hunter2", "the name of the database or a parameter"},
		{"", "u:hunter2@h/d%zzb", "the name of the database or a parameter"},
		{"", "u:hunter2@h/d%00b", "the name of the database or a parameter"},
		{"", "u:hunter2@tcp(h)/db?loc=Europe/Berlin", "its address is neither"},
	} {
		_, r := config.Load(source(t, []string{"GOTRUE_DB_DATABASE_URL=" + tc.url, "GOTRUE_DB_DRIVER=" + tc.driver, sealed}, nil))
		if len(r.Faults) != 1 || r.Faults[0].Name != "GOTRUE_DB_DATABASE_URL" || !strings.Contains(r.Faults[0].String(), tc.want) || r.Faults[0].Mend == "" {
			t.Errorf("%q, %q: got %v, want %s", tc.driver, tc.url, r.Faults, tc.want)
		}
		if told := fmt.Sprint(r.Faults, r.Warnings); strings.Contains(told, "hunter2") {
			t.Errorf("%q: the secret is told: %s", tc.url, told)
		}
	}
}

func TestDatabase_driverMustNotContradictTheURL(t *testing.T) {
	for environ, want := range map[string]string{
		"GOTRUE_DB_DRIVER=postgres":                                    "GOTRUE_DB_DRIVER: it says postgres, and without DATABASE_URL the database is SQLite; set DATABASE_URL, or take DB_DRIVER out",
		"DATABASE_URL=postgres://u:hunter2@h/d GOTRUE_DB_DRIVER=mysql": "GOTRUE_DB_DRIVER: it says mysql, and DATABASE_URL is of postgres; take DB_DRIVER out",
		"DATABASE_URL=mysql://u:hunter2@h/d GOTRUE_DB_DRIVER=sqlite":   "GOTRUE_DB_DRIVER: it says sqlite, and DATABASE_URL is of mysql",
		"DATABASE_URL=sqlite:hunter2 GOTRUE_DB_DRIVER=mariadb":         "GOTRUE_DB_DRIVER: it says mariadb, and DATABASE_URL is of sqlite",
		"GOTRUE_DB_DRIVER=oracle":                                      `GOTRUE_DB_DRIVER: "oracle" is not a word known here; write sqlite, sqlite3, postgres, postgresql, mysql, mariadb, or leave it empty`,
		"DATABASE_URL=postgres://u:hunter2@h/d GOTRUE_DB_DRIVER=pgx":   `GOTRUE_DB_DRIVER: "pgx" is not a word known here`,
	} {
		_, r := config.Load(source(t, append(strings.Fields(environ), sealed), nil))
		if len(r.Faults) != 1 || !strings.HasPrefix(r.Faults[0].String(), want) || strings.Contains(fmt.Sprint(r), "hunter2") {
			t.Errorf("%s: got %v, want %s", environ, r.Faults, want)
		}
	}
}

func TestDatabase_namespaceIsAPrefixOrASchema(t *testing.T) {
	const (
		none   = "is not a prefix of table names; write at most 30 letters, digits and _, a letter first"
		schema = "names a schema, which only PostgreSQL has; leave the dot out"
		kept   = "begins like the names that databases keep for themselves"
	)
	long := strings.Repeat("n", 30)
	for _, tc := range []struct{ namespace, sqlite, postgres, mysql string }{
		{"", "", "", ""},
		{"auth", "", "", ""},
		{"A_1", "", "", ""},
		{"a_", "", "", ""},
		{long, "", "", ""},
		{"pgauth", "", "", ""},
		{"auth.", schema, "", schema},
		{long + ".", schema, "", schema},
		{long + "n", none, none, none},
		{"1a", none, none, none},
		{"_a", none, none, none},
		{"a-b", none, none, none},
		{"ä", none, none, none},
		{"a.b", none, none, none},
		{"a..", none, none, none},
		{".", none, none, none},
		{"a b", none, none, none},
		{`a"`, none, none, none},
		{"a`", none, none, none},
		{"a;drop table users--", none, none, none},
		{"a\n", none, none, none},
		{"a%", none, none, none},
		{"sqlite_x", kept, kept, kept},
		{"SQLite", kept, kept, kept},
		{"pg_x", kept, kept, kept},
		{"pg_x.", schema, kept, schema},
	} {
		for url, want := range map[string]string{"": tc.sqlite, "postgres://u@h/d": tc.postgres, "root@h/d": tc.mysql} {
			_, r := config.Load(source(t, []string{"DB_NAMESPACE=" + tc.namespace, "DATABASE_URL=" + url, sealed}, nil))
			got := ""
			if err := r.Err(); err != nil {
				got = err.Error()
			}
			// A control character is a fault of every text, before this one.
			if (got == "") != (want == "") || !strings.Contains(got, want) && !strings.Contains(got, "it contains a line break") {
				t.Errorf("%q on %q: got %q, want %q", tc.namespace, url, got, want)
			}
		}
	}
}

func TestDatabase_migratesByItselfOnSQLiteOnly(t *testing.T) {
	for _, tc := range []struct {
		url, answer string
		want        bool
	}{
		{"", "", true},
		{"", "true", true},
		{"", "0", false},
		{"postgres://u@h/d", "", false},
		{"postgres://u@h/d", "TRUE", true},
		{"postgres://u@h/d", "f", false},
		{"root@h/d", "", false},
		{"root@h/d", "1", true},
		{"mysql://u@h/d", " false ", false},
	} {
		c, _ := load(t, "DATABASE_URL="+tc.url, "GATEHOUSE_AUTO_MIGRATE="+tc.answer)
		if got := c.Database.Migrates(); got != tc.want {
			t.Errorf("%q with %q: got %v, want %v", tc.url, tc.answer, got, tc.want)
		}
	}
	_, r := config.Load(source(t, []string{"GATEHOUSE_AUTO_MIGRATE=maybe"}, nil))
	want := []config.Note{{Name: "GATEHOUSE_AUTO_MIGRATE", Problem: `"maybe" is neither true nor false`, Mend: "write true or false"}}
	if diff := cmp.Diff(want, r.Faults); diff != "" {
		t.Errorf("faults (-want +got):\n%s", diff)
	}
}

func TestDatabase_poolAndTimeoutsAreRead(t *testing.T) {
	c, r := load(t,
		"GOTRUE_DB_MAX_POOL_SIZE=20", "GOTRUE_DB_MAX_IDLE_POOL_SIZE=5", "GOTRUE_DB_CONN_MAX_LIFETIME=1h", "GOTRUE_DB_CONN_MAX_IDLE_TIME=10m",
		"GOTRUE_DB_HEALTH_CHECK_PERIOD=30s", "GATEHOUSE_DB_STATEMENT_TIMEOUT=4s", "GATEHOUSE_DB_LOCK_TIMEOUT=500ms",
		"GATEHOUSE_DB_TRANSACTION_TIMEOUT=8s", "GATEHOUSE_EVENTS_KEEP=24h")
	if len(r.Warnings) != 0 {
		t.Errorf("got warnings %v, want none", r.Warnings)
	}
	want := config.Database{
		Synchronous: "FULL", MaxConns: 20, MaxIdle: 5, ConnLifetime: time.Hour, ConnIdle: 10 * time.Minute, HealthCheck: 30 * time.Second,
		StatementTimeout: 4 * time.Second, LockTimeout: 500 * time.Millisecond, TransactionTimeout: 8 * time.Second, EventsKeep: 24 * time.Hour, SignupsKeep: 72 * time.Hour,
	}
	if diff := cmp.Diff(want, c.Database); diff != "" {
		t.Errorf("settings (-want +got):\n%s", diff)
	}
	// To a pool, zero is a time of its choosing: what has no end must not look like it.
	c, _ = load(t, "GOTRUE_DB_CONN_MAX_LIFETIME=0", "GOTRUE_DB_CONN_MAX_IDLE_TIME=0s", "GATEHOUSE_EVENTS_KEEP=0")
	const year = 365 * 24 * time.Hour
	if d := c.Database; d.ConnLifetime < year || d.ConnIdle < year || d.EventsKeep != 0 {
		t.Errorf("got %v, %v, %v, want more than a year twice, and 0", d.ConnLifetime, d.ConnIdle, d.EventsKeep)
	}
}

func TestDatabase_refusesNumbersThatMakeNoSense(t *testing.T) {
	for environ, want := range map[string]string{
		"GOTRUE_DB_MAX_POOL_SIZE=-1":           "GOTRUE_DB_MAX_POOL_SIZE: -1 is out of bounds; write 0 to 10000",
		"GOTRUE_DB_MAX_IDLE_POOL_SIZE=10001":   "GOTRUE_DB_MAX_IDLE_POOL_SIZE: 10001 is out of bounds",
		"GOTRUE_DB_CONN_MAX_LIFETIME=-1s":      "GOTRUE_DB_CONN_MAX_LIFETIME: -1s is too small; write 0 or more",
		"GOTRUE_DB_CONN_MAX_IDLE_TIME=soon":    `GOTRUE_DB_CONN_MAX_IDLE_TIME: "soon" is not a duration`,
		"GOTRUE_DB_HEALTH_CHECK_PERIOD=0":      "GOTRUE_DB_HEALTH_CHECK_PERIOD: 0s is too small; write 1s or more",
		"GATEHOUSE_DB_STATEMENT_TIMEOUT=0":     "GATEHOUSE_DB_STATEMENT_TIMEOUT: 0s is out of bounds; write 100ms to 1h",
		"GATEHOUSE_DB_LOCK_TIMEOUT=0":          "GATEHOUSE_DB_LOCK_TIMEOUT: 0s is out of bounds; write 10ms to 1h",
		"GATEHOUSE_DB_TRANSACTION_TIMEOUT=61m": "GATEHOUSE_DB_TRANSACTION_TIMEOUT: 1h1m0s is out of bounds; write 100ms to 1h",
		"GATEHOUSE_SIGNUPS_KEEP=23h59m":        "GATEHOUSE_SIGNUPS_KEEP: 23h59m0s is too small; write 24h or more, or 0 for ever",
		"GATEHOUSE_EVENTS_KEEP=23h59m":         "GATEHOUSE_EVENTS_KEEP: 23h59m0s is too small; write 24h or more, or 0 for ever",
		"GATEHOUSE_EVENTS_KEEP=-1h":            "GATEHOUSE_EVENTS_KEEP: -1h0m0s is too small; write 0 or more",
	} {
		_, r := config.Load(source(t, []string{environ}, nil))
		if len(r.Faults) != 1 || !strings.HasPrefix(r.Faults[0].String(), want) {
			t.Errorf("%s: got %v, want %s", environ, r.Faults, want)
		}
	}
}

func TestDatabase_warnsOfWhatNodesWouldStumbleOver(t *testing.T) {
	const key = "GATEHOUSE_MASTER_KEY: it is not set, and every node on this database needs the same one; put the same file master.key into DATA on every node, or set GATEHOUSE_MASTER_KEY"
	for environ, want := range map[string]string{
		"":                                    "",
		"DATABASE_URL=sqlite:g.db":            "",
		"DATABASE_URL=postgres://u@h/d":       key,
		"DATABASE_URL=mysql://u@h/d":          key,
		"DATABASE_URL=root@h/d":               key,
		"DATABASE_URL=root@h/d " + sealed:     "",
		"GATEHOUSE_DB_LOCK_TIMEOUT=4s":        "GATEHOUSE_DB_LOCK_TIMEOUT: it is longer than DB_STATEMENT_TIMEOUT, which ends the wait before; make it shorter",
		"GATEHOUSE_DB_STATEMENT_TIMEOUT=6s":   "GATEHOUSE_DB_STATEMENT_TIMEOUT: it is longer than DB_TRANSACTION_TIMEOUT, which ends the statement before; make it shorter",
		"GATEHOUSE_DB_TRANSACTION_TIMEOUT=2s": "GATEHOUSE_DB_STATEMENT_TIMEOUT: it is longer than DB_TRANSACTION_TIMEOUT",
	} {
		_, r := load(t, strings.Fields(environ)...)
		got := ""
		for _, n := range r.Warnings {
			got += n.String()
		}
		if (got == "") != (want == "") || !strings.HasPrefix(got, want) || len(r.Warnings) > 1 {
			t.Errorf("%q: got warnings %v, want %q", environ, r.Warnings, want)
		}
	}
	// Where the URL has a fault nobody knows which engine is meant.
	_, r := config.Load(source(t, []string{"DATABASE_URL=postgres://", "DB_NAMESPACE=auth."}, nil))
	if len(r.Faults) != 1 || len(r.Warnings) != 0 {
		t.Errorf("got %v and %v, want one fault", r.Faults, r.Warnings)
	}
}

// FuzzDatabaseURL: whatever is written, nothing panics; what is taken is what
// the driver of its engine takes too, and what is refused is not repeated.
func FuzzDatabaseURL(f *testing.F) {
	for _, seed := range []string{
		"", "sqlite:a", "postgres://u:p@h1:1,[::1]:2/db?sslmode=require", "mysql://u:p@h:1/db?tls=true", "u:p@tcp(h:1)/db?strict=1",
		"u@unix(/s)/d", "root@localhost/gotrue", "host=h user=u", "mysql://u@(h)/d", "postgres://%2Frun/d", "@/@(", "u@[::1]/d%",
	} {
		f.Add("", seed)
		f.Add("mysql", seed)
	}
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, driver, url string) {
		c, r := config.Load(config.Source{Environ: []string{"DATABASE_URL=" + url, "GATEHOUSE_DB_DRIVER=" + driver}, Dir: dir})
		if r.Err() != nil {
			for _, n := range r.Faults {
				if n.Name == "DATABASE_URL" && len(url) > 40 && strings.Contains(n.String(), url) {
					t.Errorf("the URL is told: %s", n)
				}
			}
			return
		}
		got := c.DatabaseURL()
		var err error
		switch c.Database.Engine() {
		case "sqlite":
			if !strings.HasPrefix(got, "sqlite:") || got == "sqlite:" {
				t.Errorf("got %q", got)
			}
		case "postgres":
			if !strings.Contains(url, "?") { // parameters may name files
				_, err = pgconn.ParseConfig(got)
			}
		case "mysql":
			if !strings.HasPrefix(got, "mysql://") {
				_, err = mysql.ParseDSN(got)
			}
		default:
			t.Errorf("%q has no engine", got)
		}
		if err != nil {
			t.Errorf("%q: %v", got, err)
		}
	})
}
