package store

import (
	"context"
	"strings"
	"testing"
	"time"
)

func TestMysqlConfig_readsEveryFormOfTheAddress(t *testing.T) {
	for _, c := range []struct{ raw, user, password, net, addr, database string }{
		{"mysql://ada:secret@db.example:3307/auth", "ada", "secret", "tcp", "db.example:3307", "auth"},
		{"mysql://ada:secret@db.example/auth", "ada", "secret", "tcp", "db.example:3306", "auth"},
		{"mysql://ada@127.0.0.1/auth", "ada", "", "tcp", "127.0.0.1:3306", "auth"},
		{"mysql://db.example/auth", "", "", "tcp", "db.example:3306", "auth"},
		{"mysql://ada:p%40ss%2Fw%3Fo%23r%25d%3A@db.example/auth", "ada", "p@ss/w?o#r%d:", "tcp", "db.example:3306", "auth"},
		{"mysql://ada:p(w)@db.example/auth", "ada", "p(w)", "tcp", "db.example:3306", "auth"},
		{"mysql://a%3Ada:x@db.example/auth", "a:da", "x", "tcp", "db.example:3306", "auth"},
		{"mysql://ada:secret@[::1]:3307/auth", "ada", "secret", "tcp", "[::1]:3307", "auth"},
		{"mysql://ada:secret@[::1]/auth", "ada", "secret", "tcp", "[::1]:3306", "auth"},
		{"mysql://ada@db.example/auth?timeout=3s&tls=skip-verify", "ada", "", "tcp", "db.example:3306", "auth"},
		{"ada:secret@tcp(db.example:3307)/auth", "ada", "secret", "tcp", "db.example:3307", "auth"},
		{"ada:secret@tcp(db.example)/auth?timeout=3s", "ada", "secret", "tcp", "db.example:3306", "auth"},
		{"ada:p@ss:w/ord@tcp(db.example:3307)/auth", "ada", "p@ss:w/ord", "tcp", "db.example:3307", "auth"},
		{"ada:secret@unix(/run/mysqld/mysqld.sock)/auth", "ada", "secret", "unix", "/run/mysqld/mysqld.sock", "auth"},
		{"ada:secret@(db.example)/auth", "ada", "secret", "tcp", "db.example:3306", "auth"},
		{"root@localhost/gotrue", "root", "", "tcp", "localhost:3306", "gotrue"},
		{"root:secret@localhost/gotrue", "root", "secret", "tcp", "localhost:3306", "gotrue"},
		{"root:secret@localhost:3307/gotrue?timeout=3s", "root", "secret", "tcp", "localhost:3307", "gotrue"},
		{"root:p@ss/w@localhost/gotrue", "root", "p@ss/w", "tcp", "localhost:3306", "gotrue"},
		{"root:p@(x)@localhost/gotrue", "root", "p@(x)", "tcp", "localhost:3306", "gotrue"},
	} {
		cfg, err := mysqlConfig(c.raw)
		if err != nil {
			t.Errorf("%s: %v", c.raw, err)
			continue
		}
		if cfg.User != c.user || cfg.Passwd != c.password || cfg.Net != c.net || cfg.Addr != c.addr || cfg.DBName != c.database {
			t.Errorf("%s was read as user %q, password %q, %s %q, database %q", c.raw, cfg.User, cfg.Passwd, cfg.Net, cfg.Addr, cfg.DBName)
		}
	}
}

// Whatever an operator asks for, MySQL must behave as the other engines do, and
// count in UTF-8 and UTC.
func TestMysqlConfig_isStrictWhateverIsAsked(t *testing.T) {
	for _, raw := range []string{
		"mysql://ada@db.example/auth",
		"root@localhost/gotrue",
		"ada@tcp(db.example)/auth?charset=gbk&collation=gbk_chinese_ci&loc=Asia%2FTokyo&parseTime=true&clientFoundRows=false&rejectReadOnly=false",
		"ada@tcp(db.example)/auth?charset=sjis,latin1",
		"ada@tcp(db.example)/auth?sql_mode=%27NO_BACKSLASH_ESCAPES%27&time_zone=%27%2B09%3A00%27",
	} {
		cfg, err := mysqlConfig(raw)
		if err != nil {
			t.Errorf("%s: %v", raw, err)
			continue
		}
		mode, zone := cfg.Params["sql_mode"], cfg.Params["time_zone"]
		if !cfg.ClientFoundRows || !cfg.RejectReadOnly || cfg.ParseTime || cfg.Loc != time.UTC || zone != "'+00:00'" ||
			!strings.Contains(mode, "STRICT_ALL_TABLES") || strings.Contains(mode, "NO_BACKSLASH_ESCAPES") {
			t.Errorf("%s was read as %+v", raw, cfg)
		}
		if dsn := cfg.FormatDSN(); !strings.Contains(dsn, "charset=utf8mb4&collation=utf8mb4_bin") || strings.Count(dsn, "charset=") != 1 {
			t.Errorf("%s speaks another character set: %s", raw, dsn)
		}
	}
}

