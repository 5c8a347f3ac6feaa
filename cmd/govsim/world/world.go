package world

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// Config says what the world is like when it starts.
type Config struct {
	// Addr is where to listen, host:port. "" means a free port of 127.0.0.1.
	Addr string
	// Clients are the secrets by client_id of those who may have tokens.
	Clients map[string]string
	// Issuer is the "iss" of tokens. "" means the URL it listens on.
	Issuer string
	// Audience is the "aud" of tokens. "" means "mobileid".
	Audience string
	// TokenLife is how long a token is good. 0 means 15 minutes.
	TokenLife time.Duration
	// NumberInfoToken is the bearer token of those who may ask who serves a
	// number. "" means that nobody may.
	NumberInfoToken string
	// SIMSwapToken is that of those who may ask whether a SIM was changed.
	SIMSwapToken string
	// Numbers says who serves which, for example "+998901234567": "ucell".
	Numbers map[string]string
	// Now is the clock. nil means time.Now.
	Now func() time.Time
	// Log gets one line for each order given through the control API. nil
	// means slog.Default.
	Log *slog.Logger
}

// World is the running program.
type World struct {
	url     string
	issuer  *issuer
	numbers *numberInfo
	sims    *simSwap
	control *control
	server  *http.Server
	served  chan error // how serving ended
}

const (
	defaultTokenLife = 15 * time.Minute
	headerLimit      = 5 * time.Second
	requestLimit     = 10 * time.Second
	closeLimit       = 2 * time.Second
	maxBody          = 64 << 10 // bytes
)

// Start listens and serves until Close.
func Start(cfg Config) (*World, error) {
	if cfg.Addr == "" {
		cfg.Addr = "127.0.0.1:0"
	}
	if cfg.Audience == "" {
		cfg.Audience = "mobileid"
	}
	if cfg.TokenLife == 0 {
		cfg.TokenLife = defaultTokenLife
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.Default()
	}
	var lc net.ListenConfig
	listener, err := lc.Listen(context.Background(), "tcp", cfg.Addr)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	w := &World{url: "http://" + listener.Addr().String(), served: make(chan error, 1)}
	if cfg.Issuer == "" {
		cfg.Issuer = w.url
	}
	w.issuer, err = newIssuer(cfg, w.url)
	if err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	w.numbers, err = newNumberInfo(cfg)
	if err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	w.sims = newSIMSwap(cfg)
	w.control = &control{now: cfg.Now, log: cfg.Log, issuer: w.issuer, numbers: w.numbers, sims: w.sims}

	agencies := http.NewServeMux()
	w.issuer.routes(agencies)
	w.numbers.routes(agencies)
	w.sims.routes(agencies)
	mux := http.NewServeMux()
	mux.Handle("/", w.control.unlessOut(agencies))
	w.control.routes(mux)
	w.server = &http.Server{
		Handler:           http.MaxBytesHandler(mux, maxBody),
		ReadHeaderTimeout: headerLimit,
		ReadTimeout:       requestLimit,
		WriteTimeout:      requestLimit,
		ErrorLog:          slog.NewLogLogger(cfg.Log.Handler(), slog.LevelWarn),
	}
	go func() { w.served <- w.server.Serve(listener) }()
	return w, nil
}

// URL returns where the world listens, without a slash at the end.
func (w *World) URL() string { return w.url }

// TokenURL returns the OAuth 2.0 token endpoint.
func (w *World) TokenURL() string { return w.url + tokenPath }

// NumberInfoURL returns where one asks who serves a number.
func (w *World) NumberInfoURL() string { return w.url + numberInfoPath }

// NumberInfoAsked returns how often that was asked.
func (w *World) NumberInfoAsked() int { return w.numbers.shown().Asked }

// SIMSwapURL returns where the API is by which one asks whether a SIM was changed.
func (w *World) SIMSwapURL() string { return w.url + simSwapPath }

// SIMSwapAsked returns how often that was asked.
func (w *World) SIMSwapAsked() int { return w.sims.shown().Asked }

// jwksURL returns where the issuer's public keys are.
func (w *World) jwksURL() string { return w.url + keysPath }

// Close lets running requests end, up to two seconds, and returns when nothing
// is served any more.
func (w *World) Close() error {
	close(w.numbers.closing)
	close(w.sims.closing)
	ctx, cancel := context.WithTimeout(context.Background(), closeLimit)
	defer cancel()
	err := w.server.Shutdown(ctx)
	if err != nil {
		err = errors.Join(err, w.server.Close())
	}
	served := <-w.served
	if !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}

// answer writes v as JSON.
func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the asker may be gone; nothing to do about it
}
