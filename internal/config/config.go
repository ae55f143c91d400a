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
//	check      the text check each value must pass, see texts.go
//	scope      house: the operator's alone, the same for every tenant; own: a
//	           tenant's own, not taken from the server's; else a tenant may set
//	           it, and has the server's where it does not
//	reload     no: a server at work cannot take it over; for a section, all of it
//	help       what it means
type Config struct {
	Server    Server    `title:"Server" scope:"house" help:"Where the server listens and how it is reached."`
	HTTP      HTTP      `title:"HTTP" reload:"no" scope:"house" help:"How much the server takes on at one time."`
	Tenants   Tenants   `title:"Tenants" scope:"house" reload:"no" help:"Several houses in one server, each with users and settings of its own."`
	Database  Database  `title:"Database" scope:"house" reload:"no" help:"What the server remembers, and where."`
	Site      Site      `title:"Site" help:"The site whose users sign in."`
	Password  Password  `title:"Passwords" help:"What a password must be, and how it is hashed."`
	JWT       JWT       `title:"Tokens" help:"The access tokens the server signs."`
	Session   Session   `title:"Sessions" help:"How long a sign-in lasts, and what a change of password asks for."`
	Mailer    Mailer    `title:"Mail" help:"What is mailed, and what the links in it do."`
	SMS       SMS       `title:"Text messages" help:"How codes reach telephones. Without a provider, a server on a loopback address keeps them in the inbox for development."`
	SMTP      SMTP      `title:"Mail server" help:"How mail leaves. Without a host, a server on a loopback address keeps its mail in an inbox for development."`
	External  External  `title:"Ways in" help:"Which ways to sign in are open."`
	Providers Providers `title:"Accounts elsewhere" help:"Whose accounts let people in, such as Google's or GitHub's. In requests each has the name it has here, in lower case."`
	SAML      SAML      `title:"SAML" help:"The identity providers companies have of their own."`
	Web3      Web3      `title:"Wallets" help:"Signing in with a wallet, by a message it signs. It names the site, which has to be SITE_URL or of URI_ALLOW_LIST."`
	RateLimit RateLimit `title:"Rate limits" help:"How often one client may ask: a number of requests in five minutes, where nothing else is said."`
	Webhook   Webhook   `title:"Webhook" help:"A server of one's own that is asked or told, as Netlify's server does it."`
	Hooks     Hooks     `title:"Hooks" help:"Services of one's own that are asked before something happens, as Supabase's server does it. Whatever is not a clear yes within five seconds is a no."`
	Captcha   Captcha   `title:"Captchas" help:"What a client has to solve before it may sign up or in."`
	Cookie    Cookie    `title:"Cookies" help:"The cookie of clients that ask for one."`
	Log       Log       `title:"Log" scope:"house" help:"What is written down, and how."`
	Telemetry Telemetry `title:"Metrics, traces and profiles" reload:"no" scope:"house" help:"What operators can see of the server at work."`
}

