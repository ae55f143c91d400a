// Package telemetry lets operators see how the server does: metrics for
// Prometheus (metrics.go), traces by OTLP (trace.go), a log that never stands
// in the way (log.go), and the listeners that serve what is for operators alone
// (server.go). Begin with Metrics.
//
// It imports nothing of the house, has no variables that change, and must never
// be told a user, an address, a header, a query or a body: what it holds goes to
// machines that keep it for years. Whatever it does, requests do not wait for
// it, and do not fail when nobody listens.
package telemetry
