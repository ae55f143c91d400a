package web3

// For the published vectors.
var (
	Recovered   = recovered
	ReadAddress = readAddress
	Base58      = base58
)
