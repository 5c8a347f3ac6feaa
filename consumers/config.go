package consumers

import (
	"crypto/tls"
	"net"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/sasl"
)

// KafkaConfig says how to reach the cluster. The zero values of TLS and SASL
// mean plain TCP without authentication.
type KafkaConfig struct {
	Brokers  []string // host:port, at least one
	TLS      *tls.Config
	SASL     sasl.Mechanism
	ClientID string // told to the broker, for its logs and quotas
}

const (
	// metadataLife bounds how long a change of leaders or a new topic stays
	// unseen. kafka-go refreshes after a random part of it.
	metadataLife = time.Second
	// dialTimeout covers TCP, TLS and SASL of one connection.
	dialTimeout = 3 * time.Second
	idleTimeout = 30 * time.Second
)

// addr is every broker of the list: the transport tries them in random order.
func (c KafkaConfig) addr() net.Addr { return kafka.TCP(c.Brokers...) }

// transport makes a pool of connections of its own; the caller closes its idle
// connections when done.
func (c KafkaConfig) transport(dial time.Duration) *kafka.Transport {
	return &kafka.Transport{
		DialTimeout: dial,
		IdleTimeout: idleTimeout,
		MetadataTTL: metadataLife,
		ClientID:    c.ClientID,
		TLS:         c.TLS,
		SASL:        c.SASL,
	}
}

// dialer is what the group's coordinator connection uses; kafka-go has two
// ways to connect and this is the other one.
func (c KafkaConfig) dialer() *kafka.Dialer {
	return &kafka.Dialer{
		ClientID:      c.ClientID,
		Timeout:       dialTimeout,
		DualStack:     true,
		TLS:           c.TLS,
		SASLMechanism: c.SASL,
	}
}

// client returns a client on a transport of its own and the function that
// gives its connections back.
func (c KafkaConfig) client() (*kafka.Client, func()) {
	t := c.transport(dialTimeout)
	return &kafka.Client{Addr: c.addr(), Transport: t}, t.CloseIdleConnections
}

// String names the brokers, and whether the way to them is protected.
func (c KafkaConfig) String() string {
	s := strings.Join(c.Brokers, ",")
	if c.TLS != nil {
		s += " tls"
	}
	if c.SASL != nil {
		s += " " + c.SASL.Name()
	}
	return s
}
