package app

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"mobileid/smpp/trace"
)

// The forms of a trace.
const (
	TracePcapng = "pcapng"
	TraceHex    = "hex"
)

// MaxTrace is the longest trace.
const MaxTrace = time.Hour

// traceWrite bounds one write to whoever reads a trace.
const traceWrite = 30 * time.Second

// traceEnds is how long the last octets of a trace that was cut short may take.
const traceEnds = 5 * time.Second

// What a trace tells of itself behind its last octet.
const (
	trailerPDUs    = "Trace-Pdus"
	trailerMissing = "Trace-Missing"
)

// Traced is what a trace has caught.
type Traced struct {
	PDUs, Missing int64
}

// traceLinks streams the PDUs of an operator's links, masked, until the time
// asked for is over or the body of the request, if it has one, ends. They are
// masked here and not where they are recorded: the sessions only copy them.
func (a *App) traceLinks(w http.ResponseWriter, r *http.Request) {
	b := a.bridge(r.PathValue("operator"))
	if b == nil {
		http.Error(w, "this process has no bridge to that operator", http.StatusNotFound)
		return
	}
	long, err := time.ParseDuration(r.FormValue("for"))
	form := r.FormValue("form")
	if err != nil || long <= 0 || long > MaxTrace || form != TracePcapng && form != TraceHex {
		http.Error(w, "want ?for=10m (at most "+MaxTrace.String()+") and form=pcapng or form=hex", http.StatusBadRequest)
		return
	}
	reader, err := b.Trace()
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	defer reader.Close()
	a.log.InfoContext(r.Context(), "a trace begins", "operator", b.Operator(), "for", long.String())
	ctx, cancel := context.WithTimeout(r.Context(), long)
	defer cancel()
	conn := http.NewResponseController(w)
	_ = conn.SetReadDeadline(time.Time{}) // the server's, for requests, would end the trace
	if err := conn.EnableFullDuplex(); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	if r.ContentLength != 0 {
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			_, _ = io.Copy(io.Discard, r.Body) // its end is all that is said
			cancel()
		}()
		defer func() {
			_ = conn.SetReadDeadline(time.Now())
			<-ended
		}()
	}
	w.Header().Set("Trailer", trailerPDUs+", "+trailerMissing)
	pdus, err := stream(ctx, reader, w, form, conn)
	w.Header().Set(trailerPDUs, strconv.FormatInt(pdus, 10))
	w.Header().Set(trailerMissing, strconv.FormatInt(reader.Lost(), 10))
	a.log.InfoContext(r.Context(), "a trace has ended", "operator", b.Operator(), "pdus", pdus, "lost", reader.Lost(), "err", err)
}

// stream returns how many PDUs it wrote.
func stream(ctx context.Context, reader *trace.Reader, out io.Writer, form string, conn *http.ResponseController) (pdus int64, err error) {
	var to trace.Writer = trace.NewHex(out)
	_ = conn.SetWriteDeadline(time.Now().Add(traceWrite))
	if form == TracePcapng {
		p, err := trace.NewPcapng(out)
		if err != nil {
			return 0, err
		}
		to = p
	}
	for {
		if len(reader.Records()) == 0 {
			if err := conn.Flush(); err != nil {
				return pdus, err
			}
		}
		select {
		case rec := <-reader.Records():
			_ = conn.SetWriteDeadline(time.Now().Add(traceWrite))
			err := to.Write(rec)
			reader.Took(rec)
			if err != nil {
				return pdus, err
			}
			pdus++
		case <-ctx.Done():
			_ = conn.SetWriteDeadline(time.Now().Add(traceWrite))
			return pdus, to.End(reader.Lost())
		}
	}
}

// TraceLinks writes what the links of an operator carry in one process, masked,
// until the time is over or ctx ends; both are no error.
func TraceLinks(ctx context.Context, admin, operator, form string, long time.Duration, out io.Writer) (Traced, error) {
	asking, giveUp := context.WithCancel(context.WithoutCancel(ctx))
	defer giveUp()
	// The body of the request says that we still listen. When it ends, the
	// process writes what the file ends with.
	listens, hangUp := io.Pipe()
	defer func() { _ = hangUp.Close() }()
	stop := context.AfterFunc(ctx, func() {
		_ = hangUp.Close()
		time.AfterFunc(traceEnds, giveUp)
	})
	defer stop()
	query := url.Values{"for": {long.String()}, "form": {form}}
	res, err := askAdmin(asking, http.MethodPost, admin, "/links/"+url.PathEscape(operator)+"/trace?"+query.Encode(), listens)
	if err != nil {
		return Traced{}, err
	}
	defer func() { _ = res.Body.Close() }()
	if _, err = io.Copy(out, res.Body); err != nil {
		return Traced{}, err
	}
	var t Traced
	var unread [2]error
	t.PDUs, unread[0] = strconv.ParseInt(res.Trailer.Get(trailerPDUs), 10, 64)
	t.Missing, unread[1] = strconv.ParseInt(res.Trailer.Get(trailerMissing), 10, 64)
	if errors.Join(unread[:]...) != nil {
		return t, errors.New("the process broke the trace off; its file is good as far as it goes")
	}
	return t, nil
}
