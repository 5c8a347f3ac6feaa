package profile

import "time"

// Validity is how long the operator may try to deliver.
type Validity struct {
	Format ValidityFormat `yaml:"format"`
	Min    time.Duration  `yaml:"min"`    // the operator refuses less
	Max    time.Duration  `yaml:"max"`    // and more
	Offset time.Duration  `yaml:"offset"` // from UTC, of absolute times; whole quarters of an hour
}

// ValidityFormat is the form of validity_period (SMPP 3.4, 7.1.1).
type ValidityFormat string

// The forms.
const (
	Relative ValidityFormat = "relative" // does not depend on the operator's clock
	Absolute ValidityFormat = "absolute"
	NoPeriod ValidityFormat = "none" // the operator wants the field empty
)

// Bound returns the time left as the operator takes it. Rounded up to Min, an
// operator may try that much longer than the Message's deadline, when the code
// in it is refused anyway.
func (v Validity) Bound(left time.Duration) time.Duration { return min(max(left, v.Min), v.Max) }

// Overrun is how much longer than a Message's deadline the operator may try. One
// who is told no period tries as long as he likes: Max, as the file says.
func (v Validity) Overrun() time.Duration {
	if v.Format == NoPeriod {
		return v.Max
	}
	return v.Min
}
