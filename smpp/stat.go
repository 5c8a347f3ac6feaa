package smpp

import (
	"mobileid/internal/mobileid"
	"mobileid/smpp/profile"
)

// StateOf is what an operator means by a status, written as in its receipts,
// wherever else it writes one. known is false for one that is neither of SMPP
// nor in the operator's file.
func StateOf(dialect profile.Receipts, stat, err string) (state mobileid.MessageState, reason string, known bool) {
	r := receipt{stat: stat, err: err}
	for _, s := range states {
		if s.stat == stat {
			r.state, known = s.state, true
		}
	}
	_, ruled := dialect.Find(stat, err)
	r.apply(&dialect)
	return r.state, r.reason, known || ruled
}
