package pace

import "time"

// demand counts the writes of about the last second.
type demand struct {
	second time.Duration // number of the running one
	counts [2]int        // of the running one and of the one before
	held   time.Duration // when the pace last held something back, plus 1
}

func (d *demand) move(now time.Duration) {
	s := now / time.Second
	switch s - d.second {
	case 0:
	case 1:
		d.counts = [2]int{0, d.counts[0]}
	default:
		d.counts = [2]int{}
	}
	d.second = s
}

func (d *demand) add(now time.Duration, n int) {
	d.move(now)
	d.counts[0] += n
}

// perSecond weighs the second before by how much of it is less than a second ago.
func (d *demand) perSecond(now time.Duration) float64 {
	d.move(now)
	left := 1 - (now % time.Second).Seconds()
	return float64(d.counts[0]) + float64(d.counts[1])*left
}

func (d *demand) more(now time.Duration) bool {
	return d.held > 0 && now-d.held < time.Second
}
