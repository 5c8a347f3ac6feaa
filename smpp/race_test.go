//go:build race

package smpp

const racing = true
