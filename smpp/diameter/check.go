package diameter

import (
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Mistake is one thing wrong with a Config.
type Mistake struct {
	Path string // of the field, for example peers[1].address
	Text string // what is wanted
}

type mistakes []Mistake

func (m *mistakes) addf(path, format string, args ...any) {
	*m = append(*m, Mistake{Path: path, Text: fmt.Sprintf(format, args...)})
}

// leastTw is the shortest watchdog interval that RFC 3539 (3.4.1) allows.
const leastTw = 6 * time.Second

// Check lists everything wrong with a Config; what has a default may be left out.
func (c *Config) Check() []Mistake {
	var wrong mistakes
	for _, f := range []struct{ path, value string }{
		{"origin_host", c.OriginHost},
		{"origin_realm", c.OriginRealm},
		{"session_host", c.SessionHost},
		{"destination_realm", c.DestinationRealm},
	} {
		if !identity(f.value) {
			wrong.addf(f.path, "a host name such as charging.example.uz: letters, digits, '-' and '.', at most 255 (RFC 6733, 4.3.1)")
		}
	}
	if name, domain, ok := strings.Cut(c.ServiceContext, "@"); c.ServiceContext != "" && (!ok || name == "" || domain == "" || strings.ContainsAny(c.ServiceContext, " \t")) {
		wrong.addf("service_context", "context@domain, for example 8.32274@3gpp.org (TS 32.299, 7.1.12)")
	}
	c.checkPeers(&wrong)
	oneOf("mode", c.Mode, &wrong, ECUR, IEC)
	oneOf("failure_handling", c.FailureHandling, &wrong, Continue, Terminate, RetryAndTerminate)
	oneOf("debit_failure", c.DebitFailure, &wrong, TerminateOrBuffer, DebitContinue)
	for _, kind := range slices.Sorted(maps.Keys(c.Services)) {
		if c.Services[kind] == (Service{}) {
			wrong.addf("services."+kind, "an identifier, a rating_group or both")
		}
	}
	if len(c.Sender) > 20 {
		wrong.addf("sender", "at most 20 characters (SMPP 3.4, 4.4.1)")
	}
	c.checkTimes(&wrong)
	if c.Window < 0 || c.Window > 1<<16 {
		wrong.addf("window", "1 to 65536")
	}
	return wrong
}

func (c *Config) checkPeers(wrong *mistakes) {
	if len(c.Peers) < 1 || len(c.Peers) > 2 {
		wrong.addf("peers", "one or two")
	}
	names := map[string]bool{}
	for i, p := range c.Peers {
		path := fmt.Sprintf("peers[%d]", i)
		host, port, err := net.SplitHostPort(p.Address)
		if n, portErr := strconv.ParseUint(port, 10, 16); err != nil || portErr != nil || n == 0 || host == "" {
			wrong.addf(path+".address", "want host:port, for example ocs1.example.uz:3868")
		}
		if p.DestinationHost != "" && !identity(p.DestinationHost) {
			wrong.addf(path+".destination_host", "the server's Origin-Host (RFC 6733, 4.3.1)")
		}
		name := p.Name
		if name == "" {
			name = p.Address
		}
		if names[name] {
			wrong.addf(path+".name", "%q stands twice", name)
		}
		names[name] = true
	}
}

func (c *Config) checkTimes(wrong *mistakes) {
	for _, f := range []struct {
		path        string
		value       time.Duration
		least, most time.Duration
	}{
		{"tx", c.Tx, 100 * time.Millisecond, time.Minute},
		{"tw", c.Tw, leastTw, 10 * time.Minute},
		{"connect_timeout", c.ConnectTimeout, 100 * time.Millisecond, time.Minute},
		{"backoff", c.Backoff, 100 * time.Millisecond, 10 * time.Minute},
		{"backoff_max", c.BackoffMax, 100 * time.Millisecond, time.Hour},
		{"late_for", c.LateFor, time.Second, 10 * time.Minute},
	} {
		if f.value != 0 && (f.value < f.least || f.value > f.most) {
			wrong.addf(f.path, "%v to %v", f.least, f.most)
		}
	}
	if d := c.withDefaults(); d.BackoffMax < d.Backoff {
		wrong.addf("backoff_max", "not less than backoff")
	}
}

// oneOf allows the default, which is empty, and the values.
func oneOf[S ~string](path string, have S, wrong *mistakes, allowed ...S) {
	if have != "" && !slices.Contains(allowed, have) {
		wrong.addf(path, "one of %v", allowed)
	}
}

// identity reports whether s can be a DiameterIdentity.
func identity(s string) bool {
	if s == "" || len(s) > 255 {
		return false
	}
	for i := range len(s) {
		switch b := s[i]; {
		case b >= 'a' && b <= 'z', b >= 'A' && b <= 'Z', b >= '0' && b <= '9', b == '-', b == '.':
		default:
			return false
		}
	}
	return true
}