// Server says where the server listens and how it is reached.
type Server struct {
	Host                 string        `env:"API_HOST" reload:"no" envDefault:"127.0.0.1" help:"Address to listen on. Any other than a loopback address needs SMTP_HOST, HOOK_SEND_EMAIL_ENABLED, or MAIL=none."`
	Port                 int           `env:"PORT" reload:"no" alias:"API_PORT" bare:"PORT" envDefault:"8081" min:"0" max:"65535" help:"Port to listen on; 0 takes any free one."`
	ExternalURL          string        `env:"API_EXTERNAL_URL" scope:"own" bare:"API_EXTERNAL_URL" help:"Public address of this server, the base of its links: absolute http or https, without query or fragment. Empty: the address really listened on."`
	Data                 string        `env:"DATA" reload:"no" envDefault:"gatehouse-data" help:"Folder for the database, keys and secrets."`
	RequestIDHeader      string        `env:"API_REQUEST_ID_HEADER" alias:"REQUEST_ID_HEADER" bare:"REQUEST_ID_HEADER" check:"header" help:"Request header to take the request id from. Empty: every request gets a new one."`
	MaxRequestDuration   time.Duration `env:"API_MAX_REQUEST_DURATION" reload:"no" envDefault:"10s" min:"0" help:"Longest time one request may take; 0 means no end."`
	Drain                time.Duration `env:"DRAIN" reload:"no" envDefault:"2s" min:"0" max:"1m" help:"How long a server that is told to stop still serves while /health says 503, so that a load balancer sends its requests elsewhere. Not waited for on SQLite at a loopback address."`
	OperatorToken        Secret        `env:"OPERATOR_TOKEN" help:"Bearer token that may do everything an administrator may; at least 16 characters. Empty: there is none."`
	MasterKey            Secret        `env:"MASTER_KEY" reload:"no" alias:"SECURITY_DB_ENCRYPTION_ENCRYPTION_KEY" help:"Key that seals secrets at rest: 32 bytes as base64, base64url or hex. Empty: the file master.key in DATA, made at the first start. Every node on one database needs the same one."`
	MasterKeyOld         Secret        `env:"MASTER_KEY_OLD" reload:"no" alias:"SECURITY_DB_ENCRYPTION_DECRYPTION_KEYS" help:"Master keys from before, separated by commas, each with or without a name before it as name:key: they still open what gatehouse keys rewrap has not sealed anew. The file master.key.old in DATA is one more."`
	CORSHeaders          []string      `env:"CORS_ALLOWED_HEADERS" scope:"tenant" check:"header" help:"Request headers browsers may send, besides the usual ones."`
	CORSOrigins          []string      `env:"CORS_ALLOWED_ORIGINS" scope:"own" check:"origin" help:"Origins that may send credentials, besides the site's own."`
	Dialect              string        `env:"DIALECT" scope:"tenant" envDefault:"auto" oneof:"auto|netlify|supabase" help:"Whose manners to keep where the two contradict each other and the request does not tell."`
	OutgoingAllowPrivate bool          `env:"OUTGOING_ALLOW_PRIVATE" reload:"no" envDefault:"false" help:"Let outgoing requests, such as those for mail templates, reach addresses that are not public. For development: it opens the inner network to whoever can name a URL."`
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
	SignupsKeep        time.Duration `env:"SIGNUPS_KEEP" reload:"yes" envDefault:"72h" min:"0" help:"How long somebody who signed up has to confirm it, before the account is deleted: 24h or more, or 0 for ever. Who was invited or made by an administrator stays."`
	EventsKeep         time.Duration `env:"EVENTS_KEEP" reload:"yes" envDefault:"2160h" min:"0" help:"How long the audit trail is kept: 24h or more, or 0 for ever."`
}

// Site is the site whose users sign in.
type Site struct {
	URL           string   `env:"SITE_URL" scope:"own" check:"target" help:"Where users land when nothing else is asked for. Empty: API_EXTERNAL_URL."`
	Redirects     []string `env:"URI_ALLOW_LIST" scope:"own" check:"pattern" help:"Patterns of other addresses users may be sent to, such as https://*.example.com/**."`
	DisableSignup bool     `env:"DISABLE_SIGNUP" envDefault:"false" help:"Nobody may sign up; invitations still work."`
	Reveal        string   `env:"REVEAL_ACCOUNTS" oneof:"|nothing|hint|all" help:"How much strangers are told of who has an account. nothing: every request is answered alike, at the same cost. hint: the answer to a sign-up with a known address has no identities, and one for a code that may make no user says otp_disabled, as Supabase has it. all: errors say so, as Netlify had it. Empty: all where DIALECT is netlify, else nothing."`
	DataSchema    string   `env:"USER_DATA_SCHEMA" scope:"house" help:"File with a JSON Schema for user_metadata. Data with keys it does not name, or of another type, are refused. Empty: any data."`
	CursorPages   bool     `env:"EXPERIMENTAL_CURSOR_PAGINATION_ENABLED" envDefault:"false" help:"The list of users goes by cursor where a request names neither page nor per_page. One that names a cursor or a limit always does."`
	ManualLinking bool     `env:"SECURITY_MANUAL_LINKING_ENABLED" envDefault:"false" help:"Users may add and remove identities of their own."`
}

