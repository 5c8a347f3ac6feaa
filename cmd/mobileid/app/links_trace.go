package app

import (
	"context"
	"io"
	"net/http"
	"net/url"
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

// traceLinks streams the PDUs of an operator's links, masked, until the time
// asked for is over. They are masked here and not where they are recorded: the
// sessions only copy them.
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
	err = stream(ctx, reader, w, form, conn)
	a.log.InfoContext(r.Context(), "a trace has ended", "operator", b.Operator(), "lost", reader.Lost(), "err", err)
}

func stream(ctx context.Context, reader *trace.Reader, out io.Writer, form string, conn *http.ResponseController) error {
	var to trace.Writer = trace.NewHex(out)
	_ = conn.SetWriteDeadline(time.Now().Add(traceWrite))
	if form == TracePcapng {
		p, err := trace.NewPcapng(out)
		if err != nil {
			return err
		}
		to = p
	}
	for {
		if len(reader.Records()) == 0 {
			if err := conn.Flush(); err != nil {
				return err
			}
		}
		select {
		case rec := <-reader.Records():
			_ = conn.SetWriteDeadline(time.Now().Add(traceWrite))
			err := to.Write(rec)
			reader.Took(rec)
			if err != nil {
				return err
			}
		case <-ctx.Done():
			_ = conn.SetWriteDeadline(time.Now().Add(traceWrite))
			return to.End(reader.Lost())
		}
	}
}

// TraceLinks writes what the links of an operator carry in one process, masked,
// until the time is over or ctx ends; both are no error.
func TraceLinks(ctx context.Context, admin, operator, form string, long time.Duration, out io.Writer) error {
	query := url.Values{"for": {long.String()}, "form": {form}}
	res, err := askAdmin(ctx, http.MethodGet, admin, "/links/"+url.PathEscape(operator)+"/trace?"+query.Encode())
	if err != nil {
		return err
	}
	defer func() { _ = res.Body.Close() }()
	if _, err = io.Copy(out, res.Body); ctx.Err() != nil {
		return nil
	}
	return err
}
