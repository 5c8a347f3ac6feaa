package smpp

import (
	"time"

	"mobileid/internal/mobileid"
	"mobileid/smpp/wire"
)

// retryAfter says which statuses mean "the same message later", and how much
// later. Everything else that is not OK is final (tables for each operator
// follow).
var retryAfter = map[wire.Status]time.Duration{
	wire.StatusThrottled:   time.Second,
	wire.StatusSystemError: 2 * time.Second,
	wire.StatusQueueFull:   3 * time.Second,
	wire.StatusTemporary:   3 * time.Second,
}

// lastTry is how long before its deadline a Message is still worth trying.
const lastTry = 2 * time.Second

// judge makes the outcome of a Message from the answers to its parts, at least
// one of which was written:
//
//   - a part without an answer: in doubt, whatever the others say;
//   - a part refused for good: rejected;
//   - a part refused for now: retry if no part was accepted, else failed, for
//     half a text is no text and sending it all again would repeat the half;
//   - all accepted: sent.
func judge(answers []answer, deadline, now time.Time) mobileid.Outcome {
	o := mobileid.Outcome{State: mobileid.MessageSent}
	var doubt, final, later, accepted bool
	var finalStatus, laterStatus wire.Status
	for i, a := range answers {
		p := mobileid.PartOutcome{Part: i + 1, Sequence: a.sequence}
		if !a.writtenAt.IsZero() && (o.SubmittedAt.IsZero() || a.writtenAt.Before(o.SubmittedAt)) {
			o.SubmittedAt = a.writtenAt
		}
		switch {
		case a.fate == notWritten:
			doubt = true
			o.Reason = mobileid.ReasonPartlyWritten
			continue // it has no place in the operator's numbering
		case a.fate == timedOut:
			doubt = true
			o.Reason = mobileid.ReasonNoAnswer
		case a.fate == lost:
			doubt = true
			o.Reason = mobileid.ReasonLinkLost
		default:
			p.Status, p.AnsweredAt = uint32(a.frame.Status), a.answeredAt
			_, again := retryAfter[a.frame.Status]
			switch {
			case a.frame.Command == wire.GenericNack && a.frame.Status == wire.StatusOK:
				// A nack that names no fault is still a refusal.
				final, finalStatus = true, wire.Status(0xFF)
			case a.frame.Status == wire.StatusOK:
				accepted = true
				p.OperatorID = messageID(a.frame)
			case again:
				later, laterStatus = true, a.frame.Status
			default:
				final, finalStatus = true, a.frame.Status
			}
		}
		o.Parts = append(o.Parts, p)
	}
	switch {
	case doubt:
		o.State = mobileid.MessageInDoubt
	case final:
		o.State, o.Reason = mobileid.MessageRejected, reasonOfStatus(finalStatus)
	case later && accepted:
		o.State, o.Reason = mobileid.MessageFailed, mobileid.ReasonPartlyAccepted
	case later:
		o.State, o.Reason = mobileid.MessageRetry, reasonOfStatus(laterStatus)
		o.RetryAt = now.Add(jitter(retryAfter[laterStatus]))
		if last := deadline.Add(-lastTry); !deadline.IsZero() && o.RetryAt.After(last) {
			o.RetryAt = last
			if !last.After(now) {
				o.State, o.RetryAt = mobileid.MessageExpired, time.Time{}
			}
		}
	}
	return o
}

// reasonOfStatus names a command_status, for example "smpp_0x0b".
func reasonOfStatus(s wire.Status) string { return "smpp_" + s.String() }