// Password says what a password must be, and what hashing one costs.
type Password struct {
	MinLength  int           `env:"PASSWORD_MIN_LENGTH" envDefault:"6" min:"6" max:"128" help:"Least number of characters."`
	Required   CharacterSets `env:"PASSWORD_REQUIRED_CHARACTERS" help:"Sets of characters, separated by a colon: a password needs one of each. A colon inside a set is written \\:."`
	Strength   string        `env:"PASSWORD_STRENGTH" oneof:"|none|whocares|easy|common|moderate|violence|nightmare" help:"Level a password must reach, by length in bytes and groups of characters (lower case, upper case, digits, others): easy 6 of 2, common 8 of 2, moderate 12 of 3, violence 16 of 4, nightmare 24 of 4. Empty: none."`
	Common     bool          `env:"PASSWORD_COMMON_CHECK" envDefault:"true" help:"Refuse the commonest passwords, from a list inside the program and from PASSWORD_COMMON_LIST, and what is made of them by digits or signs behind, digits for letters, or twice in a row."`
	CommonList string        `env:"PASSWORD_COMMON_LIST" scope:"house" help:"File with more of them, one on a line. Empty: common-passwords.txt in DATA, where there is one."`
	HIBP       bool          `env:"PASSWORD_HIBP_ENABLED" envDefault:"false" help:"Refuse passwords that a service knows to be stolen. It is sent the first five digits of a hash, never the password."`
	HIBPURL    string        `env:"PASSWORD_HIBP_URL" scope:"house" envDefault:"https://api.pwnedpasswords.com" check:"web" help:"That service: Have I Been Pwned, or a copy of one's own."`
	HIBPAgent  string        `env:"PASSWORD_HIBP_USER_AGENT" envDefault:"Gatehouse" help:"What the server calls itself there."`
	HIBPClosed bool          `env:"PASSWORD_HIBP_FAIL_CLOSED" envDefault:"false" help:"When that service does not answer, no new password is taken."`
	HashMemory int           `env:"PASSWORD_HASH_MEMORY" reload:"no" scope:"house" envDefault:"19456" min:"8" max:"4194304" help:"Memory of one Argon2id hash, in KiB."`
	HashTime   int           `env:"PASSWORD_HASH_TIME" reload:"no" scope:"house" envDefault:"2" min:"1" max:"1000" help:"Passes of one Argon2id hash over its memory."`
	HashSlots  int           `env:"PASSWORD_HASH_SLOTS" reload:"no" scope:"house" envDefault:"0" min:"0" max:"1024" help:"How many hashes may run at once; 0 means one for each processor core."`
	HashWait   time.Duration `env:"PASSWORD_HASH_MAX_WAIT" reload:"no" scope:"house" envDefault:"5s" min:"0" help:"Longest wait for a slot, after which the client is asked to come back later."`
}

