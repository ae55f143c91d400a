package store

// Belongings are the tables that a tenant's rows are in.
func Belongings() (tables []string) {
	for _, b := range belongings {
		tables = append(tables, b.table)
	}
	return tables
}

// Lay puts a migration on top of the others that loses nothing when it is
// undone, for this DB alone; Migrate applies it.
func (db *DB) Lay(file string) {
	db.above = map[string]string{
		file: safeToUndo + ": nothing is in it.\n\n-- +goose Up\nALTER TABLE sessions ADD COLUMN above BIGINT NOT NULL DEFAULT 0;\n\n-- +goose Down\nALTER TABLE sessions DROP COLUMN above;\n",
	}
}
