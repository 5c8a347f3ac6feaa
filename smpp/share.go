package smpp

// noticeEvery is how many codes go before one notice at most: a flood of codes
// leaves the notices a sixteenth.
const noticeEvery = 15

// share keeps count of codes that went before notices.
type share struct{ codes int }

// notice reports whether it is a notice's turn.
func (s *share) notice(codesWait, noticesWait bool) bool {
	return noticesWait && (!codesWait || s.codes >= noticeEvery)
}

// took notes what has gone. Codes that nothing waited behind do not count; those
// before them still do, because at a slow pace fifteen codes take longer than an
// admission is good: a notice is admitted again and again meanwhile.
func (s *share) took(notice, noticesWait bool) {
	switch {
	case notice:
		s.codes = 0
	case noticesWait:
		s.codes++
	}
}