// JWT is what access tokens say and who signs them.
type JWT struct {
	Secret          Secret        `env:"JWT_SECRET" scope:"own" help:"Shared secret: when set, tokens are signed with it (HS256). At least 32 bytes; fewer is a warning, fewer than 16 or a published example is refused in public. Empty: the server makes its own key pairs (ES256)."`
	Keys            Secret        `env:"JWT_KEYS" scope:"own" help:"JSON array of JWKs; exactly one has the key operation sign, the others verify."`
	KeyID           string        `env:"JWT_KEY_ID" scope:"own" help:"Key id (kid) of JWT_SECRET."`
	ValidMethods    []string      `env:"JWT_VALID_METHODS" scope:"own" help:"Algorithms accepted in tokens. Empty: those of the keys."`
	Life            Seconds       `env:"JWT_EXP" envDefault:"3600" min:"1" help:"Life of an access token."`
	Audience        string        `env:"JWT_AUD" envDefault:"authenticated" help:"Audience (aud) when the request names none."`
	Issuer          string        `env:"JWT_ISSUER" scope:"own" help:"Issuer (iss). Empty: API_EXTERNAL_URL."`
	DefaultGroup    string        `env:"JWT_DEFAULT_GROUP_NAME" envDefault:"authenticated" help:"Role of new users."`
	AdminGroup      string        `env:"JWT_ADMIN_GROUP_NAME" envDefault:"admin" help:"Role, in a user's own list of roles, that is an administrator."`
	AdminRoles      []string      `env:"JWT_ADMIN_ROLES" envDefault:"service_role,supabase_admin" help:"Values of the role claim that are an administrator."`
	RefreshLife     Seconds       `env:"JWT_REFRESH_TOKEN_LIFETIME" envDefault:"0" min:"0" help:"Life of a refresh token that is not used; 0 means no end."`
	RotationOverlap time.Duration `env:"JWT_ROTATION_OVERLAP" scope:"house" envDefault:"24h" min:"0" help:"How long the next key is published before it signs, so that everyone who keeps a copy of the keys knows it by then."`
	RotateEvery     time.Duration `env:"JWT_ROTATE_EVERY" scope:"house" envDefault:"2160h" min:"0" help:"How often the server makes itself a new signing key, when it signs with its own: more than twice JWT_ROTATION_OVERLAP; 0 means never."`
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
	Single           bool          `env:"SESSIONS_SINGLE_PER_USER" envDefault:"false" help:"A sign-in ends the user's other sessions."`
	LowAAL           time.Duration `env:"SESSIONS_ALLOW_LOW_AAL" envDefault:"0" min:"0" help:"How long a user who has a second factor may go without it; 0 means no end."`
	PerUser          int           `env:"SESSIONS_PER_USER" envDefault:"100" min:"1" max:"10000" help:"Living sessions a user may have. One more ends the oldest."`
}

