package testenv

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
)

// Proxy stands on the network between us and an engine.
type Proxy struct {
	env   *Env
	proxy *toxiproxy.Proxy
}

// Proxy starts a proxy before upstream (host:port), stopped at the end of the
// test. It passes everything until it is told otherwise.
func (e *Env) Proxy(upstream string) *Proxy {
	e.t.Helper()
	e.mu.Lock()
	e.proxies++
	name := "proxy-" + strconv.Itoa(e.proxies)
	e.mu.Unlock()
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	p := &Proxy{e, toxiproxy.NewProxy(server, name, "127.0.0.1:0", upstream)}
	p.Up()
	e.t.Cleanup(p.proxy.Stop)
	return p
}

// Addr returns where to connect instead of the upstream.
func (p *Proxy) Addr() string { return p.proxy.Listen }

// Down ends every connection and refuses new ones until Up.
func (p *Proxy) Down() { p.proxy.Stop() }

// Up listens again on the same address.
func (p *Proxy) Up() {
	p.env.t.Helper()
	err := p.proxy.Start()
	if err != nil {
		p.env.t.Fatal("testenv: proxy:", err)
	}
}

// Toxic makes the network worse in one way until the returned function heals
// it: kind and attributes as in toxiproxy's documentation, for example
// "latency" with {"latency": 500} (milliseconds), "timeout" with
// {"timeout": 0} (half-open), "slicer", "reset_peer". stream is "upstream"
// (from us) or "downstream" (to us).
func (p *Proxy) Toxic(kind, stream string, attributes map[string]any) (heal func()) {
	p.env.t.Helper()
	description, err := json.Marshal(map[string]any{"type": kind, "stream": stream, "attributes": attributes})
	if err != nil {
		p.env.t.Fatal("testenv: toxic:", err)
	}
	toxic, err := p.proxy.Toxics.AddToxicJson(strings.NewReader(string(description)))
	if err != nil {
		p.env.t.Fatalf("testenv: toxic %s: %v", description, err)
	}
	return func() {
		ctx := context.WithoutCancel(p.env.t.Context())
		err := p.proxy.Toxics.RemoveToxic(ctx, toxic.Name)
		if err != nil {
			p.env.t.Error("testenv: heal:", err)
		}
	}
}
