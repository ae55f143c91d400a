package login_test

import (
	"os"
	"testing"

	"gatehouse/internal/storetest"
)

func TestMain(m *testing.M) { os.Exit(storetest.Main(m)) }
