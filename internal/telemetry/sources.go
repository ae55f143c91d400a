package telemetry

import "context"

// Sources are the counts that others keep and that are read when somebody asks
// for them. A nil one is left out.
type Sources struct {
	Version string

	Hashing      func() Hashing
	Database     func() Connections
	Mails        func(context.Context) (waiting, dead int, err error) // the outbox
	Webhooks     func(context.Context) (waiting, dead int, err error)
	DroppedLines func() int64 // of the log
	DroppedSpans func() int64 // of the traces
}

// Hashing is the state of the pool that hashes passwords.
type Hashing struct {
	Running, Waiting int
	Refused          int64 // since the start
}

// Connections is the state of the pool of connections to the database.
type Connections struct {
	Open, InUse int
	Waits       int64 // since the start: how often none was free
}