// Mailer says what is mailed, and what the links in it do.
type Mailer struct {
	Mail              string        `env:"MAIL" oneof:"|none" help:"none sends no mail at all; nothing may be set in SMTP_HOST then."`
	Autoconfirm       bool          `env:"MAILER_AUTOCONFIRM" envDefault:"false" help:"Take every e-mail address as confirmed, without a mail. Anyone may then sign up with anyone's address."`
	SecureEmailChange bool          `env:"MAILER_SECURE_EMAIL_CHANGE_ENABLED" envDefault:"true" help:"A change of address is confirmed from the old address and the new one."`
	OTPExp            Seconds       `env:"MAILER_OTP_EXP" envDefault:"0" min:"0" help:"Life of mailed codes and links. 0: ten minutes for codes, one hour for links."`
	ConfirmationAge   time.Duration `env:"MAILER_CONFIRMATION_MAX_AGE" envDefault:"0" min:"0" help:"Life of a link that confirms a sign-up. 0: that of any link."`
	RecoveryAge       time.Duration `env:"MAILER_RECOVERY_MAX_AGE" envDefault:"0" min:"0" help:"Life of a link that lets a user in who forgot the password. 0: that of any link."`
	InviteAge         time.Duration `env:"MAILER_INVITE_MAX_AGE" envDefault:"168h" min:"1m" help:"Life of an invitation."`
	Unverified        bool          `env:"MAILER_ALLOW_UNVERIFIED_EMAIL_SIGN_INS" envDefault:"false" help:"A password lets in whose address nobody has confirmed. Whoever signed up with somebody else's address is let in, too."`
	Language          string        `env:"MAILER_LANGUAGE" envDefault:"en" check:"language" help:"Language of messages to those whose own is not there. Built in are en, de and fr; a path in MAILER_TEMPLATES_X that holds {lang} has any. A user's own is user_metadata.locale, language or lang, else what their browser asks for."`
	PKCEBinding       string        `env:"MAILER_PKCE_BINDING" envDefault:"open" oneof:"open|strict" help:"open: a link that was asked for with PKCE also signs in on another device, whose page says so. strict: the link signs in only where it was asked for; the code of the same mail anywhere."`
	PerDay            int           `env:"MAILER_MAX_PER_RECIPIENT" envDefault:"20" min:"0" help:"Mails of a kind one address may be asked to be sent in a day; 0 means no limit."`
	OTPLength         int           `env:"MAILER_OTP_LENGTH" envDefault:"6" min:"6" max:"10" help:"Digits of a mailed code."`
	LinkMode          string        `env:"MAILER_LINK_MODE" envDefault:"page" oneof:"page|direct" help:"page: a mailed link opens a page whose button finishes, so that mail scanners that follow links use nothing up. direct: the link finishes at once."`
	LinkStyle         string        `env:"MAILER_LINK_STYLE" envDefault:"auto" oneof:"auto|netlify|supabase" help:"Whose links to mail. auto: as the client that asked expects."`
	ExternalHosts     []string      `env:"MAILER_EXTERNAL_HOSTS" scope:"own" check:"host" help:"Values of X-Forwarded-Host that may become the host of mailed links."`
	TemplateMaxAge    time.Duration `env:"MAILER_TEMPLATE_MAX_AGE" envDefault:"10m" min:"0" help:"How long a fetched template is kept."`
	TemplateMaxSize   int           `env:"MAILER_TEMPLATE_MAX_SIZE" envDefault:"1000000" min:"1" help:"Largest template, in bytes."`
	TemplateRetry     time.Duration `env:"MAILER_TEMPLATE_RETRY_INTERVAL" envDefault:"10s" min:"1ms" help:"Least time between two attempts at a template that cannot be had."`
	Notices           Notices       `envPrefix:"MAILER_NOTIFICATIONS_" help:"Tell users by mail %s, with a link that undoes it for 72 hours."`
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
	PasswordChanged  string `env:"PASSWORD_CHANGED_NOTIFICATION" help:"that tells of a new password"`
	EmailChanged     string `env:"EMAIL_CHANGED_NOTIFICATION" help:"that tells of a new address"`
	PhoneChanged     string `env:"PHONE_CHANGED_NOTIFICATION" help:"that tells of a new number"`
	IdentityLinked   string `env:"IDENTITY_LINKED_NOTIFICATION" help:"that tells of a new identity"`
	IdentityUnlinked string `env:"IDENTITY_UNLINKED_NOTIFICATION" help:"that tells of an identity that is gone"`
	NewDevice        string `env:"NEW_DEVICE_NOTIFICATION" help:"that tells of a sign-in with another browser or program"`
}

// Notices says what users are told of by mail.
type Notices struct {
	PasswordChanged  bool `env:"PASSWORD_CHANGED_ENABLED" envDefault:"true" help:"of a new password"`
	EmailChanged     bool `env:"EMAIL_CHANGED_ENABLED" envDefault:"true" help:"of a new address, at the old one"`
	PhoneChanged     bool `env:"PHONE_CHANGED_ENABLED" envDefault:"true" help:"of a new number"`
	IdentityLinked   bool `env:"IDENTITY_LINKED_ENABLED" envDefault:"true" help:"of a new identity"`
	IdentityUnlinked bool `env:"IDENTITY_UNLINKED_ENABLED" envDefault:"true" help:"of an identity that is gone"`
	NewDevice        bool `env:"NEW_DEVICE_ENABLED" envDefault:"false" help:"of a sign-in with another browser or program than those of their sessions of late"`
}

