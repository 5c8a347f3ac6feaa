package consumers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/segmentio/kafka-go"

	"mobileid/internal/mobileid"
)

const (
	// publishDialTimeout leaves time for the answer inside a Publish: a broker
	// that takes longer than this to connect to is away.
	publishDialTimeout = 600 * time.Millisecond
	publishAttempts    = 4
	publishBackoff     = 40 * time.Millisecond // doubles
)

// PublisherConfig tunes a Publisher; the zero value is right.
type PublisherConfig struct {
	// BatchTimeout is how long a record waits for company; 0 means 1 ms. Writing
	// a lone record at once took 1.3 ms off a publish and put 12 ms on the way of
	// a code at 200/s: what came one by one was handled one by one, too.
	BatchTimeout time.Duration
	// Timeout bounds one Publish; 0 means 900 ms.
	Timeout time.Duration
	// MaxPending bounds the records that wait for the broker's answer, those of
	// callers that have given up included; 0 means 20 000. Above it a Publish
	// is refused at once with KindUnavailable.
	MaxPending int
	// CloseTimeout bounds Close; 0 means 5 s.
	CloseTimeout time.Duration
	// Clients are those of the configuration by id: PublishStatuses tells the
	// ones that have topics what became of their requests.
	Clients map[string]mobileid.Client
	Log     *slog.Logger
	Reg     prometheus.Registerer
	Now     func() time.Time
}

// Publisher writes events. It is safe for concurrent use and meant to be
// shared: callers that arrive together share a produce request.
type Publisher struct {
	cfg       PublisherConfig
	writer    *kafka.Writer
	transport *kafka.Transport
	balancer  *kafka.Hash
	pending   atomic.Int64 // records that are in a line or with the Writer
	mu        sync.Mutex
	lines     map[string]*lines // by topic
	metrics   publisherMetrics
	closeOnce sync.Once
	closeErr  error
}