func TestMysqlConfig_refusesWhatItCannotMean(t *testing.T) {
	for raw, says := range map[string]string{
		"mysql://ada:secret@db.example":                       "names no database",
		"mysql://ada:secret@db.example/":                      "names no database",
		"ada:secret@tcp(db.example)/":                         "names no database",
		"ada:secret@localhost":                                "names no database",
		"mysql://ada:sec%ret@db.example/auth":                 "percent-encoded",
		"mysql://ada:secret@db.example:port/auth":             "percent-encoded",
		"mysql://ada:secret@db.example/auth?timeout=secret":   "cannot read it",
		"mysql://ada:secret@db.example/auth?tls=secret":       "cannot read it",
		"mysql://ada:secret@db.example/auth?loc=secret":       "cannot read it",
		"mysql://ada:secret@db.example/auth?strict=true":      "strict",
		"ada:secret@tcp(db.example)/auth?strict=false":        "strict",
		"ada:secret@tcp(db.example/auth":                      "cannot read it",
		"ada:secret@tcp(db.example)auth":                      "cannot read it",
		"ada:secret@tcp(db.example)/auth?maxAllowedPacket=-x": "cannot read it",
	} {
		cfg, err := mysqlConfig(raw)
		if err == nil {
			t.Errorf("%s was read as %s", raw, cfg.FormatDSN())
			continue
		}
		if !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "sec%ret") {
			t.Errorf("%s: %v; want %q and no password", raw, err, says)
		}
	}
}

// No password comes out with the error of a start: it is in every log.
func TestOpen_neverQuotesAPassword(t *testing.T) {
	const password = "s3cr3t"
	// Port 1 refuses at once, and where no port can be named, nobody listens at
	// 3306 either: so that every address that can be read fails at connecting.
	for _, raw := range []string{
		"mysql://ada:" + password + "@127.0.0.1:1/auth",
		"mysql://ada:" + password + "?x@127.0.0.1:1/auth",
		"mysql://ada:" + password + "/x@127.0.0.1:1/auth",
		"mysql://ada:" + password + "#x@127.0.0.1:1/auth",
		"mysql://ada:x@" + password + "@127.0.0.1:1/auth",
		"mysql://ada:%zz" + password + "@127.0.0.1:1/auth",
		"mysql://ada:[" + password + "@127.0.0.1:1/auth",
		"mysql:ada:" + password + "@127.0.0.1:1/auth",
		"ada:" + password + "@tcp(127.0.0.1:1)/auth",
		"ada:x?" + password + "@tcp(127.0.0.1:1)/auth",
		"ada:x/" + password + "@tcp(127.0.0.1:1)/auth",
		"ada:" + password + "@127.0.0.1:1/auth",
		"ada:x?" + password + "@127.0.0.1:1/auth",
		"ada:" + password + "?x@127.0.0.1:1/auth",
		"ada:x/" + password + "@127.0.0.1:1/auth",
		"ada:x(" + password + "@127.0.0.1:1/auth",
		"ada:x)(" + password + ")@127.0.0.1:1/auth",
		"ada:" + password + "@127.0.0.1:1",
		"postgres://ada:" + password + "@127.0.0.1:1/auth",
		"postgres://ada:x@" + password + "@127.0.0.1:1/auth",
		"postgres://ada:" + password + "?x@127.0.0.1:1/auth",
		"postgres://ada:" + password + "/x@127.0.0.1:1/auth",
		"postgres://ada:" + password + "#x@127.0.0.1:1/auth",
		"postgres://ada:%zz" + password + "@127.0.0.1:1/auth",
		"postgres://ada:[" + password + "@127.0.0.1:1/auth",
		"postgres://ada@127.0.0.1:1/auth?password=" + password,
		"postgres://ada:" + password + "@127.0.0.1:1,127.0.0.1:1/auth?target_session_attrs=read-write",
		"postgres://ada:" + password + "@127.0.0.1:1/auth?sslmode=nonsense",
		"postgres://ada:" + password + "@127.0.0.1:1/auth?pool_max_conns=nonsense",
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		db, err := Open(ctx, Options{URL: raw, Now: time.Now, StatementTimeout: time.Second, TransactionTimeout: time.Second})
		cancel()
		if err == nil {
			t.Errorf("%s: somebody answered", raw)
			_ = db.Close()
			continue
		}
		if strings.Contains(err.Error(), password) {
			t.Errorf("%s: the error holds the password: %v", raw, err)
		}
	}
}

func FuzzMysqlConfig(f *testing.F) {
	for _, s := range []string{
		"mysql://ada:%s@db.example:3307/auth?tls=skip-verify", "ada:%s@tcp(db.example)/auth", "root:%s@localhost/gotrue", "%s", "mysql://%s", "a:%s@/", "@", "(", ")/?", "mysql://[::1%25eth0]:%s/x",
	} {
		for _, p := range []string{"s3cr3t", "", "@", "/", "?", "%", "%zz", "(", ")", "strict=", "&strict=true", "#", "[", "]", ":", "\x00", "\xff", "é"} {
			f.Add(strings.ReplaceAll(s, "%s", p))
		}
	}
	f.Fuzz(func(t *testing.T, raw string) {
		cfg, err := mysqlConfig(raw) // must not panic
		if err != nil {
			// Its own words alone: nothing of what was given, which may be a password.
			if len(raw) > 8 && !strings.Contains("store: DATABASE_URL: ", raw) && strings.Contains(err.Error(), raw) {
				t.Errorf("%q: the error quotes it: %v", raw, err)
			}
			return
		}
		if cfg.DBName == "" || !cfg.ClientFoundRows || cfg.Params["time_zone"] != "'+00:00'" {
			t.Errorf("%q was read as %+v", raw, cfg)
		}
	})
}
