package smpp

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"mobileid/smpp/wire"
)

// bindError is a bind that the operator refused.
type bindError struct{ status wire.Status }

func (e *bindError) Error() string { return "bind refused with " + e.status.String() }

// credentials reports whether trying again soon could lock the account
// (0x0D to 0x0F: the next bind waits minutes, and somebody is told).
func (e *bindError) credentials() bool {
	return e.status == wire.StatusBindFailed || e.status == wire.StatusBadPassword || e.status == wire.StatusBadSystemID
}

// dialer opens a connection to the operator.
type dialer func(ctx context.Context) (net.Conn, error)

// bind opens a connection and binds it as a transceiver. Dialling and the
// bind's answer have a timer each; the session returned must be run.
func (b *Bridge) bind(ctx context.Context) (*session, error) {
	dialCtx, cancel := context.WithTimeout(ctx, b.cfg.DialTimeout)
	defer cancel()
	conn, err := b.dial(dialCtx)
	if err != nil {
		return nil, fmt.Errorf("dial: %w", err)
	}
	// The context ends the bind whatever the connection waits for.
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	br := bufio.NewReaderSize(conn, maxWrite)
	early, err := b.bindOn(conn, br)
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	s := newSession(conn, br, 2, sessionConfig{
		window: b.cfg.Window, response: b.cfg.ResponseTimeout, enquire: b.cfg.EnquireLink,
		writeTimeout: b.cfg.WriteTimeout, unbindWait: b.cfg.UnbindWait, now: b.now, handler: b,
	})
	s.number = b.sessions.Add(1)
	for _, f := range early {
		b.deliver(s, f)
	}
	return s, nil
}

// bindOn sends the bind and reads up to its answer. Receipts may come right
// behind the answer or, from a hasty operator, before it: these are returned.
func (b *Bridge) bindOn(conn net.Conn, br *bufio.Reader) (early []wire.Frame, err error) {
	raw, err := wire.Bind{
		Command: wire.BindTransceiver, SystemID: b.cfg.SystemID, Password: b.cfg.Password, SystemType: b.cfg.SystemType,
	}.Encode()
	if err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(time.Now().Add(b.cfg.BindTimeout))
	if _, err := conn.Write(raw); err != nil {
		return nil, fmt.Errorf("bind: %w", err)
	}
	for {
		f, err := wire.Read(br)
		if err != nil {
			if isTimeout(err) {
				err = errors.New("no answer in time")
			}
			return nil, fmt.Errorf("bind: %w", err)
		}
		switch {
		case f.Command == wire.BindTransceiver.Response() && f.Sequence == 1,
			f.Command == wire.GenericNack && f.Sequence <= 1:
			if f.Status != wire.StatusOK {
				return nil, &bindError{f.Status}
			}
			if f.Command == wire.GenericNack {
				return nil, &bindError{wire.StatusSystemError}
			}
			_ = conn.SetDeadline(time.Time{})
			return early, nil
		case (f.Command == wire.DeliverSM || f.Command == wire.DataSM) && len(early) < 100:
			early = append(early, f)
		}
	}
}
