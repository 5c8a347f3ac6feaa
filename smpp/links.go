package smpp

import (
	"time"

	"mobileid/internal/mobileid"
	"mobileid/smpp/pace"
	"mobileid/smpp/profile"
)

// LinkState is where a link stands.
type LinkState string

// The states of a link.
const (
	LinkDown     LinkState = "down"     // not bound; it is tried again
	LinkBinding  LinkState = "binding"  // dialling, or waiting for the bind's answer
	LinkUp       LinkState = "up"       // bound
	LinkRefused  LinkState = "refused"  // the operator refuses our credentials or settings; tried again slowly
	LinkDraining LinkState = "draining" // stopping: it waits for the answers of its window
	LinkStopped  LinkState = "stopped"  // by hand
)

// LinkView is a link as `mobileid links` shows it.
type LinkView struct {
	Operator string           `json:"operator"`
	Name     string           `json:"name"` // of the bind
	Type     profile.BindType `json:"type"`
	State    LinkState        `json:"state"`
	Since    time.Time        `json:"since"`
	Host     string           `json:"host"`
	Window   int              `json:"window"`
	InUse    int              `json:"in_use"`  // of the window
	Oldest   time.Duration    `json:"oldest"`  // age of the oldest unanswered submit_sm, ns
	Pace     float64          `json:"pace"`    // submit_sm a second that the account is given; 0: not known
	Rate     int              `json:"rate"`    // answers in the last second, on all links of the account here
	Failure  string           `json:"failure"` // why it was not bound, or did not stay so, last; "" when it always was
	FailedAt time.Time        `json:"failed_at,omitzero"`
}

// Links returns the links in the profile's order.
func (b *Bridge) Links() []LinkView {
	now := b.now()
	b.mu.Lock()
	defer b.mu.Unlock()
	pace, rate := b.allowed(), b.rate.lastSecond(now)
	views := make([]LinkView, len(b.links))
	for i, l := range b.links {
		views[i] = LinkView{
			Operator: b.cfg.Profile.ID, Name: l.bind.Name, Type: l.bind.Type, State: l.state, Since: l.since,
			Host: l.host, Window: l.bind.Window, Pace: pace, Rate: rate, Failure: l.failure, FailedAt: l.failed,
		}
		if l.session != nil {
			views[i].InUse, views[i].Oldest = l.session.inUse(), l.session.oldestUnanswered(now)
		}
	}
	return views
}

// allowed is the pace of the account in submit_sm a second; 0: not known.
func (b *Bridge) allowed() float64 {
	if rate := b.pacer.Rate(); rate != pace.Unknown {
		return rate
	}
	return 0
}

// StartLink has a link bound that was stopped or drained; a link that waits
// before its next try tries at once. The error is KindNotFound, or KindConflict for
// an operator that is disabled: the kill switch promises that nothing is written.
func (b *Bridge) StartLink(name string) error {
	if !b.cfg.Profile.Enabled {
		return &mobileid.Error{
			Kind: mobileid.KindConflict, Code: "operator_disabled",
			Message: "the operator is disabled: set enabled: true in its file and restart the process",
		}
	}
	return b.want(name, wantUp)
}

// StopLink has a link unbound now: what the operator has not answered is in
// doubt. The error is KindNotFound.
func (b *Bridge) StopLink(name string) error { return b.want(name, wantDown) }

// DrainLink has a link unbound when its window is empty, at the latest after
// the response timer. The error is KindNotFound.
func (b *Bridge) DrainLink(name string) error { return b.want(name, wantDrain) }

func (b *Bridge) want(name string, w wanted) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, l := range b.links {
		if l.bind.Name == name {
			l.wanted = w
			if !b.carries() {
				b.down = b.now()
			}
			b.linkChanged()
			signal(l.changed)
			return nil
		}
	}
	return &mobileid.Error{Kind: mobileid.KindNotFound, Code: "link_unknown", Message: "the operator has no link of that name"}
}
