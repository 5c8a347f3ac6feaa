package smpp

import (
	"time"

	"mobileid/internal/mobileid"
	"mobileid/smpp/profile"
	"mobileid/smpp/wire"
)

// lastTry is how long before its deadline a Message is still worth trying.
const lastTry = 2 * time.Second

// weight orders what answers say: the heaviest decides about the Message.
type weight int

const (
	taken    weight = iota // by the operator
	notYet                 // its turn has not come: the window is smaller than the text
	tooFast                // the same when the pace allows
	notNow                 // the same later
	notTaken               // surely not, for a reason of the bind's: the same, admitted again
	refusedIt
	unknown // the operator may have taken it
)

// longestPause bounds the pauses between the tries of a Message.
const longestPause = 30 * time.Second

// pauseAfter doubles the first pause with every try: an operator whose trouble
// lasts is not asked about each of his Messages every few seconds.
func pauseAfter(first time.Duration, tries int) time.Duration {
	return max(first, min(first<<min(tries, 16), longestPause))
}

// ruling is what one answer says.
type ruling struct {
	weight weight
	reason string
	state  mobileid.MessageState // when refused
	after  time.Duration         // when not now
}

// step is what is done next about a job whose parts have their fates.
type step int

const (
	storeIt    step = iota // job.outcome tells what became of it
	writeAgain             // what is missing, as soon as the pace and the window allow
	admitAgain             // surely not written, or surely not taken
)

// judge decides by the fates of a Message's parts, and makes its outcome when
// there is one. What the operator has of it is not written again:
//
//   - a part that he may have taken: in doubt, whatever the others say;
//   - a part refused for good: rejected, or no_funds;
//   - a part that trouble of the bind kept away: admitted again;
//   - a part not wanted now: retry;
//   - a part that came too fast, or whose turn has not come: written next;
//   - all taken: sent.
//
// hold is how long the destination must be left alone.
func (j *job) judge(statuses profile.Statuses, hold time.Duration, now time.Time) step {
	var worst ruling
	for i := range j.parts {
		if j.admission.Taken.Has(i + 1) {
			continue
		}
		if r := j.parts[i].ruling(statuses, j.admission.Tries); r.weight > worst.weight {
			worst = r
		}
	}
	switch worst.weight {
	case unknown:
		j.outcome = j.report(mobileid.MessageInDoubt, worst.reason)
	case refusedIt:
		j.outcome = j.report(worst.state, worst.reason)
	case notTaken:
		return admitAgain
	case notNow:
		j.later(worst.reason, jitter(worst.after), now)
		j.outcome.Tried = true
	case tooFast:
		if hold == 0 {
			return writeAgain
		}
		j.later(worst.reason, hold, now)
	case notYet:
		return writeAgain
	case taken:
		j.outcome = j.report(mobileid.MessageSent, "")
	}
	return storeIt
}

// later makes the outcome of a Message that waits; one that has no time for it
// has expired.
func (j *job) later(reason string, wait time.Duration, now time.Time) {
	j.outcome = j.report(mobileid.MessageRetry, reason)
	j.outcome.RetryAt = now.Add(wait)
	deadline := j.admission.Deadline
	if last := deadline.Add(-lastTry); !deadline.IsZero() && j.outcome.RetryAt.After(last) {
		j.outcome.RetryAt = last
		if !last.After(now) {
			j.outcome.State, j.outcome.RetryAt = mobileid.MessageExpired, time.Time{}
		}
	}
}

// ruling says what the fate of a part means.
func (p *partFate) ruling(statuses profile.Statuses, tries int) ruling {
	if p.waits() {
		return ruling{weight: notYet}
	}
	return rulingOf(p.answer, statuses, tries)
}

// rulingOf says what an answer means at an operator with that table; tries is how
// often he has asked for later.
func rulingOf(a answer, statuses profile.Statuses, tries int) ruling {
	switch a.fate {
	case notWritten:
		return ruling{weight: notTaken, reason: mobileid.ReasonNotWritten}
	case timedOut:
		return ruling{weight: unknown, reason: mobileid.ReasonNoAnswer}
	case lost:
		return ruling{weight: unknown, reason: mobileid.ReasonLinkLost}
	case answered:
	}
	status := statusOf(a.frame)
	if status == wire.StatusOK {
		return ruling{weight: taken}
	}
	found, _ := statuses.Rule(uint32(status))
	r := ruling{weight: refusedIt, reason: reasonOfStatus(status), state: mobileid.MessageRejected}
	switch found.Class {
	case profile.ClassPace:
		r.weight = tooFast
	case profile.ClassRetry:
		if found.Tries == 0 || tries < found.Tries {
			r.weight, r.after = notNow, pauseAfter(found.After, tries)
		}
	case profile.ClassSession:
		r.weight = notTaken
	case profile.ClassUnknown:
		r.weight = unknown
	case profile.ClassBalance:
		r.state, r.reason = mobileid.MessageNoFunds, mobileid.ReasonCannotPay
	case profile.ClassPermanent, profile.ClassConfig:
	}
	return r
}

// statusOf is the command_status of an answer. A generic_nack that names no
// fault is still a refusal.
func statusOf(f wire.Frame) wire.Status {
	if f.Command == wire.GenericNack && f.Status == wire.StatusOK {
		return wire.StatusUnknownError
	}
	return f.Status
}

// reasonOfStatus names a command_status, for example "smpp_0x0b".
func reasonOfStatus(s wire.Status) string { return "smpp_" + s.String() }
