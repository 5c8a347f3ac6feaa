//go:build !race

package smpp

// racing reports whether the race detector is in this program.
const racing = false
