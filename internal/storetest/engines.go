package storetest

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
)

func kinds(engine string) kind {
	if engine == "mysql" {
		return mysqlKind{}
	}
	return postgresKind{}
}

type postgresKind struct{}

func (postgresKind) admin(addr, database string) (driver, dsn string) {
	if database == "" {
		database = "postgres"
	}
	return "pgx", "postgres://gatehouse@" + addr + "/" + database + "?sslmode=disable&default_query_exec_mode=simple_protocol"
}

func (postgresKind) clone(name, template string) string {
	return "CREATE DATABASE " + name + " TEMPLATE " + template
}

func (postgresKind) drop(name string) string {
	return "DROP DATABASE IF EXISTS " + name + " WITH (FORCE)"
}

// A clone keeps the numbers of its template's objects, so two databases of one
// schema agree in all of this.
const postgresSchema = `
SELECT md5(coalesce(string_agg(concat_ws(' ', oid, relname, relnamespace, relkind, relnatts), ',' ORDER BY oid), '')) FROM pg_class WHERE oid >= 16384 AND relkind <> 't'
UNION ALL
SELECT md5(coalesce(string_agg(concat_ws(' ', attrelid, attnum, attname, atttypid, atttypmod, attnotnull, atthasdef), ',' ORDER BY attrelid, attnum), '')) FROM pg_attribute WHERE attrelid >= 16384
UNION ALL
SELECT md5(coalesce(string_agg(concat_ws(' ', oid, conname, convalidated), ',' ORDER BY oid), '')) FROM pg_constraint WHERE oid >= 16384
UNION ALL
SELECT md5(coalesce(string_agg(concat_ws(' ', oid, tgname, tgenabled), ',' ORDER BY oid), '')) FROM pg_trigger
UNION ALL
SELECT md5(coalesce(string_agg(concat_ws(' ', oid, proname), ',' ORDER BY oid), '')) FROM pg_proc WHERE oid >= 16384
UNION ALL
SELECT md5(string_agg(concat_ws(' ', oid, nspname), ',' ORDER BY oid)) FROM pg_namespace WHERE nspname NOT LIKE 'pg_%'
UNION ALL
SELECT 'grown out of reuse' FROM pg_class WHERE oid >= 16384 AND relkind IN ('r', 'i') HAVING sum(pg_relation_size(oid)) > 8000000`

func (postgresKind) look(ctx context.Context, c *sql.Conn) (snapshot, error) {
	schema, err := texts(ctx, c, postgresSchema)
	if err != nil {
		return snapshot{}, err
	}
	tables, err := texts(ctx, c, `SELECT quote_ident(schemaname) || '.' || quote_ident(tablename) FROM pg_tables
		WHERE schemaname NOT IN ('pg_catalog', 'information_schema')`)
	if err != nil {
		return snapshot{}, err
	}
	var each []string
	for _, t := range tables {
		each = append(each, fmt.Sprintf("SELECT '%s ' || t::text FROM %s t", t, t))
	}
	return seen(ctx, c, schema, tables, each)
}

func (postgresKind) empty(_ string, fresh snapshot) string {
	var b strings.Builder
	b.WriteString("SET session_replication_role = replica;") // no foreign keys, so any order will do
	for _, t := range fresh.tables {
		fmt.Fprintf(&b, "DELETE FROM %s;", t)
	}
	for _, r := range fresh.rows {
		table, row, _ := strings.Cut(r, " ")
		fmt.Fprintf(&b, "INSERT INTO %s SELECT ('%s'::%s).*;", table, strings.ReplaceAll(row, "'", "''"), table)
	}
	return b.String()
}

func (postgresKind) databases() string { return "SELECT datname FROM pg_database" }

type mysqlKind struct{}

func (mysqlKind) admin(addr, database string) (driver, dsn string) {
	return "mysql", "gatehouse@tcp(" + addr + ")/" + database + "?multiStatements=true"
}

// MySQL has nothing of the kind, and repeating its own SHOW CREATE TABLE is no
// faster than migrating.
func (mysqlKind) clone(string, string) string { return "" }

func (mysqlKind) drop(name string) string { return "DROP DATABASE IF EXISTS " + name }

func (mysqlKind) look(ctx context.Context, c *sql.Conn) (snapshot, error) {
	columns, err := texts(ctx, c, `SELECT CONCAT_WS(' ', table_name, column_name, ordinal_position, column_type, is_nullable,
		column_default, collation_name, extra) FROM information_schema.columns WHERE table_schema = DATABASE()`)
	if err != nil {
		return snapshot{}, err
	}
	more, err := texts(ctx, c, `SELECT CONCAT_WS(' ', table_name, index_name, non_unique, seq_in_index, column_name)
		FROM information_schema.statistics WHERE table_schema = DATABASE()
		UNION ALL SELECT CONCAT_WS(' ', table_name, constraint_name, constraint_type)
		FROM information_schema.table_constraints WHERE table_schema = DATABASE()
		UNION ALL SELECT CONCAT_WS(' ', event_object_table, trigger_name)
		FROM information_schema.triggers WHERE trigger_schema = DATABASE()`)
	if err != nil {
		return snapshot{}, err
	}
	names := map[string][]string{}
	for _, c := range columns {
		f := strings.Fields(c)
		names[f[0]] = append(names[f[0]], "IFNULL(HEX(`"+f[1]+"`), '-')")
	}
	var tables, each []string
	for t, columns := range names {
		tables = append(tables, "`"+t+"`")
		each = append(each, fmt.Sprintf("SELECT CONCAT_WS(' ', '`%s`', %s) FROM `%s`", t, strings.Join(columns, ", "), t))
	}
	return seen(ctx, c, append(columns, more...), tables, each)
}

func (mysqlKind) empty(template string, fresh snapshot) string {
	var b strings.Builder
	b.WriteString("SET foreign_key_checks = 0; START TRANSACTION;") // any order will do
	for _, t := range fresh.tables {
		fmt.Fprintf(&b, "DELETE FROM %s;", t)
	}
	for _, t := range fresh.tables {
		if slices.ContainsFunc(fresh.rows, func(r string) bool { return strings.HasPrefix(r, t+" ") }) {
			fmt.Fprintf(&b, "INSERT INTO %s SELECT * FROM %s.%s;", t, template, t)
		}
	}
	b.WriteString("COMMIT")
	return b.String()
}

// seen makes a snapshot out of what was read of a schema, and a query for each
// table.
func seen(ctx context.Context, c *sql.Conn, schema, tables, each []string) (snapshot, error) {
	slices.Sort(schema)
	slices.Sort(tables)
	s := snapshot{schema: strings.Join(schema, "\n"), tables: tables}
	if len(each) == 0 {
		return s, nil
	}
	rows, err := texts(ctx, c, strings.Join(each, " UNION ALL "))
	slices.Sort(rows)
	s.rows = rows
	return s, err
}

// texts runs a query for one column.
func texts(ctx context.Context, c *sql.Conn, query string) ([]string, error) {
	rows, err := c.QueryContext(ctx, query)
	if err != nil {
		return nil, fmt.Errorf("storetest: %.200s: %w", query, err)
	}
	defer rows.Close()
	var all []string
	for rows.Next() {
		var s string
		err := rows.Scan(&s)
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, rows.Err()
}

func (mysqlKind) databases() string { return "SELECT schema_name FROM information_schema.schemata" }