// NewPublisher makes a Publisher; it connects at the first Publish.
func NewPublisher(kc KafkaConfig, cfg PublisherConfig) *Publisher {
	if cfg.BatchTimeout <= 0 {
		cfg.BatchTimeout = time.Millisecond
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = 900 * time.Millisecond
	}
	if cfg.MaxPending <= 0 {
		cfg.MaxPending = 20_000
	}
	if cfg.CloseTimeout <= 0 {
		cfg.CloseTimeout = 5 * time.Second
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	p := &Publisher{cfg: cfg, metrics: newPublisherMetrics(cfg.Reg), balancer: &kafka.Hash{}, lines: map[string]*lines{}}
	p.writer, p.transport = newWriter(kc, cfg.BatchTimeout, p.completed)
	return p
}

// completed frees the places of records that the broker answered for, or that
// the Writer gave up.
func (p *Publisher) completed(messages []kafka.Message, _ error) {
	p.pending.Add(-int64(len(messages)))
}

// Publish writes events to a topic and returns when every in-sync replica has
// them. It returns within PublisherConfig.Timeout, and earlier if ctx ends.
//
// The error is of KindUnavailable when surely nothing was written (no broker,
// no leader, too few replicas, no such topic), of KindUnknown when something
// perhaps was (no answer in time, connection lost), of KindTooLarge for a
// record over the broker's limit and of KindInternal for an event that cannot
// be encoded. A repetition may write duplicates; readers know events by id.
func (p *Publisher) Publish(ctx context.Context, topic string, events ...mobileid.Event) error {
	messages := make([]kafka.Message, len(events))
	for i, e := range events {
		m, err := encode(topic, e)
		if err != nil {
			return &mobileid.Error{Kind: mobileid.KindInternal, Code: "event_encode", Message: "the event cannot be written", Err: err}
		}
		messages[i] = m
	}
	return p.write(ctx, messages)
}

// write is Publish for finished records; each names its topic.
func (p *Publisher) write(ctx context.Context, messages []kafka.Message) error {
	_, err := p.writeSome(ctx, messages)
	return err
}

// writeSome is write that tells, with an error, which records are not known to
// be written: of a topic with one partition that fails, those of the others are.
func (p *Publisher) writeSome(ctx context.Context, messages []kafka.Message) (left []kafka.Message, err error) {
	if len(messages) == 0 {
		return nil, nil
	}
	started := time.Now()
	ctx, cancel := context.WithTimeout(ctx, p.cfg.Timeout)
	defer cancel()
	left, err = p.attempts(ctx, messages)
	p.metrics.observe(messages[0].Topic, err, time.Since(started), len(messages)-len(left), len(left))
	return left, err
}

func (p *Publisher) attempts(ctx context.Context, left []kafka.Message) ([]kafka.Message, error) {
	maybe := false // something may stand in the log already
	for attempt := 0; ; attempt++ {
		failed, unsure, cause := p.attempt(ctx, left)
		if cause == nil {
			return nil, nil
		}
		// A part that was acknowledged makes the whole perhaps written.
		maybe = maybe || unsure || len(failed) < len(left)
		left = failed
		delay := publishBackoff<<attempt + rand.N(publishBackoff)
		// An attempt that would be cut off while connecting turns a sure
		// "not written" into "perhaps"; better to say what is known.
		if attempt+1 >= publishAttempts || !worthRetrying(cause) || !pause(ctx, delay, publishDialTimeout/2) {
			return left, p.fail(left[0].Topic, len(left), maybe, cause)
		}
	}
}

// attempt writes once. It returns what is not known to be written, whether
// it may be written all the same, and why.
func (p *Publisher) attempt(ctx context.Context, messages []kafka.Message) (failed []kafka.Message, unsure bool, cause error) {
	n := int64(len(messages))
	// A call larger than the limit passes when it is alone.
	if all := p.pending.Add(n); all > int64(p.cfg.MaxPending) && all > n {
		p.pending.Add(-n)
		return messages, false, errBacklog
	}
	for i, o := range p.send(ctx, messages) {
		if o.err == nil {
			continue
		}
		failed, cause = append(failed, messages[i]), o.err
		unsure = unsure || o.unsure
	}
	return failed, unsure, cause
}

var errBacklog = errors.New("too many records wait for the broker's answer")

func (p *Publisher) fail(topic string, records int, maybe bool, cause error) error {
	cause = explain(cause)
	p.cfg.Log.Warn("publish failed", "topic", topic, "records", records, "perhaps_written", maybe, "err", cause)
	switch {
	case tooLarge(cause):
		return &mobileid.Error{Kind: mobileid.KindTooLarge, Code: "record_too_large", Message: "the request is too large", Err: cause}
	case maybe:
		return &mobileid.Error{
			Kind: mobileid.KindUnknown, Code: "kafka_unknown", RetryAfter: time.Second,
			Message: "the outcome is unknown: repeat with the same key", Err: cause,
		}
	}
	return mobileid.Unavailable("kafka_away", time.Second, cause)
}

// Close waits for the records under way and gives the connections back. It
// returns an error when that takes longer than CloseTimeout: kafka-go's Close
// may hang (its issue 1307), a stopping process may not.
func (p *Publisher) Close() error {
	p.closeOnce.Do(func() {
		done := make(chan error, 1)
		go func() { done <- p.writer.Close() }()
		guard := time.NewTimer(p.cfg.CloseTimeout)
		defer guard.Stop()
		select {
		case err := <-done:
			if err != nil && !errors.Is(err, io.ErrClosedPipe) {
				p.closeErr = fmt.Errorf("close the writer: %w", err)
			}
		case <-guard.C:
			p.closeErr = fmt.Errorf("close the writer: %d records still wait for an answer after %s", p.pending.Load(), p.cfg.CloseTimeout)
		}
		p.transport.CloseIdleConnections()
	})
	return p.closeErr
}

// pause waits d and reports whether at least left remains of ctx then.
func pause(ctx context.Context, d, left time.Duration) bool {
	if end, ok := ctx.Deadline(); ok && time.Until(end) < d+left {
		return false
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
