// Package config knows every setting of the server: its names, type, default
// and meaning, and where values come from. Begin with Config, whose tags are
// the documentation too, then read Load.
//
// It must never print the value of a secret, never read the process
// environment by itself (Source carries it), and never decide anything the
// rules of the house decide: it only says what the operator asked for.
package config

import (
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

//go:generate go test . -run TestMarkdown -update

// Config is every setting, by section. Each leaf carries its documentation in
// tags, from which docs/config.md is made:
//
//	env        the name X, read as GATEHOUSE_X, else GOTRUE_X
//	envDefault the value when nothing is set; an empty value counts as nothing
//	alias      other names read in the same way, comma-separated
//	bare       a name read without any prefix, after all others
//	negated    a name that means the opposite (booleans only)
//	oneof      the words allowed, separated by |
//	min, max   bounds, both inclusive (Seconds: in seconds)
//	help       what it means
type Config struct {
	Server    Server    `title:"Server" help:"Where the server listens and how it is reached."`
	Database  Database  `title:"Database" help:"What the server remembers, and where."`
	Site      Site      `title:"Site" help:"The site whose users sign in."`
	Password  Password  `title:"Passwords" help:"What a password must be, and how it is hashed."`
	JWT       JWT       `title:"Tokens" help:"The access tokens the server signs."`
	Session   Session   `title:"Sessions" help:"How long a sign-in lasts, and what a change of password asks for."`
	Mailer    Mailer    `title:"Mail" help:"What is mailed, and what the links in it do."`
	SMTP      SMTP      `title:"Mail server" help:"How mail leaves. Without a host, a server on a loopback address keeps its mail in an inbox for development."`
	External  External  `title:"Ways in" help:"Which ways to sign in are open."`
	RateLimit RateLimit `title:"Rate limits" help:"How often one client may ask. Each limit is a number of requests in five minutes."`
	Cookie    Cookie    `title:"Cookies" help:"The cookie of clients that ask for one."`
	Log       Log       `title:"Log" help:"What is written down, and how."`
}

// Server says where the server listens and how it is reached.
type Server struct {
	Host                 string        `env:"API_HOST" envDefault:"127.0.0.1" help:"Address to listen on. Any other than a loopback address needs SMTP_HOST, or MAIL=none."`
	Port                 int           `env:"PORT" alias:"API_PORT" bare:"PORT" envDefault:"8081" min:"0" max:"65535" help:"Port to listen on; 0 takes any free one."`
	ExternalURL          string        `env:"API_EXTERNAL_URL" bare:"API_EXTERNAL_URL" help:"Public address of this server, the base of its links: absolute http or https, without query or fragment. Empty: the address really listened on."`
	Data                 string        `env:"DATA" envDefault:"gatehouse-data" help:"Folder for the database, keys and secrets."`
	RequestIDHeader      string        `env:"API_REQUEST_ID_HEADER" alias:"REQUEST_ID_HEADER" bare:"REQUEST_ID_HEADER" check:"header" help:"Request header to take the request id from. Empty: every request gets a new one."`
	MaxRequestDuration   time.Duration `env:"API_MAX_REQUEST_DURATION" envDefault:"10s" min:"0" help:"Longest time one request may take; 0 means no end."`
	Drain                time.Duration `env:"DRAIN" envDefault:"2s" min:"0" max:"1m" help:"How long a server that is told to stop still serves while /health says 503, so that a load balancer sends its requests elsewhere. Not waited for on SQLite at a loopback address."`
	OperatorToken        Secret        `env:"OPERATOR_TOKEN" help:"Bearer token that may do everything an administrator may; at least 16 characters. Empty: there is none."`
	MasterKey            Secret        `env:"MASTER_KEY" help:"Key that seals secrets at rest: 32 bytes as base64, base64url or hex. Empty: the file master.key in DATA, made at the first start. Every node on one database needs the same one."`
	CORSHeaders          []string      `env:"CORS_ALLOWED_HEADERS" check:"header" help:"Request headers browsers may send, besides the usual ones."`
	CORSOrigins          []string      `env:"CORS_ALLOWED_ORIGINS" check:"origin" help:"Origins that may send credentials, besides the site's own."`
	Dialect              string        `env:"DIALECT" envDefault:"auto" oneof:"auto|netlify|supabase" help:"Whose manners to keep where the two contradict each other and the request does not tell."`
	OutgoingAllowPrivate bool          `env:"OUTGOING_ALLOW_PRIVATE" envDefault:"false" help:"Let outgoing requests, such as those for mail templates, reach addresses that are not public. For development: it opens the inner network to whoever can name a URL."`
}

// Database says what the server remembers, and where.
type Database struct {
	URL                Secret        `env:"DATABASE_URL" alias:"DB_DATABASE_URL" bare:"DATABASE_URL" help:"sqlite:FILE, postgres://user:password@host:5432/database, where several hosts are separated by commas, or mysql://user:password@host:3306/database, also for MariaDB. In these, special characters of a password are escaped: @ is %40. The form of Go's MySQL driver is read too, user:password@tcp(host:3306)/database, as is root@localhost/gotrue; there a password stands as it is. Empty: gatehouse.db in DATA."`
	Driver             string        `env:"DB_DRIVER" oneof:"|sqlite|sqlite3|postgres|postgresql|mysql|mariadb" help:"What a DATABASE_URL means that begins with no name of an engine. Otherwise the URL says it already, and this must not contradict it."`
	Namespace          string        `env:"DB_NAMESPACE" bare:"DB_NAMESPACE" help:"Prefix of table names, so that several programs can share a database: at most 30 letters, digits and _, a letter first. On PostgreSQL a name that ends with a dot (auth.) is a schema, and so is a name without one when there is a schema of that name."`
	Synchronous        string        `env:"SQLITE_SYNCHRONOUS" envDefault:"FULL" oneof:"FULL|NORMAL" help:"FULL loses nothing when the power fails; NORMAL is faster and may lose the last moments."`
	AutoMigrate        Answer        `env:"AUTO_MIGRATE" help:"Bring the tables up to date at the start. Otherwise the server refuses to start on old tables, until gatehouse migrate was run. Empty: true on SQLite, false on PostgreSQL and MySQL, where other nodes may be at work on the old ones."`
	MaxConns           int           `env:"DB_MAX_POOL_SIZE" envDefault:"0" min:"0" max:"10000" help:"Most connections of one node to PostgreSQL or MySQL. 0: four for each processor core."`
	MaxIdle            int           `env:"DB_MAX_IDLE_POOL_SIZE" envDefault:"0" min:"0" max:"10000" help:"Most connections to MySQL kept open while nobody asks. 0: all of them, until DB_CONN_MAX_IDLE_TIME is over, which alone decides on PostgreSQL."`
	ConnLifetime       time.Duration `env:"DB_CONN_MAX_LIFETIME" envDefault:"30m" min:"0" help:"Age at which a connection is replaced; 0 means never."`
	ConnIdle           time.Duration `env:"DB_CONN_MAX_IDLE_TIME" envDefault:"5m" min:"0" help:"How long a connection may lie unused before it is closed; 0 means for ever."`
	HealthCheck        time.Duration `env:"DB_HEALTH_CHECK_PERIOD" envDefault:"1m" min:"1s" help:"How often unused connections are looked at."`
	StatementTimeout   time.Duration `env:"DB_STATEMENT_TIMEOUT" envDefault:"3s" min:"100ms" max:"1h" help:"Longest time one statement may take."`
	LockTimeout        time.Duration `env:"DB_LOCK_TIMEOUT" envDefault:"1s" min:"10ms" max:"1h" help:"Longest wait for a row that another is changing."`
	TransactionTimeout time.Duration `env:"DB_TRANSACTION_TIMEOUT" envDefault:"5s" min:"100ms" max:"1h" help:"Longest time one operation on the database may take, with all its tries."`
	EventsKeep         time.Duration `env:"EVENTS_KEEP" envDefault:"2160h" min:"0" help:"How long the audit trail is kept: 24h or more, or 0 for ever."`
}

// Site is the site whose users sign in.
type Site struct {
	URL           string   `env:"SITE_URL" check:"target" help:"Where users land when nothing else is asked for. Empty: API_EXTERNAL_URL."`
	Redirects     []string `env:"URI_ALLOW_LIST" check:"pattern" help:"Patterns of other addresses users may be sent to, such as https://*.example.com/**."`
	DisableSignup bool     `env:"DISABLE_SIGNUP" envDefault:"false" help:"Nobody may sign up; invitations still work."`
}

// Password says what a password must be, and what hashing one costs.
type Password struct {
	MinLength  int           `env:"PASSWORD_MIN_LENGTH" envDefault:"6" min:"6" max:"128" help:"Least number of characters."`
	Required   CharacterSets `env:"PASSWORD_REQUIRED_CHARACTERS" help:"Sets of characters, separated by a colon: a password needs one of each. A colon inside a set is written \\:."`
	HashMemory int           `env:"PASSWORD_HASH_MEMORY" envDefault:"19456" min:"8" max:"4194304" help:"Memory of one Argon2id hash, in KiB."`
	HashTime   int           `env:"PASSWORD_HASH_TIME" envDefault:"2" min:"1" max:"1000" help:"Passes of one Argon2id hash over its memory."`
	HashSlots  int           `env:"PASSWORD_HASH_SLOTS" envDefault:"0" min:"0" max:"1024" help:"How many hashes may run at once; 0 means one for each processor core."`
	HashWait   time.Duration `env:"PASSWORD_HASH_MAX_WAIT" envDefault:"5s" min:"0" help:"Longest wait for a slot, after which the client is asked to come back later."`
}

// JWT is what access tokens say and who signs them.
type JWT struct {
	Secret          Secret        `env:"JWT_SECRET" help:"Shared secret: when set, tokens are signed with it (HS256). At least 32 bytes; fewer is a warning, fewer than 16 or a published example is refused in public. Empty: the server makes its own key pairs (ES256)."`
	Keys            Secret        `env:"JWT_KEYS" help:"JSON array of JWKs; exactly one has the key operation sign, the others verify."`
	KeyID           string        `env:"JWT_KEY_ID" help:"Key id (kid) of JWT_SECRET."`
	ValidMethods    []string      `env:"JWT_VALID_METHODS" help:"Algorithms accepted in tokens. Empty: those of the keys."`
	Life            Seconds       `env:"JWT_EXP" envDefault:"3600" min:"1" help:"Life of an access token."`
	Audience        string        `env:"JWT_AUD" envDefault:"authenticated" help:"Audience (aud) when the request names none."`
	Issuer          string        `env:"JWT_ISSUER" help:"Issuer (iss). Empty: API_EXTERNAL_URL."`
	DefaultGroup    string        `env:"JWT_DEFAULT_GROUP_NAME" envDefault:"authenticated" help:"Role of new users."`
	AdminGroup      string        `env:"JWT_ADMIN_GROUP_NAME" envDefault:"admin" help:"Role, in a user's own list of roles, that is an administrator."`
	AdminRoles      []string      `env:"JWT_ADMIN_ROLES" envDefault:"service_role,supabase_admin" help:"Values of the role claim that are an administrator."`
	RefreshLife     Seconds       `env:"JWT_REFRESH_TOKEN_LIFETIME" envDefault:"0" min:"0" help:"Life of a refresh token that is not used; 0 means no end."`
	RotationOverlap time.Duration `env:"JWT_ROTATION_OVERLAP" envDefault:"24h" min:"0" help:"How long the next key is published before it signs, so that everyone who keeps a copy of the keys knows it by then."`
	RotateEvery     time.Duration `env:"JWT_ROTATE_EVERY" envDefault:"2160h" min:"0" help:"How often the server makes itself a new signing key, when it signs with its own: more than twice JWT_ROTATION_OVERLAP; 0 means never."`
}

// Session says how long a sign-in lasts, and what a change of password asks
// for.
type Session struct {
	ReuseGrace       Seconds       `env:"SECURITY_REFRESH_TOKEN_REUSE_INTERVAL" envDefault:"10" min:"0" help:"How long a used refresh token may be presented again, for lost answers and second tabs. Later it ends the session."`
	Rotation         bool          `env:"SECURITY_REFRESH_TOKEN_ROTATION_ENABLED" envDefault:"true" help:"Refresh tokens are used once. Always on: false is ignored, with a warning."`
	Reauthentication bool          `env:"SECURITY_UPDATE_PASSWORD_REQUIRE_REAUTHENTICATION" envDefault:"false" help:"A new password needs a code from the user's mail, unless the sign-in is fresh."`
	CurrentPassword  bool          `env:"SECURITY_UPDATE_PASSWORD_REQUIRE_CURRENT_PASSWORD" envDefault:"false" help:"A new password needs the old one."`
	Timebox          time.Duration `env:"SESSIONS_TIMEBOX" envDefault:"0" min:"0" help:"Longest life of a session, however much it is used; 0 means no end."`
	Inactivity       time.Duration `env:"SESSIONS_INACTIVITY_TIMEOUT" envDefault:"0" min:"0" help:"Longest time a session may lie unused; 0 means no end."`
	PerUser          int           `env:"SESSIONS_PER_USER" envDefault:"100" min:"1" max:"10000" help:"Living sessions a user may have. One more ends the oldest."`
}

// Mailer says what is mailed, and what the links in it do.
type Mailer struct {
	Mail              string        `env:"MAIL" oneof:"|none" help:"none sends no mail at all; nothing may be set in SMTP_HOST then."`
	Autoconfirm       bool          `env:"MAILER_AUTOCONFIRM" envDefault:"false" help:"Take every e-mail address as confirmed, without a mail. Anyone may then sign up with anyone's address."`
	SecureEmailChange bool          `env:"MAILER_SECURE_EMAIL_CHANGE_ENABLED" envDefault:"true" help:"A change of address is confirmed from the old address and the new one."`
	OTPExp            Seconds       `env:"MAILER_OTP_EXP" envDefault:"0" min:"0" help:"Life of mailed codes and links. 0: ten minutes for codes, one hour for links."`
	OTPLength         int           `env:"MAILER_OTP_LENGTH" envDefault:"6" min:"6" max:"10" help:"Digits of a mailed code."`
	LinkMode          string        `env:"MAILER_LINK_MODE" envDefault:"page" oneof:"page|direct" help:"page: a mailed link opens a page whose button finishes, so that mail scanners that follow links use nothing up. direct: the link finishes at once."`
	LinkStyle         string        `env:"MAILER_LINK_STYLE" envDefault:"auto" oneof:"auto|netlify|supabase" help:"Whose links to mail. auto: as the client that asked expects."`
	ExternalHosts     []string      `env:"MAILER_EXTERNAL_HOSTS" check:"host" help:"Values of X-Forwarded-Host that may become the host of mailed links."`
	TemplateMaxAge    time.Duration `env:"MAILER_TEMPLATE_MAX_AGE" envDefault:"10m" min:"0" help:"How long a fetched template is kept."`
	TemplateMaxSize   int           `env:"MAILER_TEMPLATE_MAX_SIZE" envDefault:"1000000" min:"1" help:"Largest template, in bytes."`
	Subjects          Mails         `envPrefix:"MAILER_SUBJECTS_" help:"Subject of the mail %s. Empty: the built-in one."`
	Templates         Mails         `envPrefix:"MAILER_TEMPLATES_" help:"URL or path of the template of the mail %s. Empty: the built-in one."`
	URLPaths          Paths         `envPrefix:"MAILER_URLPATHS_" help:"Path of the link in the mail %s. Empty: the usual one."`
}

// Mails is one text for each kind of mail.
type Mails struct {
	Invite           string `env:"INVITE" help:"that invites a new user"`
	Confirmation     string `env:"CONFIRMATION" help:"that confirms a sign-up"`
	Recovery         string `env:"RECOVERY" help:"that lets a user in who forgot the password"`
	MagicLink        string `env:"MAGIC_LINK" help:"that signs in without a password"`
	EmailChange      string `env:"EMAIL_CHANGE" help:"that confirms a new address"`
	Reauthentication string `env:"REAUTHENTICATION" help:"that carries the code for a new password"`
}

// Paths is one link path for each kind of mail that has one of its own.
type Paths struct {
	Invite       string `env:"INVITE" check:"path" help:"that invites a new user"`
	Confirmation string `env:"CONFIRMATION" check:"path" help:"that confirms a sign-up"`
	Recovery     string `env:"RECOVERY" check:"path" help:"that lets a user in who forgot the password"`
	EmailChange  string `env:"EMAIL_CHANGE" check:"path" help:"that confirms a new address"`
}

// SMTP says how mail leaves.
type SMTP struct {
	Host         string        `env:"SMTP_HOST" check:"smtphost" help:"Mail server."`
	Port         int           `env:"SMTP_PORT" envDefault:"587" min:"1" max:"65535" help:"Port of the mail server."`
	User         string        `env:"SMTP_USER" help:"User name at the mail server. Empty: no sign-in there."`
	Password     Secret        `env:"SMTP_PASS" help:"Password at the mail server."`
	From         string        `env:"SMTP_ADMIN_EMAIL" check:"address" help:"Address mail comes from; needed with SMTP_HOST."`
	SenderName   string        `env:"SMTP_SENDER_NAME" help:"Name mail comes from."`
	MaxFrequency time.Duration `env:"SMTP_MAX_FREQUENCY" envDefault:"1m" min:"0" help:"Least time between two mails of a kind to one user."`
	TLS          string        `env:"SMTP_TLS" envDefault:"auto" oneof:"auto|required|implicit|none" help:"auto: TLS from the first byte on port 465, else STARTTLS, which only a mail server on a loopback address may lack. required: STARTTLS always. implicit: TLS from the first byte. none: no TLS."`
	Timeout      time.Duration `env:"SMTP_TIMEOUT" envDefault:"15s" min:"1ms" help:"Longest time one delivery may take."`
}

// External says which ways to sign in are open.
type External struct {
	Email     bool `env:"EXTERNAL_EMAIL_ENABLED" negated:"EXTERNAL_EMAIL_DISABLED" envDefault:"true" help:"Sign-up and sign-in by e-mail address."`
	MagicLink bool `env:"EXTERNAL_EMAIL_MAGIC_LINK_ENABLED" envDefault:"true" help:"Sign-in by a mailed link or code."`
}

// RateLimit says how often one client may ask.
type RateLimit struct {
	Limits       string  `env:"RATE_LIMITS" envDefault:"on" oneof:"on|off" help:"off lifts every limit. For tests: passwords and codes can then be guessed without end."`
	Header       string  `env:"RATE_LIMIT_HEADER" check:"header" help:"Request header whose first part names the client; of X-Forwarded-For it is the last part, which the nearest proxy wrote. Only behind a proxy that sets it: a client that may set it itself escapes every limit. Empty: the address of the connection, or what a proxy on this machine says in X-Forwarded-For."`
	OTP          float64 `env:"RATE_LIMIT_OTP" envDefault:"30" min:"1" help:"Requests for mail: sign-up, recovery, links, codes."`
	TokenRefresh float64 `env:"RATE_LIMIT_TOKEN_REFRESH" envDefault:"150" min:"1" help:"Requests for tokens."`
	Verify       float64 `env:"RATE_LIMIT_VERIFY" envDefault:"30" min:"1" help:"Attempts at a link or code."`
}

// Cookie is the cookie of clients that ask for one.
type Cookie struct {
	Key  string  `env:"COOKIE_KEY" envDefault:"nf_jwt" check:"cookie" help:"Name of the cookie."`
	Life Seconds `env:"COOKIE_DURATION" envDefault:"86400" min:"0" help:"Life of a cookie that outlives the browser."`
}

// Log says what is written down, and how.
type Log struct {
	Level  Level  `env:"LOG_LEVEL" envDefault:"info" help:"Least important line written: debug, info, warn or error (trace, warning, fatal and panic are taken as the nearest of these)."`
	File   string `env:"LOG_FILE" help:"File to append to. Empty: standard error."`
	Format string `env:"LOG_FORMAT" envDefault:"auto" oneof:"auto|text|json" help:"auto: text on a terminal, else JSON."`
}

// Loopback reports whether the server listens on a loopback address, so that
// only this machine reaches it.
func (c *Config) Loopback() bool { return loopback(c.Server.Host) }

// DevInbox reports whether mail is kept in the development inbox instead of
// being sent: no mail server is set, mail is not off, and only this machine
// reaches the server. On any other address the inbox would show everybody
// everybody's sign-in links.
func (c *Config) DevInbox() bool {
	return c.SMTP.Host == "" && c.Mailer.Mail == "" && c.Loopback()
}

// Listening fills in what follows from the address really listened on
// (host:port, as net.Listener gives it): the external URL, the site's URL and
// the issuer, each only when the operator left it empty.
func (c *Config) Listening(addr string) {
	if c.Server.ExternalURL == "" {
		c.Server.ExternalURL = "http://" + addr
	}
	if c.Site.URL == "" {
		c.Site.URL = c.Server.ExternalURL
	}
	if c.JWT.Issuer == "" {
		c.JWT.Issuer = c.Server.ExternalURL
	}
}

// Addr is the address to listen on, host:port.
func (s Server) Addr() string { return net.JoinHostPort(s.Host, strconv.Itoa(s.Port)) }

// SealingKey is the 32 bytes of MASTER_KEY, or nil when it is not set.
func (s Server) SealingKey() []byte {
	key, _ := sealingKey(s.MasterKey)
	return key
}

// CodeLife is how long a mailed code is good.
func (m Mailer) CodeLife() time.Duration {
	if m.OTPExp > 0 {
		return m.OTPExp.Duration()
	}
	// A code has few digits: the shorter it lives, the fewer guesses fit in.
	return 10 * time.Minute
}

// LinkLife is how long a mailed link is good.
func (m Mailer) LinkLife() time.Duration {
	if m.OTPExp > 0 {
		return m.OTPExp.Duration()
	}
	return time.Hour
}

func loopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}
