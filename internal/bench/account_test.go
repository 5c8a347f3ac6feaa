package bench

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"mobileid/internal/mobileid"
)

// asked is one line of the load generator.
type asked struct {
	run                          string // the load it belongs to
	key                          string // Idempotency-Key
	lane                         string
	scheduled, started, answered int64            // Unix ns
	status                       int              // 0: no answer
	id                           mobileid.ID      // of a 202
	code                         string           // of any other answer
	part                         mobileid.KeyPart // what the id of this request carries, told or not
}

func (a *asked) accepted() bool { return a.status == http.StatusAccepted }

// refusal names an answer other than 202.
func (a *asked) refusal() string {
	if a.status == 0 {
		return "no answer, " + a.code
	}
	return fmt.Sprint(a.status, " ", a.code)
}

// readAsked reads what the load generator wrote. part tells of an
// Idempotency-Key what the ids made for it carry.
func readAsked(path, run string, part func(key string) mobileid.KeyPart) (out []asked, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		a := asked{run: run}
		var id string
		_, err := fmt.Sscan(lines.Text(), &a.key, &a.lane, &a.scheduled, &a.started, &a.answered, &a.status, &id, &a.code)
		if err != nil {
			return nil, fmt.Errorf("a line of the load generator: %w", err)
		}
		a.part = part(a.key)
		if a.accepted() {
			if a.id, err = mobileid.ParseID(id); err != nil {
				return nil, fmt.Errorf("a 202 without an id: %w", err)
			}
		}
		out = append(out, a)
	}
	return out, lines.Err()
}

// received is one line of the simulated operator's log.
type received struct {
	At         time.Time `json:"at"`
	OperatorID string    `json:"message_id"` // "" when it was refused
	Part       int       `json:"part"`
}

// operatorLog reads what came since it was read last.
type operatorLog struct {
	path   string
	offset int64
}

