//go:build nextschema

package store

import "testing/fstest"

// coming adds one more migration, such as the next version may have: for tests
// that replace the nodes of one version by those of the next and back, under
// load.
func coming(engine string, history fstest.MapFS) {
	add := "ALTER TABLE sessions ADD COLUMN coming BIGINT NOT NULL DEFAULT 0;"
	if engine == "mysql" { // which must be able to run twice
		add = "ALTER TABLE sessions ADD COLUMN IF NOT EXISTS coming BIGINT NOT NULL DEFAULT 0;"
	}
	history["9000_coming.sql"] = &fstest.MapFile{Data: []byte(safeToUndo + ".\n\n-- +goose Up\n" + add + "\n\n-- +goose Down\nALTER TABLE sessions DROP COLUMN coming;\n")}
}
