package smpp

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"mobileid/smpp/profile"
	"mobileid/smpp/trace"
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

// Dialer opens a connection to host:port. The context carries its timer.
type Dialer func(ctx context.Context, host string, secure profile.TLS) (net.Conn, error)

// dial is the Dialer of production. The files of TLS are read each time, so
// that a certificate is renewed without a restart.
func dial(ctx context.Context, host string, secure profile.TLS) (net.Conn, error) {
	if !secure.Enabled {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", host)
	}
	cfg, err := tlsConfig(secure)
	if err != nil {
		return nil, err
	}
	d := tls.Dialer{Config: cfg}
	return d.DialContext(ctx, "tcp", host)
}

// tlsConfig reads what a bind's TLS is made of.
func tlsConfig(secure profile.TLS) (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: secure.ServerName}
	if secure.CAFile != "" {
		pem, err := os.ReadFile(secure.CAFile)
		if err != nil {
			return nil, fmt.Errorf("tls.ca_file: %w", err)
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(pem) {
			return nil, errors.New("tls.ca_file: no PEM certificate in it")
		}
	}
	if secure.CertFile != "" {
		own, err := tls.LoadX509KeyPair(secure.CertFile, secure.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("tls.cert_file: %w", err)
		}
		cfg.Certificates = []tls.Certificate{own}
	}
	return cfg, nil
}

// connect opens a connection and binds it. Dialling, with the handshake of TLS,
// and the bind's answer have a timer each; the session returned must be run.
func (l *link) connect(ctx context.Context, host string) (*session, error) {
	b, timers := l.bridge, l.bridge.cfg.Profile.Timers
	dialling, cancel := context.WithTimeout(ctx, timers.Dial)
	defer cancel()
	conn, err := b.dial(dialling, host, l.bind.TLS)
	if err != nil {
		return nil, fmt.Errorf("dial: %w", err)
	}
	// The context ends the bind whatever the connection waits for.
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	br := bufio.NewReaderSize(conn, maxWrite)
	shown := newTap(&b.tap, &trace.Session{Link: l.name, Host: host, Us: addrPort(conn.LocalAddr()), Peer: addrPort(conn.RemoteAddr())})
	early, version, err := l.bindOn(conn, br, shown)
	if err != nil {
		_ = conn.Close()
		return nil, err
	}
	window := 0
	if l.bind.Type.Carries() {
		window = l.bind.Window
	}
	b.mu.Lock()
	doubted := l.doubted
	b.mu.Unlock()
	s := newSession(conn, br, 2, sessionConfig{
		window: window, response: timers.Response, enquire: timers.EnquireLink, inactivity: timers.Inactivity,
		writeTimeout: timers.Write, unbindWait: b.cfg.UnbindWait, now: b.now, handler: l,
		freed: func() { signal(b.places) }, doubted: doubted, hung: l.hung, tap: shown,
	})
	s.number, s.optional = b.sessionCount.Add(1), version >= wire.Version34
	for _, f := range early {
		l.deliver(s, f)
	}
	return s, nil
}

var bindCommands = map[profile.BindType]wire.Command{
	profile.Transceiver: wire.BindTransceiver, profile.Transmitter: wire.BindTransmitter, profile.Receiver: wire.BindReceiver,
}

// bindOn sends the bind and reads up to its answer. Receipts may come right
// behind the answer or, from a hasty operator, before it: these are returned,
// with the version of SMPP that the operator says, 0 if none.
func (l *link) bindOn(conn net.Conn, br *bufio.Reader, shown tap) (early []wire.Frame, version byte, err error) {
	account, command := l.bridge.cfg.Profile.Account, bindCommands[l.bind.Type]
	raw, err := wire.Bind{
		Command: command, SystemID: account.SystemID, Password: account.Password, SystemType: account.SystemType,
	}.Encode()
	if err != nil {
		return nil, 0, err
	}
	_ = conn.SetDeadline(time.Now().Add(l.bridge.cfg.Profile.Timers.Bind))
	shown.writes(raw)
	n, err := conn.Write(raw)
	shown.wrote(n)
	if err != nil {
		return nil, 0, fmt.Errorf("bind: %w", err)
	}
	for {
		f, err := wire.Read(br)
		if err != nil {
			if errors.Is(err, wire.ErrLength) {
				shown.stray(f)
			}
			if isTimeout(err) {
				err = errors.New("no answer in time")
			}
			return nil, 0, fmt.Errorf("bind: %w", err)
		}
		shown.read(f)
		switch {
		case f.Command == command.Response() && f.Sequence == 1,
			f.Command == wire.GenericNack && f.Sequence <= 1:
			if f.Status != wire.StatusOK {
				return nil, 0, &bindError{f.Status}
			}
			if f.Command == wire.GenericNack {
				return nil, 0, &bindError{wire.StatusSystemError}
			}
			_ = conn.SetDeadline(time.Time{})
			return early, wire.InterfaceVersion(f), nil
		case (f.Command == wire.DeliverSM || f.Command == wire.DataSM) && len(early) < 100:
			early = append(early, f)
		}
	}
}
