package config

import "time"

// Web3 says whose wallets let people in.
type Web3 struct {
	Ethereum Chain `envPrefix:"EXTERNAL_WEB3_ETHEREUM_" help:"Ethereum: %s"`
	Solana   Chain `envPrefix:"EXTERNAL_WEB3_SOLANA_" help:"Solana: %s"`
}

// Chain is what a wallet of one chain signs.
type Chain struct {
	Enabled bool          `env:"ENABLED" envDefault:"false" help:"a message signed by a wallet lets people in."`
	MaxAge  time.Duration `env:"MAXIMUM_VALIDITY_DURATION" envDefault:"10m" min:"1s" max:"24h" help:"how old that message may be."`
}
