package vault_test

import (
	"os"
	"testing"

	"gatehouse/internal/storetest"
)

// Every test here stands on a database, and runs on every engine.
func TestMain(m *testing.M) { os.Exit(storetest.Main(m)) }
