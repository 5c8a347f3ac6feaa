package smpp

import "mobileid/internal/mobileid"

const (
	// sizesKept is about how many Messages an average is taken over.
	sizesKept = 100
	// sizeUnknown is taken for the average before there is one.
	sizeUnknown = 3
)

// sizes are the average submit_sm that a Message of each lane takes: a lane
// carries ids, so how many parts one has is known only when it is admitted.
type sizes struct{ otp, bulk size }

func (s *sizes) of(lane mobileid.Lane) *size {
	if lane == mobileid.LaneBulk {
		return &s.bulk
	}
	return &s.otp
}

// size is an average over about the last Messages.
type size struct{ messages, submits int }

func (s *size) add(submits int) {
	s.messages, s.submits = s.messages+1, s.submits+submits
	if s.messages >= 2*sizesKept {
		s.messages, s.submits = s.messages/2, s.submits/2
	}
}

// fit is how many Messages begin within that many submit_sm; the last one may end
// behind them, or a long one would never be admitted.
func (s *size) fit(submits int) int {
	if submits <= 0 {
		return 0
	}
	messages, each := s.messages, s.submits
	if messages == 0 {
		messages, each = 1, sizeUnknown
	}
	return (submits*messages + each - 1) / each
}
