# The commands of this house. A fresh Debian machine with Go and Node needs
# nothing else: `make test` installs what the tests need, or says what is
# missing.
export CGO_ENABLED = 0
GO ?= go
BIN = dist/gatehouse

.PHONY: all build test test-go test-race test-compat faults lint gen gen-check bench clean need-node need-browser need-debian need-engines need-faults

all: build

build: ## the one static binary
	$(GO) build -trimpath -ldflags "-s -w" -o $(BIN) ./cmd/gatehouse

test: gen-check test-race test-compat ## everything, fast tests first

# The race detector needs cgo, and so a C compiler: the only thing here that
# does. One test runs the curl line that the server prints.
# They start PostgreSQL and MariaDB by themselves, as an unprivileged user, and
# fail where one is missing.
test-race: need-node need-debian need-engines
	CGO_ENABLED=1 $(GO) test -race -shuffle=on -timeout 20m ./...

test-go: need-node need-engines ## the Go tests alone, without the race detector
	$(GO) test ./...

# The real npm clients, unmodified, against the real binary.
test-compat: need-node need-browser build
	cd compat && npm ci --no-audit --no-fund --loglevel=error
	$(GO) build -o dist/idp ./compat/idp
	cd compat && GATEHOUSE_BIN=$(CURDIR)/$(BIN) COMPAT_IDP_BIN=$(CURDIR)/dist/idp npm test

lint: ## golangci-lint, from its own module so that it adds nothing to ours
	$(GO) build -modfile=tools/go.mod -o dist/golangci-lint github.com/golangci/golangci-lint/v2/cmd/golangci-lint
	dist/golangci-lint run ./...

gen: ## the generated documents
	$(GO) test ./internal/config -run TestMarkdown -update
	$(GO) test ./internal/auth -run TestEvents_document -update
	$(GO) test ./internal/dialect/gotrue -run TestErrors_document -update-docs
	$(GO) run ./docs/mission

gen-check: ## fails if `make gen` would change something
	$(GO) run ./docs/mission -check

# Servers are killed, cut off and filled up under load, and a journal of what
# they had acknowledged is held against what they know afterwards.
faults: build need-engines need-faults ## at most 15 minutes
	$(GO) run ./faults -bin $(BIN)

bench: build ## figures of this machine; see bench/README.md
	$(GO) run ./bench -bin $(BIN)

clean:
	rm -rf dist compat/node_modules

need-node:
	@command -v node >/dev/null && command -v npm >/dev/null || \
		{ echo "make test needs Node 20 or newer with npm (Debian: apt-get install nodejs npm)" >&2; exit 1; }

# $(call need,COMMAND,PACKAGES): installs Debian packages where it may, else says
# what to install.
define need
	@PATH="$$PATH:/usr/sbin:$$(echo /usr/lib/postgresql/*/bin)" command -v $(1) >/dev/null || { \
		echo "make test needs $(1); installing $(2)" >&2; \
		if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then apt-get update -qq && apt-get install -y -qq $(2) >/dev/null; \
		else echo "run: sudo apt-get install $(2)" >&2; exit 1; fi; }
endef

# A real browser for the clients that live in one; CHROMIUM names another.
need-browser:
	$(call need,$(or $(CHROMIUM),chromium),chromium)

# The servers themselves, started by the tests; Debian's own services are not
# needed.
need-engines:
	$(call need,initdb,postgresql)
	$(call need,mariadbd,mariadb-server)
	$(call need,pgbouncer,pgbouncer)

need-faults:
	$(call need,haproxy,haproxy)

need-debian:
	$(call need,gcc,gcc libc6-dev)
	$(call need,curl,curl ca-certificates)
