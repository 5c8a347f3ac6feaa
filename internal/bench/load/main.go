// Command load asks a gateway for codes and notices at a fixed rate, and notes
// when each was asked, and when its 202 had been read.
//
// Its promise: the load is open-loop. A request starts at its instant of the
// schedule whether or not earlier ones have been answered, and one that
// starts late has its lateness in the file.
package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

const usage = `load - asks a gateway for codes and notices at a fixed rate

  --url URL        of the gateway
  --persons FILE   a PINFL and a number a line; asked for in this order, round after round
  --rate N         requests a second, every second one a code
  --for D          how long
  --from N         number of the first request: where the last run ended
  --run NAME       begins every Idempotency-Key
  --out FILE       one line a request:
                   number lane scheduled started answered(202 read) status     (times in Unix ns)

The token is read from LOAD_TOKEN.
`

// maxUnanswered bounds the requests under way; above it the schedule waits,
// which the file shows as lateness.
const maxUnanswered = 4096

// purposes are taken in turn: asking the same person twice for one purpose
// would end the code before.
var purposes = []string{"sign_in", "verify", "confirm_application", "permit_access"}

type person struct{ pinfl, number string }

type options struct {
	url, token, run string
	persons         []person
	rate, from      int
	duration        time.Duration
	out             io.Writer
}

func main() {
	o, file, err := parse(os.Args[1:])
	if err == nil {
		err = errors.Join(run(context.Background(), o), file.Close())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

func parse(args []string) (options, *os.File, error) {
	o := options{token: os.Getenv("LOAD_TOKEN")}
	fs := flag.NewFlagSet("load", flag.ExitOnError)
	fs.Usage = func() { fmt.Fprint(fs.Output(), usage) }
	fs.StringVar(&o.url, "url", "", "")
	fs.StringVar(&o.run, "run", "run", "")
	fs.IntVar(&o.rate, "rate", 200, "")
	fs.IntVar(&o.from, "from", 0, "")
	fs.DurationVar(&o.duration, "for", time.Minute, "")
	list := fs.String("persons", "", "")
	out := fs.String("out", "", "")
	if err := fs.Parse(args); err != nil {
		return o, nil, err
	}
	raw, err := os.ReadFile(*list)
	if err != nil {
		return o, nil, err
	}
	for line := range strings.Lines(string(raw)) {
		pinfl, number, ok := strings.Cut(strings.TrimSpace(line), " ")
		if !ok {
			return o, nil, errors.New("--persons: want a PINFL and a number a line")
		}
		o.persons = append(o.persons, person{pinfl, number})
	}
	if len(o.persons) == 0 || o.rate < 1 || o.token == "" {
		return o, nil, errors.New("no persons, no rate or no LOAD_TOKEN")
	}
	file, err := os.Create(*out)
	o.out = file
	return o, file, err
}

// line is what became of one request.
type line struct {
	number, lane                 string
	scheduled, started, answered time.Time
	status                       int // 0: no answer
}

func run(ctx context.Context, o options) error {
	transport := &http.Transport{MaxIdleConns: maxUnanswered, MaxIdleConnsPerHost: maxUnanswered}
	client := &http.Client{Transport: transport, Timeout: 10 * time.Second}
	defer transport.CloseIdleConnections()
	n := int(o.duration.Seconds() * float64(o.rate))
	lines := make([]line, n)
	free := make(chan struct{}, maxUnanswered)
	var under sync.WaitGroup
	begin := time.Now().Add(50 * time.Millisecond)
	for i := range n {
		at := begin.Add(time.Duration(i) * time.Second / time.Duration(o.rate))
		time.Sleep(time.Until(at))
		free <- struct{}{}
		under.Go(func() {
			lines[i] = o.ask(ctx, client, o.from+i, at)
			<-free
		})
	}
	under.Wait()
	w := bufio.NewWriter(o.out)
	for _, l := range lines {
		fmt.Fprintln(w, l.number, l.lane, l.scheduled.UnixNano(), l.started.UnixNano(), l.answered.UnixNano(), l.status)
	}
	return w.Flush()
}

// ask makes the k-th request of all runs. Codes and notices alternate, and
// change places from round to round, so that everybody gets both.
func (o options) ask(ctx context.Context, client *http.Client, k int, at time.Time) line {
	p, round := o.persons[k%len(o.persons)], k/len(o.persons)
	l := line{number: p.number, lane: "otp", scheduled: at}
	path, body := "/v1/challenges", fmt.Sprintf(`{"pinfl":%q,"purpose":%q,"locale":"en"}`,
		p.pinfl, purposes[round/2%len(purposes)])
	if (k+round)%2 == 1 {
		l.lane, path = "bulk", "/v1/notifications"
		body = fmt.Sprintf(`{"pinfl":%q,"text_id":"notice.data_access","slots":{"system":"tax","at":"2026-11-23T09:00:00Z"},"locale":"en"}`, p.pinfl)
	}
	l.started = time.Now()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, o.url+path, bytes.NewReader([]byte(body)))
	if err == nil {
		req.Header.Set("Authorization", "Bearer "+o.token)
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Idempotency-Key", o.run+"-"+strconv.Itoa(k))
		var res *http.Response
		if res, err = client.Do(req); err == nil {
			_, err = io.Copy(io.Discard, res.Body)
			l.status = res.StatusCode
			err = errors.Join(err, res.Body.Close())
		}
	}
	l.answered = time.Now()
	if err != nil {
		l.status = 0
	}
	return l
}
