package config

import (
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/go-sql-driver/mysql"
)

// The engines, as Database.Engine and the store name them.
const (
	sqliteEngine   = "sqlite"
	postgresEngine = "postgres"
	mysqlEngine    = "mysql" // MariaDB too
)

// never is longer than any connection lives, for pools whose own zero means a
// time of their choosing.
const never = 10 * 365 * 24 * time.Hour

// Engine is the kind of database that DATABASE_URL and DB_DRIVER name:
// "sqlite", "postgres" or "mysql", which is MariaDB too. It is empty when
// DATABASE_URL has a fault.
func (d Database) Engine() string {
	engine, _, _ := d.place()
	return engine
}

// Migrates reports whether a server that starts brings the tables up to date:
// as AUTO_MIGRATE says, else on SQLite only. A database that several nodes
// share may have older ones at work, so there the operator says when.
func (d Database) Migrates() bool {
	return d.AutoMigrate.Or(d.Engine() == sqliteEngine)
}

// DatabaseURL is what the store opens: sqlite:PATH (with the path of
// SQLiteFile), postgres://…, mysql://…, or the form of Go's MySQL driver,
// user:password@tcp(host:3306)/database. It holds the password.
func (c *Config) DatabaseURL() string {
	engine, where, _ := c.Database.place()
	if engine == sqliteEngine {
		return "sqlite:" + c.SQLiteFile()
	}
	return where
}

// SQLiteFile is the path of the database file: that of DATABASE_URL, or
// gatehouse.db in DATA. It is empty when the database is no file.
func (c *Config) SQLiteFile() string {
	engine, where, _ := c.Database.place()
	switch {
	case engine != sqliteEngine:
		return ""
	case where == "":
		return filepath.Join(c.Server.Data, "gatehouse.db")
	}
	return strings.TrimPrefix(where, "sqlite:")
}

// place is what DATABASE_URL and DB_DRIVER say together: the engine, and the
// URL in one of the forms of DatabaseURL, empty when none is set. An error is
// a refusal, without any part of the URL: whatever stands where a host is
// expected may be half a password.
func (d Database) place() (engine, where string, err error) {
	v := d.URL.Reveal()
	if v == "" {
		return sqliteEngine, "", nil
	}
	if strings.ContainsFunc(v, unicode.IsControl) {
		return "", "", refuse("it contains a line break or another control character", "write it on one line")
	}
	if scheme, file, _ := strings.Cut(v, ":"); strings.EqualFold(scheme, "sqlite") {
		return sqlitePlace(strings.TrimPrefix(file, "//"))
	}
	scheme, rest, written := strings.Cut(v, "://")
	switch scheme = strings.ToLower(scheme); {
	case !written:
		return barePlace(v, engineOf(d.Driver))
	case scheme == "postgres", scheme == "postgresql":
		engine, where, err = postgresEngine, "postgres://"+rest, postgresURL(rest)
	case scheme == "mysql", scheme == "mariadb":
		engine = mysqlEngine
		where, err = mysqlURL(rest)
	default:
		err = errNoEngine()
	}
	if err != nil {
		return "", "", err
	}
	return engine, where, nil
}

func errNoEngine() error {
	return refuse("it does not begin with sqlite:, postgres:// or mysql://", "write e.g. sqlite:gatehouse.db or postgres://user:password@host:5432/database")
}

// engineOf is the engine that a word of DB_DRIVER means, or "".
func engineOf(driver string) string {
	switch driver {
	case "sqlite", "sqlite3":
		return sqliteEngine
	case "postgres", "postgresql":
		return postgresEngine
	case "mysql", "mariadb":
		return mysqlEngine
	}
	return ""
}

func sqlitePlace(file string) (engine, where string, err error) {
	if file == "" {
		return "", "", refuse("it names no file", "write e.g. sqlite:gatehouse.db")
	}
	return sqliteEngine, "sqlite:" + file, nil
}

// barePlace reads what has no scheme: there DB_DRIVER decides, and MySQL is
// what is left when nothing does, because GoTrue knew nothing else.
func barePlace(v, driver string) (engine, where string, err error) {
	words := regexp.MustCompile(`(^|\s)(host|hostaddr|port|user|password|dbname|service)\s*=`) // of libpq's other form
	lower := strings.ToLower(v)
	switch {
	case driver == sqliteEngine:
		// Rather no file than one whose name is a password.
		if strings.ContainsAny(v, "@=:") {
			return "", "", refuse("it is not the name of a file, and DB_DRIVER says sqlite", "write e.g. sqlite:gatehouse.db")
		}
		return sqlitePlace(v)
	case driver == postgresEngine,
		driver == "" && (words.MatchString(lower) || strings.HasPrefix(lower, "postgres:") || strings.HasPrefix(lower, "postgresql:")):
		return "", "", refuse("it does not begin with postgres://", "write e.g. postgres://user:password@host:5432/database")
	case driver == "" && !strings.Contains(v, "@"):
		return "", "", errNoEngine()
	}
	where, err = driverForm(v)
	if err != nil {
		return "", "", err
	}
	return mysqlEngine, where, nil
}