// SMS says how codes reach telephones.
type SMS struct {
	Provider     string        `env:"SMS_PROVIDER" oneof:"|twilio|twilio_verify|messagebird|textlocal|vonage|webhook" help:"Whose service sends text messages; webhook is one of your own."`
	Autoconfirm  bool          `env:"SMS_AUTOCONFIRM" envDefault:"false" help:"Take every number as confirmed, without a message. Anyone may then sign up with anyone's number."`
	OTPExp       Seconds       `env:"SMS_OTP_EXP" envDefault:"600" min:"10" max:"86400" help:"Life of a code."`
	OTPLength    int           `env:"SMS_OTP_LENGTH" envDefault:"6" min:"6" max:"10" help:"Digits of a code."`
	MaxFrequency time.Duration `env:"SMS_MAX_FREQUENCY" envDefault:"1m" min:"0" help:"Least time between two messages to one number."`
	PerHour      int           `env:"SMS_MAX_PER_HOUR" envDefault:"5" min:"0" help:"Messages of a kind to one number in an hour; 0 means no limit."`
	PerDay       int           `env:"SMS_MAX_PER_DAY" envDefault:"20" min:"0" help:"Messages of a kind to one number in a day; 0 means no limit."`
	PerPrefix    int           `env:"SMS_MAX_PER_PREFIX" envDefault:"0" min:"0" help:"Messages in an hour to numbers that begin alike: the calling code and three or four digits more. Whoever earns by messages rents numbers in blocks. 0 means no limit; a country's mobile numbers may share a beginning."`
	Budget       int           `env:"SMS_DAILY_BUDGET" envDefault:"1000" min:"0" help:"Messages to everybody in a day; 0 means no limit. Each costs money, and some people earn it. When it is spent the event sms.budget_spent says so, once, and requests for more are refused."`
	Countries    []string      `env:"SMS_COUNTRIES" check:"country" help:"Countries whose numbers are sent messages, as DE,AT,CH. Empty: every one. Numbers of premium services never are."`
	Template     string        `env:"SMS_TEMPLATE" help:"Text of a message, a Go template with .Code. Empty: the built-in one, in the reader's language."`
	TestOTP      []string      `env:"SMS_TEST_OTP" scope:"own" help:"Numbers that are sent nothing and whose code is always the same, as 491701234567:123456. Whoever knows the list is let in."`
	TestOTPUntil Instant       `env:"SMS_TEST_OTP_VALID_UNTIL" help:"Until when those are good, as 2030-01-31T00:00:00Z. Empty: for ever."`

	TwilioAccount     string `env:"SMS_TWILIO_ACCOUNT_SID" help:"Twilio: the account."`
	TwilioToken       Secret `env:"SMS_TWILIO_AUTH_TOKEN" help:"Twilio: its token."`
	TwilioSender      string `env:"SMS_TWILIO_MESSAGE_SERVICE_SID" help:"Twilio: the messaging service, or a number messages come from."`
	TwilioContent     string `env:"SMS_TWILIO_CONTENT_SID" help:"Twilio: the content template of WhatsApp messages."`
	VerifyAccount     string `env:"SMS_TWILIO_VERIFY_ACCOUNT_SID" help:"Twilio Verify: the account."`
	VerifyToken       Secret `env:"SMS_TWILIO_VERIFY_AUTH_TOKEN" help:"Twilio Verify: its token."`
	VerifyService     string `env:"SMS_TWILIO_VERIFY_MESSAGE_SERVICE_SID" help:"Twilio Verify: the service, which makes and judges the codes."`
	MessageBirdKey    Secret `env:"SMS_MESSAGEBIRD_ACCESS_KEY" help:"MessageBird: the key."`
	MessageBirdSender string `env:"SMS_MESSAGEBIRD_ORIGINATOR" help:"MessageBird: the name messages come from."`
	TextlocalKey      Secret `env:"SMS_TEXTLOCAL_API_KEY" help:"Textlocal: the key."`
	TextlocalSender   string `env:"SMS_TEXTLOCAL_SENDER" help:"Textlocal: the name messages come from."`
	VonageKey         Secret `env:"SMS_VONAGE_API_KEY" help:"Vonage: the key."`
	VonageSecret      Secret `env:"SMS_VONAGE_API_SECRET" help:"Vonage: its secret."`
	VonageSender      string `env:"SMS_VONAGE_FROM" help:"Vonage: the name messages come from."`
	WebhookURL        string `env:"SMS_WEBHOOK_URL" check:"web" help:"Webhook: where each message is posted as JSON, signed as Standard Webhooks has it."`
	WebhookSecrets    Secret `env:"SMS_WEBHOOK_SECRETS" help:"Webhook: the secrets it is signed with, as v1,whsec_… with | between them."`
	BaseURL           string `env:"SMS_BASE_URL" check:"web" help:"Address of the provider's API instead of the usual one, for regions and tests."`
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
	Headers      MailHeaders   `env:"SMTP_HEADERS" help:"Headers of every mail besides its own, as JSON: {\"X-Campaign\":[\"auth\"]}. $messageType in a value becomes the kind of the mail, such as recovery."`
	Timeout      time.Duration `env:"SMTP_TIMEOUT" envDefault:"15s" min:"1ms" help:"Longest time one delivery may take."`
}

