// Command load asks a gateway for codes and notices at a fixed rate, and notes
// when each was asked, when its answer had been read, and what it said.
//
// Its promise: the load is open-loop. A request starts at its instant of the
// schedule whether or not earlier ones have been answered, and one that
// starts late has its lateness in the file. Each request has a line, with the
// key by which it can be found again whatever it was answered.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

const usage = `load - asks a gateway for codes and notices at a fixed rate

  --url URL        of the gateway
  --persons FILE   a PINFL a line; asked for in this order, round after round
  --rate N         requests a second, every second one a code
  --only LANE      otp: codes only; bulk: notices only
  --for D          how long
  --from N         number of the first request: where the last run ended
  --run NAME       begins every Idempotency-Key
  --out FILE       one line a request:
                   key lane scheduled started answered status id code
                   key       its Idempotency-Key
                   answered  when the answer had been read (times in Unix ns)
                   status    0: no answer
                   id        of a 202, otherwise -
                   code      of a problem document, otherwise -; timeout or
                             no_connection when there was no answer

The token is read from LOAD_TOKEN.
`

// maxUnanswered bounds the requests under way; above it the schedule waits,
// which the file shows as lateness.
const maxUnanswered = 4096

// purposes are taken in turn: asking the same person twice for one purpose
// would end the code before.
var purposes = []string{"sign_in", "verify", "confirm_application", "permit_access"}

// The lanes, by their names in the registry.
const (
	laneCodes   = "otp"
	laneNotices = "bulk"
)

type options struct {
	url, token, run, only string
	persons               []string // PINFLs
	rate, from            int
	duration              time.Duration
	out                   io.Writer
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
	fs.StringVar(&o.only, "only", "", "")
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
	o.persons = strings.Fields(string(raw))
	if len(o.persons) == 0 || o.rate < 1 || o.token == "" {
		return o, nil, errors.New("no persons, no rate or no LOAD_TOKEN")
	}
	if o.only != "" && o.only != laneCodes && o.only != laneNotices {
		return o, nil, errors.New("--only: want otp or bulk")
	}
	file, err := os.Create(*out)
	o.out = file
	return o, file, err
}

// line is what became of one request.
type line struct {
	key, lane                    string
	scheduled, started, answered time.Time
	status                       int // 0: no answer
	id, code                     string
}

// maxAnswer bounds what is read of an answer.
const maxAnswer = 64 << 10

// read takes from an answer what names the request and what refuses it.
func (l *line) read(body []byte) {
	var answer struct {
		ID   string `json:"id"`
		Code string `json:"code"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		answer.Code = "not_json"
	}
	l.code = answer.Code
	if l.status == http.StatusAccepted {
		l.id = answer.ID
	}
}

func (l *line) String() string {
	return fmt.Sprint(l.key, " ", l.lane, " ", l.scheduled.UnixNano(), " ", l.started.UnixNano(), " ", l.answered.UnixNano(),
		" ", l.status, " ", word(l.id), " ", word(l.code))
}

// word makes a field of a line: never empty, and one.
func word(s string) string {
	if s == "" {
		return "-"
	}
	return strings.Join(strings.Fields(s), "_")
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
	for i := range lines {
		fmt.Fprintln(w, lines[i].String())
	}
	return w.Flush()
}

// ask makes the k-th request of all runs. Codes and notices alternate, and
// change places from round to round, so that everybody gets both.
func (o options) ask(ctx context.Context, client *http.Client, k int, at time.Time) line {
	pinfl, round := o.persons[k%len(o.persons)], k/len(o.persons)
	l := line{key: o.run + "-" + strconv.Itoa(k), lane: o.only, scheduled: at}
	if l.lane == "" {
		l.lane = laneCodes
		if (k+round)%2 == 1 {
			l.lane = laneNotices
		}
	}
	path, body := "/v1/challenges", fmt.Sprintf(`{"pinfl":%q,"purpose":%q,"locale":"en"}`,
		pinfl, purposes[round/2%len(purposes)])
	if l.lane == laneNotices {
		path = "/v1/notifications"
		body = fmt.Sprintf(`{"pinfl":%q,"text_id":"notice.data_access","slots":{"system":"tax","at":"2026-11-23T09:00:00Z"},"locale":"en"}`, pinfl)
	}
	l.started = time.Now()
	status, answer, err := o.post(ctx, client, path, l.key, body)
	l.answered = time.Now()
	if err != nil {
		l.code = "no_connection"
		if timeout := net.Error(nil); errors.As(err, &timeout) && timeout.Timeout() {
			l.code = "timeout"
		}
		return l
	}
	l.status = status
	l.read(answer)
	return l
}

// post returns the answer when the whole of it has been read.
func (o options) post(ctx context.Context, client *http.Client, path, key, body string) (int, []byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, o.url+path, strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Authorization", "Bearer "+o.token)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", key)
	res, err := client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	return res.StatusCode, answer, errors.Join(err, res.Body.Close())
}
