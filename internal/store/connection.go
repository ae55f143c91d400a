package store

import "time"

type connectionKind struct{}

// ConnectionID names a connection.
type ConnectionID = ID[connectionKind]

// NewConnectionID returns a random id; it is shown to clients.
func NewConnectionID() ConnectionID { return ConnectionID(NewUserID()) }

// ParseConnectionID reads the text form of a connection's id.
func ParseConnectionID(s string) (ConnectionID, error) { return ParseID[connectionKind](s) }

// The kinds of connections.
const (
	CustomConnection = "custom" // a provider of accounts
	SAMLConnection   = "saml"   // a company's identity provider
)

// Connection is something outside that an operator has added for people to sign
// in by. Its Data is read and written by whoever knows the Kind.
type Connection struct {
	ID        ConnectionID
	Kind      string
	Name      string // unique within Kind: "custom:…", or an entity id
	Alias     string // likewise; empty: none
	Data      []byte // sealed
	CreatedAt time.Time
	UpdatedAt time.Time
}

const connectionColumns = `c.id, c.kind, c.name, COALESCE(c.alias, ''), c.data, c.created_at, c.updated_at`

func scanConnection(scan func(...any) error) (c Connection, err error) {
	var created, updated int64
	err = scan(&c.ID, &c.Kind, &c.Name, &c.Alias, &c.Data, &created, &updated)
	c.CreatedAt, c.UpdatedAt = instant(created), instant(updated)
	return c, err
}

// AddConnection inserts c, or returns ErrDuplicate when its name or alias is
// taken.
func (tx *Tx) AddConnection(c Connection) error {
	return tx.later(`INSERT INTO connections (tenant_id, id, kind, name, alias, data, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
		tx.Tenant, c.ID, c.Kind, c.Name, orNull(c.Alias), c.Data, micros(tx.Now), micros(tx.Now))
}

// SetConnection writes the name, the alias and the data of a connection of c's
// kind, and reports whether there is one. ErrDuplicate is as for AddConnection.
func (tx *Tx) SetConnection(c Connection) (bool, error) {
	n, err := tx.exec(`UPDATE connections SET name = ?, alias = ?, data = ?, updated_at = ? WHERE tenant_id = ? AND id = ? AND kind = ?`,
		c.Name, orNull(c.Alias), c.Data, micros(tx.Now), tx.Tenant, c.ID, c.Kind)
	return n == 1, err
}

// DropConnection deletes a connection with its domains, and reports whether
// there was one.
func (tx *Tx) DropConnection(kind string, id ConnectionID) (bool, error) {
	n, err := tx.exec(`DELETE FROM connections WHERE tenant_id = ? AND id = ? AND kind = ?`, tx.Tenant, id, kind)
	if err != nil || n == 0 {
		return false, err
	}
	return true, tx.dropDomains(id)
}

func (tx *Tx) dropDomains(id ConnectionID) error {
	return tx.later(`DELETE FROM connection_domains`+tx.byDropping("connection_domains_of")+` WHERE tenant_id = ? AND connection_id = ?`, tx.Tenant, id)
}

// SetConnectionDomains replaces the domains of a connection, or returns
// ErrDuplicate when one is another's. It is for use after AddConnection or
// SetConnection in the same Write, which hold the connection: domains that
// outlive it would be nobody's.
func (tx *Tx) SetConnectionDomains(id ConnectionID, domains []string) error {
	err := tx.dropDomains(id)
	for _, d := range domains {
		if err != nil {
			return err
		}
		err = tx.later(`INSERT INTO connection_domains (tenant_id, domain, connection_id) VALUES (?, ?, ?)`, tx.Tenant, d, id)
	}
	return err
}

// Connection returns a connection. In a Write it is held until the commit, for
// whoever changes it.
func (tx *Tx) Connection(kind string, id ConnectionID) (Connection, error) {
	hold := ""
	if tx.may == writes {
		hold = tx.held()
	}
	return tx.connection(`c.tenant_id = ? AND c.id = ? AND c.kind = ?`+hold, tx.Tenant, id, kind)
}

// ConnectionByName returns the connection that is called so. Neither it nor the
// next two hold anything: of the many who sign in by one nobody waits for
// another.
func (tx *Tx) ConnectionByName(kind, name string) (Connection, error) {
	return tx.connection(`c.tenant_id = ? AND c.kind = ? AND c.name = ?`, tx.Tenant, kind, name)
}

// ConnectionByAlias returns the connection of that alias.
func (tx *Tx) ConnectionByAlias(kind, alias string) (Connection, error) {
	return tx.connection(`c.tenant_id = ? AND c.kind = ? AND c.alias = ?`, tx.Tenant, kind, alias)
}

// ConnectionByDomain returns the connection that signs in those whose addresses
// are of a domain.
func (tx *Tx) ConnectionByDomain(domain string) (Connection, error) {
	return tx.connection(`c.tenant_id = ? AND c.id = (SELECT d.connection_id FROM connection_domains d WHERE d.tenant_id = ? AND d.domain = ?)`,
		tx.Tenant, tx.Tenant, domain)
}

func (tx *Tx) connection(where string, args ...any) (c Connection, err error) {
	found := false
	err = tx.rows(`SELECT `+connectionColumns+` FROM connections c WHERE `+where, args, func(scan func(...any) error) (err error) {
		found = true
		c, err = scanConnection(scan)
		return err
	})
	if err == nil && !found {
		err = ErrNotFound
	}
	return c, err
}

// Connections returns up to limit connections of a kind, oldest first.
func (tx *Tx) Connections(kind string, limit int) (list []Connection, err error) {
	err = tx.rows(`SELECT `+connectionColumns+` FROM connections c WHERE c.tenant_id = ? AND c.kind = ? ORDER BY c.created_at, c.id LIMIT ?`,
		[]any{tx.Tenant, kind, limit}, func(scan func(...any) error) error {
			c, err := scanConnection(scan)
			list = append(list, c)
			return err
		})
	return list, err
}

// CountConnections returns how many connections of a kind there are.
func (tx *Tx) CountConnections(kind string) (n int, err error) {
	err = tx.row(`SELECT COUNT(*) FROM connections WHERE tenant_id = ? AND kind = ?`, []any{tx.Tenant, kind}, &n)
	return n, err
}
