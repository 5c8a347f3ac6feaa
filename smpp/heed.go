package smpp

import (
	"errors"
	"time"

	"mobileid/smpp/pace"
	"mobileid/smpp/profile"
	"mobileid/smpp/wire"
)

const (
	// wrongInRow is how many answers in a row may say that our settings are
	// wrong before a link stops: each of them has cost a Message.
	wrongInRow = 10
	// alarmEvery bounds how often one link says so.
	alarmEvery = time.Minute
)

// The reasons a session is renewed for.
var (
	errTrouble = errors.New("the operator says that the bind is in trouble")
	errWrong   = errors.New("the operator refuses our settings again and again")
)

// tellPace tells the pace of an answer and returns how long the destination must
// be left alone.
func (b *Bridge) tellPace(to pace.Destination, written pace.Stamp, a answer, class profile.Class) time.Duration {
	about := pace.Taken
	if class == profile.ClassPace {
		b.metrics.throttled.Inc()
		about = pace.Throttled
		if statusOf(a.frame) == wire.StatusQueueFull {
			about = pace.QueueFull
		}
	}
	return b.pacer.Answer(a.answeredAt, written, to, about)
}

// heed counts a submit_sm_resp, tells it to the pace, and does what it asks for
// of the link. It returns how long the destination must be left alone.
func (b *Bridge) heed(at place, to pace.Destination, written pace.Stamp, a answer) time.Duration {
	l, status := at.link, statusOf(a.frame)
	l.metrics.submits.WithLabelValues(statusLabel(status)).Inc()
	l.metrics.submitSeconds.Observe(a.answeredAt.Sub(a.writtenAt).Seconds())
	class := profile.Class("")
	if status != wire.StatusOK {
		found, mapped := b.cfg.Profile.Statuses.Rule(uint32(status))
		if !mapped {
			b.metrics.unmapped.WithLabelValues(statusLabel(status)).Inc()
		}
		class = found.Class
	}
	hold := b.tellPace(to, written, a, class)

	b.mu.Lock()
	b.rate.add(a.answeredAt)
	alarm := false
	switch {
	case status == wire.StatusOK:
		l.wrong = 0
	case class == profile.ClassConfig:
		l.wrong++
		if alarm = a.answeredAt.Sub(l.alarmed) >= alarmEvery; alarm {
			l.alarmed = a.answeredAt
		}
	}
	stop := class == profile.ClassConfig && l.wrong >= wrongInRow
	if stop {
		l.wrong = 0
	}
	b.mu.Unlock()

	if class == profile.ClassConfig {
		b.metrics.misconfigured.WithLabelValues(statusLabel(status)).Inc()
	}
	if alarm {
		l.log.Error("the operator says that our settings are wrong: see senders, text and validity in the operator's file",
			"status", status.String())
	}
	switch {
	case stop:
		at.session.leave(errWrong, b.cfg.Profile.Timers.Response)
	case class == profile.ClassSession:
		at.session.leave(errTrouble, b.cfg.Profile.Timers.Response)
	}
	return hold
}
