package authtest_test

import (
	"os"
	"testing"

	"gatehouse/internal/storetest"
)

// Every test here stands on a house, and runs on every engine.
func TestMain(m *testing.M) { os.Exit(storetest.Main(m)) }