// escapes is the mend for a URL that falls apart at the wrong place.
const escapes = "write special characters of names and passwords as escapes: @ is %40, / is %2F, : is %3A, ? is %3F, # is %23, % is %25"

// postgresURL checks what follows postgres://, in the reading of libpq and pgx
// (PostgreSQL manual, "Connection URIs"): the first @ ends the password,
// unless a / comes before it; hosts are separated by commas.
func postgresURL(rest string) error {
	if strings.ContainsFunc(rest, unicode.IsSpace) {
		return refuse("it contains a space", "write it as %20")
	}
	var login string
	if i := strings.IndexAny(rest, "@/"); i >= 0 && rest[i] == '@' {
		login, rest = rest[:i], rest[i+1:]
	}
	rest, query, _ := strings.Cut(rest, "?")
	hosts, name, _ := strings.Cut(rest, "/")
	if !escaped(login) || !escaped(name) || !escaped(hosts) || strings.Contains(rest, "@") {
		return refuse("the user name, password or database in it cannot be told apart", escapes)
	}
	settings, err := postgresSettings(query)
	if err != nil {
		return err
	}
	if hosts != "" {
		for host := range strings.SplitSeq(hosts, ",") {
			if err := postgresHost(host); err != nil {
				return err
			}
		}
	}
	if at, ok := settings["host"]; ok {
		hosts = at
	}
	if hosts == "" {
		return refuse("it names no host", "write e.g. postgres://user:password@host:5432/database, and for a socket postgres://user:password@/database?host=/var/run/postgresql")
	}
	if name == "" && settings["dbname"] == "" && settings["database"] == "" {
		return refuse("it names no database", "write e.g. postgres://user:password@host:5432/database")
	}
	return postgresWords(settings, strings.Contains(hosts, ","))
}

// postgresSettings reads the parameters of a URL: pairs with one = each.
func postgresSettings(query string) (map[string]string, error) {
	settings := map[string]string{}
	if query == "" {
		return settings, nil
	}
	for pair := range strings.SplitSeq(query, "&") {
		key, value, ok := strings.Cut(pair, "=")
		if !ok || !escaped(key) || !escaped(value) || strings.Contains(value, "=") {
			return nil, refuse("its parameters, after the ?, cannot be read", "write them as name=value, separated by &, with = in a value as %3D and % as %25")
		}
		key, _ = url.PathUnescape(key)
		settings[key], _ = url.PathUnescape(value)
	}
	return settings, nil
}

// postgresHost checks one host of a URL: a name, an address (with a : in
// brackets), or the escaped folder of a socket; each may have a port.
func postgresHost(v string) error {
	if socket, err := url.PathUnescape(v); err == nil && strings.HasPrefix(socket, "/") {
		return nil
	}
	host, _, ok := hostAndPort(v, "5432")
	if !ok || strings.Contains(host, ":") && v[0] != '[' {
		return refuse("a host in it is none, or its port is not a number from 1 to 65535", "write e.g. postgres://user:password@host:5432/database; "+escapes)
	}
	return nil
}

// postgresWords checks the parameters whose words decide whether the server is
// reached safely and the right one.
func postgresWords(settings map[string]string, several bool) error {
	modes := []string{"disable", "allow", "prefer", "require", "verify-ca", "verify-full"}
	if mode, ok := settings["sslmode"]; ok && !slices.Contains(modes, mode) {
		return refuse("its sslmode is not a word known here", "write "+strings.Join(modes, ", "))
	}
	const mend = "write target_session_attrs=read-write, or leave it out"
	switch settings["target_session_attrs"] {
	case "", "read-write", "primary":
	case "any":
		if several {
			return refuse("its target_session_attrs may lead to a standby, which cannot write", mend)
		}
	case "read-only", "standby", "prefer-standby":
		return refuse("its target_session_attrs leads to a standby, which cannot write", mend)
	default:
		return refuse("its target_session_attrs is not a word known here", mend)
	}
	return nil
}