func (l *operatorLog) more() (out []received, err error) {
	f, err := os.Open(l.path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if _, err = f.Seek(l.offset, 0); err != nil {
		return nil, err
	}
	r := bufio.NewReaderSize(f, 1<<20)
	for {
		line, err := r.ReadBytes('\n')
		if err != nil {
			return out, nil // the rest of a line is read when it is whole
		}
		l.offset += int64(len(line))
		var m received
		if err := json.Unmarshal(line, &m); err != nil {
			return nil, err
		}
		if m.Part == 1 {
			out = append(out, m)
		}
	}
}

// stored is what the registry knows of a request: its challenge, if it is for
// a code, and its Message.
type stored struct {
	id                         mobileid.ID // of the request
	challenge, challengeReason string      // state and reason; "" for a notice
	message                    mobileid.ID // zero: it has none
	state, reason              string      // of the Message
	deadline                   *time.Time  // of the Message, as are those below
	queued, published          *time.Time
	admitted, submitted, ended *time.Time
}

// fate is a request and what became of it.
type fate struct {
	asked
	row     *stored // nil: the registry does not know the request
	arrived []int64 // when the operator received its SMS, Unix ns, in order
}

// inOrder is what every request should be: answered 202, received by the
// operator once, and with its receipt.
func (f *fate) inOrder() bool {
	return f.accepted() && f.row != nil && f.row.state == string(mobileid.MessageDelivered) && len(f.arrived) == 1
}

// open says that something is still to come of a request that was taken.
func (f *fate) open() bool {
	if f.row == nil {
		return f.accepted()
	}
	switch mobileid.MessageState(f.row.state) {
	case mobileid.MessageQueued, mobileid.MessageAdmitted, mobileid.MessageRetry, mobileid.MessageSent, mobileid.MessageInDoubt:
		return true
	case mobileid.MessageDelivered:
		return len(f.arrived) == 0 // its line in the operator's log is not whole yet
	}
	return false
}

// String says where a request stands, in the words of the registry.
func (f *fate) String() string {
	words := []string{map[string]string{"otp": "code", "bulk": "notice"}[f.lane]}
	because := func(state, reason string) string {
		if reason == "" {
			return state
		}
		return state + " (" + reason + ")"
	}
	switch {
	case f.row == nil:
		words = append(words, "not in the registry")
	case f.row.challenge != "":
		words = append(words, "challenge "+because(f.row.challenge, f.row.challengeReason))
		fallthrough
	default:
		if f.row.message.IsZero() {
			words = append(words, "no Message")
		} else {
			words = append(words, "Message "+because(f.row.state, f.row.reason))
		}
	}
	switch n := len(f.arrived); n {
	case 0:
		words = append(words, "no SMS")
	case 1:
		words = append(words, "SMS received")
	default:
		words = append(words, fmt.Sprint(n, " SMS received"))
	}
	return strings.Join(words, ", ")
}

// stray is an SMS that belongs to no request of the run.
type stray struct {
	received
	message mobileid.ID // zero: the registry has no such id of the operator
}

// analysis is what became of a run of the load, or of some together.
type analysis struct {
	fates  []fate // one a request
	strays []stray
	outbox int       // states that were not announced
	at     time.Time // when the registry was read
	grace  time.Duration
	usage  map[string]usage
}

// account gives each request what the registry knows of it, and each SMS to
// the request that it was sent for. Nothing is guessed: the id of a 202 names
// its row, the Idempotency-Key of any other request is a part of the id that
// it was given and not told, and the operator's id of an SMS stands with the
// Message in the registry (owners).
func account(requests []asked, rows []stored, owners map[string]mobileid.ID, arrivals []received) analysis {
	byID, byKey, byMessage := map[mobileid.ID]*stored{}, map[mobileid.KeyPart]*stored{}, map[mobileid.ID]*stored{}
	for i := range rows {
		r := &rows[i]
		byID[r.id] = r
		if _, older := byKey[r.id.KeyPart()]; !older {
			byKey[r.id.KeyPart()] = r
		}
		if !r.message.IsZero() {
			byMessage[r.message] = r
		}
	}
	var a analysis
	of := map[mobileid.ID]int{} // the fate of a row
	for _, r := range requests {
		f := fate{asked: r}
		if r.accepted() {
			f.row = byID[r.id]
		} else {
			f.row = byKey[r.part]
		}
		if f.row != nil {
			of[f.row.id] = len(a.fates)
		}
		a.fates = append(a.fates, f)
	}
	for _, m := range arrivals {
		owner := owners[m.OperatorID]
		row := byMessage[owner]
		if row == nil {
			a.strays = append(a.strays, stray{m, owner})
			continue
		}
		i, ok := of[row.id]
		if !ok {
			a.strays = append(a.strays, stray{m, owner})
			continue
		}
		a.fates[i].arrived = append(a.fates[i].arrived, m.At.UnixNano())
	}
	for i := range a.fates {
		slices.Sort(a.fates[i].arrived)
	}
	return a
}

// trip is a request that was answered 202, and its SMS.
type trip struct {
	asked
	arrived int64 // Unix ns
}

func (a analysis) trips() (out []trip) {
	for _, f := range a.fates {
		if f.accepted() && len(f.arrived) > 0 {
			out = append(out, trip{f.asked, f.arrived[0]})
		}
	}
	return out
}

// of returns the latencies that f counts.
func (a analysis) of(f func(trip) int64) (out sample) {
	for _, t := range a.trips() {
		out = append(out, time.Duration(f(t)))
	}
	return out
}

// latency is from the 202 to the SMS, of one lane or of both.
func (a analysis) latency(lane string) (out sample) {
	for _, t := range a.trips() {
		if lane == "" || t.lane == lane {
			out = append(out, time.Duration(t.arrived-t.answered))
		}
	}
	return out
}

// only returns the part of an analysis that belongs to one run of the load.
func (a analysis) only(run string) analysis {
	part := analysis{at: a.at, grace: a.grace, usage: a.usage}
	for _, f := range a.fates {
		if f.run == run {
			part.fates = append(part.fates, f)
		}
	}
	return part
}

func (a analysis) count(is func(*fate) bool) (n int) {
	for i := range a.fates {
		if is(&a.fates[i]) {
			n++
		}
	}
	return n
}

func (a analysis) refused() int { return a.count(func(f *fate) bool { return !f.accepted() }) }

// left counts requests that were answered 202 and of which the operator
// received nothing.
func (a analysis) left() int {
	return a.count(func(f *fate) bool { return f.accepted() && len(f.arrived) == 0 })
}

// settled says that nothing more is to come.
func (a analysis) settled() bool {
	return a.outbox == 0 && !slices.ContainsFunc(a.fates, func(f fate) bool { return f.open() })
}

// clean says that there is nothing to explain.
func (a analysis) clean() bool {
	return a.outbox == 0 && len(a.strays) == 0 && !slices.ContainsFunc(a.fates, func(f fate) bool { return !f.inOrder() })
}

func (a analysis) err() error {
	var errs []error
	if refused, left := a.refused(), a.left(); refused > 0 || left > 0 {
		errs = append(errs, fmt.Errorf("of %d requests %d were not answered 202 and %d were answered 202 and had no SMS",
			len(a.fates), refused, left))
	}
	if n := len(a.strays); n > 0 {
		errs = append(errs, fmt.Errorf("%d SMS belong to no request of the run", n))
	}
	if a.outbox > 0 {
		errs = append(errs, fmt.Errorf("%d states were not announced", a.outbox))
	}
	return errors.Join(errs...)
}

// nothingDone are the codes which promise that nothing was done
// (mobileid.KindUnavailable).
var nothingDone = []string{"kafka_away", "redis_away", "database_away", "issuer_away"}

// sweepSlack is how much later than deadline + grace a sweeper may look.
const sweepSlack = 5 * time.Second

// broken returns a loud line for each promise that the run did not keep.
func (a analysis) broken() (out []string) {
	for _, rule := range []struct {
		what  string
		holds func(*fate) bool
	}{
		{"PROMISE P1/P2 BROKEN: answered 202 and not in the registry", func(f *fate) bool { return f.accepted() && f.row == nil }},
		{"PROMISE P1 BROKEN: not ended by deadline + grace", func(f *fate) bool {
			return f.row != nil && f.row.deadline != nil && a.at.After(f.row.deadline.Add(a.grace+sweepSlack)) &&
				(f.row.state == string(mobileid.MessageQueued) || f.row.state == string(mobileid.MessageRetry))
		}},
		{"PROMISE P5 BROKEN, unless an answer of the operator was later than the response timer: one Message, more SMS than one", func(f *fate) bool {
			return len(f.arrived) > 1
		}},
		{"A REFUSAL WAS WRONG: its code says that nothing was done, and the request was taken", func(f *fate) bool {
			return !f.accepted() && f.row != nil && slices.Contains(nothingDone, f.code)
		}},
	} {
		var names []string
		for i := range a.fates {
			if f := &a.fates[i]; rule.holds(f) {
				names = append(names, cmp.Or(f.id.String(), f.key))
			}
		}
		if n := len(names); n > 0 {
			more := ""
			if n > 5 {
				names, more = names[:5], ", ..."
			}
			out = append(out, fmt.Sprintf("!!! %s: %d of %d requests: %s%s", rule.what, n, len(a.fates), strings.Join(names, ", "), more))
		}
	}
	return out
}

// report accounts for every request, as tables.
func (a analysis) report() string {
	var w strings.Builder
	became := map[string][2]int{}
	refusals := map[string][3]int{}
	for i := range a.fates {
		f := &a.fates[i]
		n := became[f.String()]
		if f.accepted() {
			n[0]++
		} else {
			n[1]++
			r := refusals[f.refusal()]
			r[0]++
			if f.row != nil {
				r[1]++
			}
			if len(f.arrived) > 0 {
				r[2]++
			}
			refusals[f.refusal()] = r
		}
		became[f.String()] = n
	}
	w.WriteString("| what became of the requests | answered 202 | not answered 202 |\n|---|---|---|\n")
	for _, name := range slices.Sorted(maps.Keys(became)) {
		fmt.Fprintf(&w, "| %s | %d | %d |\n", name, became[name][0], became[name][1])
	}
	if len(refusals) > 0 {
		w.WriteString("\n| answer | requests | taken all the same | and received by the operator |\n|---|---|---|---|\n")
		for _, name := range slices.Sorted(maps.Keys(refusals)) {
			fmt.Fprintf(&w, "| %s | %d | %d | %d |\n", name, refusals[name][0], refusals[name][1], refusals[name][2])
		}
	}
	if len(a.strays) > 0 {
		unknown := 0
		for _, s := range a.strays {
			if s.message.IsZero() {
				unknown++
			}
		}
		fmt.Fprintf(&w, "\n%d SMS belong to no request of this run: %d to one of an earlier run, %d to none that the registry knows.\n",
			len(a.strays), len(a.strays)-unknown, unknown)
	}
	if a.outbox > 0 {
		fmt.Fprintf(&w, "\n%d states stand in the outbox and were not announced.\n", a.outbox)
	}
	for _, line := range a.broken() {
		w.WriteString("\n" + line + "\n")
	}
	return w.String()
}
