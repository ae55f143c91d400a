// Command gatehouse is the server and its tools. Begin with serve.go, where
// the house is put together; every other file is one verb of the command line
// and runs the same core.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/alecthomas/kong"
)

// version is set by the linker in releases.
var version = "0.1.0-dev"

// env is what a command may know of the world.
type env struct {
	environ []string // KEY=VALUE
	dir     string   // holds .env and gatehouse.yaml
	tenant  string   // whom an offline verb means, by name or id; empty: the default one
	in      io.Reader
	out     io.Writer // what was asked for
	err     io.Writer // logs and warnings
}

// cli lists the verbs.
type cli struct {
	For string `name:"tenant" help:"Whom the command means, by name or id. Without it: the default tenant." placeholder:"NAME"`

	Serve   serveCmd   `cmd:"" default:"withargs" help:"Serve (the default)."`
	Migrate migrateCmd `cmd:"" help:"Bring the database up to date, or show its state."`
	Check   checkCmd   `cmd:"" help:"Report every fault of the configuration."`
	User    userCmd    `cmd:"" help:"Add, show, list, ban, delete or promote users."`
	Session sessionCmd `cmd:"" help:"List, explain or end sessions."`
	Tenants tenantCmd  `cmd:"" name:"tenant" help:"Make, list, show, change or delete tenants."`
	Multi   multiCmd   `cmd:"" help:"Serve many instances as Netlify's server does: the same as MULTIINSTANCEMODE=true."`
	Webhook webhookCmd `cmd:"" help:"Add, list, show, change or delete the endpoints that events are sent to, see what was sent, and send it again."`
	Audit   auditCmd   `cmd:"" help:"Verify or export the audit trail."`
	Keys    keysCmd    `cmd:"" help:"List or rotate the signing keys, or issue a service token."`
	Version versionCmd `cmd:"" help:"Print the version."`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	err := run(ctx, os.Args[1:], env{environ: os.Environ(), dir: ".", in: os.Stdin, out: os.Stdout, err: os.Stderr})
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "gatehouse:", err)
		os.Exit(1)
	}
}

// run is the whole program but for the process around it.
func run(ctx context.Context, args []string, e env) error {
	var c cli
	type exited struct{}
	p, err := kong.New(&c,
		kong.Name("gatehouse"),
		kong.Description("Users for your application: sign-up, sign-in, sessions, recovery. With no command it serves."),
		kong.Writers(e.out, e.err),
		kong.Exit(func(int) { panic(exited{}) }), // --help; nothing here may end a test's process
		kong.UsageOnError(),
	)
	if err != nil {
		return err
	}
	var k *kong.Context
	done, err := func() (done bool, err error) {
		defer func() {
			v := recover()
			_, done = v.(exited)
			if v != nil && !done {
				panic(v)
			}
		}()
		k, err = p.Parse(args)
		return false, err
	}()
	if done {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%w (gatehouse --help lists the commands)", err)
	}
	k.BindTo(ctx, (*context.Context)(nil))
	e.tenant = c.For
	return k.Run(e)
}

type versionCmd struct {
	JSON bool `help:"As JSON." name:"json"`
}

// Run prints the version and what it was built with.
func (c versionCmd) Run(e env) error {
	b, _ := debug.ReadBuildInfo()
	goVersion := ""
	if b != nil {
		goVersion = b.GoVersion
	}
	if c.JSON {
		return printJSON(e.out, map[string]string{"version": version, "go": goVersion})
	}
	_, err := fmt.Fprintf(e.out, "gatehouse %s (%s)\n", version, goVersion)
	return err
}
