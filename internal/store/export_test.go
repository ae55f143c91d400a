package store

// Belongings are the tables that a tenant's rows are in.
func Belongings() (tables []string) {
	for _, b := range belongings {
		tables = append(tables, b.table)
	}
	return tables
}