// mysqlURL checks what follows mysql:// and gives the URL back: the same, or
// the driver's form where that follows the scheme, as some write for GoTrue.
func mysqlURL(rest string) (string, error) {
	if regexp.MustCompile(`@[a-z]*\(`).MatchString(rest) {
		return driverForm(rest)
	}
	u, err := url.Parse("mysql://" + rest)
	switch {
	case err != nil, !escaped(rest), u.Fragment != "", strings.Contains(u.EscapedPath(), "@"), u.User == nil && strings.Contains(rest, "@"):
		return "", refuse("the user name, password, host or database in it cannot be told apart", escapes)
	case strings.Contains(u.Host, ","):
		return "", errSeveralHosts()
	case u.Hostname() == "":
		return "", refuse("it names no host", "write e.g. mysql://user:password@host:3306/database, and for a socket user:password@unix(/path/of.sock)/database")
	}
	host, port, ok := hostAndPort(u.Host, "3306")
	if !ok || strings.Contains(host, ":") && u.Host[0] != '[' {
		return "", errMySQLHost()
	}
	name := strings.TrimPrefix(u.EscapedPath(), "/")
	if err := driverReads(u.User.Username(), "tcp("+net.JoinHostPort(host, port)+")", name, u.RawQuery); err != nil {
		return "", err
	}
	return "mysql://" + rest, nil
}

// driverForm checks user:password@network(address)/database?parameters, the
// form of Go's MySQL driver, in its reading: the last / ends the address, the
// last @ before that the password. A host without network, as GoTrue's guides
// have it, becomes one that the driver dials.
func driverForm(v string) (string, error) {
	const mend = "write e.g. mysql://user:password@host:3306/database"
	if strings.Contains(v, "://") {
		return "", refuse("it has :// within, so that the user name or password cannot be told apart", "write mysql://user:password@host:3306/database, and "+escapes)
	}
	slash := strings.LastIndexByte(v, '/')
	at := strings.LastIndexByte(v[:max(slash, 0)], '@')
	if at < 0 {
		return "", refuse("it is not user:password@host/database", mend)
	}
	login, address := v[:at], v[at+1:slash]
	name, query, _ := strings.Cut(v[slash+1:], "?")
	address, err := driverAddress(address)
	if err != nil {
		return "", err
	}
	user, _, _ := strings.Cut(login, ":")
	if err := driverReads(user, address, name, query); err != nil {
		return "", err
	}
	return login + "@" + address + v[slash:], nil
}

// driverAddress reads network(address), a network alone, which has a usual
// address, or a host alone, which is reached by TCP.
func driverAddress(v string) (string, error) {
	const mend = "write e.g. mysql://user:password@host:3306/database"
	network, inner, brackets := strings.Cut(v, "(")
	switch inner, closed := strings.CutSuffix(inner, ")"); {
	case brackets && (!closed || network != "" && network != "tcp" && network != "unix"):
		return "", refuse("its address is neither tcp(host:port) nor unix(path)", mend)
	case brackets && inner == "":
		return "", refuse("it names no host", mend)
	case network == "unix" && brackets:
		return v, nil
	case network == "unix":
		return "unix(/tmp/mysql.sock)", nil
	case brackets:
		return driverHost(inner)
	case network == "", network == "tcp":
		return driverHost("127.0.0.1")
	}
	return driverHost(v)
}

func driverHost(v string) (string, error) {
	if strings.Contains(v, ",") {
		return "", errSeveralHosts()
	}
	host, port, ok := hostAndPort(v, "3306")
	if !ok {
		return "", errMySQLHost()
	}
	return "tcp(" + net.JoinHostPort(host, port) + ")", nil
}

// driverReads checks what both ways to write a MySQL database come to.
func driverReads(user, address, name, query string) error {
	const mend = "write e.g. mysql://user:password@host:3306/database"
	switch {
	case user == "":
		return refuse("it names no user", mend)
	case name == "":
		return refuse("it names no database", mend)
	}
	for pair := range strings.SplitSeq(query, "&") {
		key, value, _ := strings.Cut(pair, "=")
		switch key = strings.ToLower(key); {
		case key == "strict": // the driver panics at this word of its past
			return refuse("its parameter strict is none any more", "take it out")
		case key == "charset" && value != "utf8mb4", strings.HasPrefix(key, "character_set"):
			// In GBK, SJIS and their like a byte of a letter can be a backslash:
			// what the driver puts between quotes could end them (SQL injection).
			return refuse("its "+key+" is not utf8mb4, in which everything is stored", "take it out")
		}
	}
	_, err := mysql.ParseDSN("user@" + address + "/" + name + "?" + query)
	if err != nil || !escaped(name+"?"+query) || strings.ContainsAny(name+query, "/@") {
		// The driver's own words are left out: they quote the parameter.
		return refuse("the name of the database or a parameter in it cannot be read", "look at what follows the last /; there write / as %2F and @ as %40")
	}
	return nil
}

