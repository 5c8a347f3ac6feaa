// Package world is the outside world that Mobile-ID talks to, as one HTTP
// program: each agency is a file of its own with its routes and its part of the
// control API. Today there are the
// token issuer and the operators' number-info and SIM Swap services.
//
// Its promise: what an agency answers, it answers by its real protocol over
// TCP, so that our side is tested with the client code it will use for ever;
// the control API, under /control/, makes it misbehave on purpose. It keeps
// nothing on disk.
package world