// External says which ways to sign in are open.
type External struct {
	Email     bool `env:"EXTERNAL_EMAIL_ENABLED" negated:"EXTERNAL_EMAIL_DISABLED" envDefault:"true" help:"Sign-up and sign-in by e-mail address."`
	MagicLink bool `env:"EXTERNAL_EMAIL_MAGIC_LINK_ENABLED" envDefault:"true" help:"Sign-in by a mailed link or code."`
	Phone     bool `env:"EXTERNAL_PHONE_ENABLED" envDefault:"false" help:"Sign-up and sign-in by telephone number."`
	Anonymous bool `env:"EXTERNAL_ANONYMOUS_USERS_ENABLED" envDefault:"false" help:"Users who are nobody in particular, until they add an address or number."`

	FlowLife time.Duration `env:"EXTERNAL_FLOW_STATE_EXPIRY_DURATION" envDefault:"5m" min:"5m" max:"24h" help:"Life of the code a client that asked with PKCE trades for its tokens."`

	OnlyTo []string `env:"EXTERNAL_EMAIL_AUTHORIZED_ADDRESSES" check:"address" help:"The only addresses that people may have mail sent to. Empty: any."`
}

// Cookie is the cookie of clients that ask for one.
type Cookie struct {
	Key  string  `env:"COOKIE_KEY" envDefault:"nf_jwt" check:"cookie" help:"Name of the cookie."`
	Life Seconds `env:"COOKIE_DURATION" envDefault:"86400" min:"0" help:"Life of a cookie that outlives the browser."`
}

// Log says what is written down, and how.
type Log struct {
	Level  Level  `env:"LOG_LEVEL" envDefault:"info" help:"Least important line written: debug, info, warn or error (trace, warning, fatal and panic are taken as the nearest of these)."`
	File   string `env:"LOG_FILE" reload:"no" help:"File to append to. Empty: standard error."`
	Format string `env:"LOG_FORMAT" reload:"no" envDefault:"auto" oneof:"auto|text|json" help:"auto: text on a terminal, else JSON."`
}

// Loopback reports whether the server listens on a loopback address, so that
// only this machine reaches it.
func (c *Config) Loopback() bool { return loopback(c.Server.Host) }

// DevInbox reports whether mail is kept in the development inbox instead of
// being sent: no mail server and no hook is set, mail is not off, and only this
// machine reaches the server. On any other address the inbox would show everybody
// everybody's sign-in links.
func (c *Config) DevInbox() bool {
	return c.SMTP.Host == "" && !c.Hooks.SendEmail && c.Mailer.Mail == "" && c.Loopback()
}

// Listening fills in what follows from the address really listened on
// (host:port, as net.Listener gives it): the external URL, the site's URL and
// the issuer, each only when the operator left it empty.
func (c *Config) Listening(addr string) { c.FollowFrom("http://" + addr) }

// FollowFrom is Listening for an address as a URL.
func (c *Config) FollowFrom(address string) {
	if c.Server.ExternalURL == "" {
		c.Server.ExternalURL = address
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

// OlderKeys are the keys of MASTER_KEY_OLD.
func (s Server) OlderKeys() [][]byte {
	keys, _ := olderKeys(s.MasterKeyOld)
	return keys
}

func loopback(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}
