package config

import "time"

// HTTP says how much the server takes on at once.
type HTTP struct {
	MaxConnections int           `env:"HTTP_MAX_CONNECTIONS" envDefault:"20000" min:"1" max:"1000000" help:"Connections at one time; fewer where the system allows the process fewer open files (ulimit -n). When one more comes, the one that has waited longest for a request is closed."`
	MaxRequests    int           `env:"HTTP_MAX_REQUESTS" envDefault:"0" min:"0" max:"1000000" help:"Requests under way at one time; one more is told 503 and when to come back. Those that may wait for a password hash have twice as many places of their own, and /health is always answered. 0: 256 for each processor core."`
	MaxHeader      int           `env:"HTTP_MAX_HEADER" envDefault:"65536" min:"8192" max:"1048576" help:"Largest header of a request, in bytes. All but its access token, which holds the user's metadata, must fit into 16 KiB."`
	Idle           time.Duration `env:"HTTP_IDLE_TIMEOUT" envDefault:"2m" min:"1s" max:"1h" help:"How long a connection may wait for its next request. A proxy in front should give up its own a little sooner."`
}