func errSeveralHosts() error {
	return refuse("it names several hosts, which only PostgreSQL takes", "name one, such as a proxy that knows the primary")
}

func errMySQLHost() error {
	return refuse("the host in it is none, or its port is not a number from 1 to 65535", "write e.g. mysql://user:password@host:3306/database; "+escapes)
}

// hostAndPort splits host, host:port, [address] and [address]:port. The host
// comes without brackets, the port is usual when there is none.
func hostAndPort(v, usual string) (host, port string, ok bool) {
	if isHost(v) {
		return v, usual, true
	}
	if inner, found := strings.CutPrefix(v, "["); found {
		inner, after, closed := strings.Cut(inner, "]")
		address, err := netip.ParseAddr(inner)
		if !closed || err != nil || !address.Is6() {
			return "", "", false
		}
		if after == "" {
			return inner, usual, true
		}
		port, found = strings.CutPrefix(after, ":")
		return inner, port, found && isPort(port)
	}
	host, port, _ = strings.Cut(v, ":")
	return host, port, isHost(host) && isPort(port)
}

func isPort(v string) bool {
	n, err := strconv.ParseUint(v, 10, 16)
	return err == nil && n > 0
}

// escaped reports whether every % in v begins an escape, and none is of NUL,
// which would end a text in the protocols of databases.
func escaped(v string) bool {
	plain, err := url.PathUnescape(v)
	return err == nil && !strings.Contains(plain, "\x00")
}

// namespace checks DB_NAMESPACE for an engine. Names of tables and schemas
// cannot be bound to a statement like values, so whatever could end one in SQL
// is kept out here.
func namespace(v, engine string) error {
	name, schema := strings.CutSuffix(v, ".")
	lower := strings.ToLower(name)
	switch ok, _ := regexp.MatchString(`^[A-Za-z][A-Za-z0-9_]{0,29}$`, name); {
	case !ok:
		return refuse(quoted(v)+" is not a prefix of table names", "write at most 30 letters, digits and _, a letter first")
	case schema && engine != postgresEngine:
		return refuse(quoted(v)+" names a schema, which only PostgreSQL has", "leave the dot out")
	case lower == "sqlite", strings.HasPrefix(lower, "sqlite_"), lower == "pg", strings.HasPrefix(lower, "pg_"):
		return refuse(quoted(v)+" begins like the names that databases keep for themselves", "take another")
	}
	return nil
}

func (k *checker) database() {
	d := &k.Database
	engine, where, err := d.place()
	k.refused("DATABASE_URL", err)
	if want := engineOf(d.Driver); want != "" && err == nil && want != engine {
		if where == "" {
			k.fault("DB_DRIVER", "it says "+d.Driver+", and without DATABASE_URL the database is SQLite", "set DATABASE_URL, or take DB_DRIVER out")
		} else {
			k.fault("DB_DRIVER", "it says "+d.Driver+", and DATABASE_URL is of "+engine, "take DB_DRIVER out: the URL says it already")
		}
	}
	if d.Namespace != "" {
		if err != nil {
			engine = postgresEngine // what is told of the dot would be a guess
		}
		k.refused("DB_NAMESPACE", namespace(d.Namespace, engine))
	}
	if err == nil && engine != sqliteEngine && k.Server.MasterKey == "" {
		// Nodes with different keys cannot read each other's tokens and secrets.
		k.warn("MASTER_KEY", "it is not set, and every node on this database needs the same one", "put the same file master.key into DATA on every node, or set GATEHOUSE_MASTER_KEY")
	}
	if d.LockTimeout > d.StatementTimeout && !k.bad["DB_STATEMENT_TIMEOUT"] {
		k.warn("DB_LOCK_TIMEOUT", "it is longer than DB_STATEMENT_TIMEOUT, which ends the wait before", "make it shorter")
	}
	if d.StatementTimeout > d.TransactionTimeout && !k.bad["DB_TRANSACTION_TIMEOUT"] {
		k.warn("DB_STATEMENT_TIMEOUT", "it is longer than DB_TRANSACTION_TIMEOUT, which ends the statement before", "make it shorter")
	}
	if d.EventsKeep > 0 && d.EventsKeep < 24*time.Hour {
		k.fault("EVENTS_KEEP", d.EventsKeep.String()+" is too small", "write 24h or more, or 0 for ever")
	}
	if d.SignupsKeep > 0 && d.SignupsKeep < 24*time.Hour {
		k.fault("SIGNUPS_KEEP", d.SignupsKeep.String()+" is too small", "write 24h or more, or 0 for ever")
	}
	for _, t := range []*time.Duration{&d.ConnLifetime, &d.ConnIdle} {
		if *t == 0 {
			*t = never
		}
	}
}
