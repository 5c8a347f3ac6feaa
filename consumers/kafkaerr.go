package consumers

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"syscall"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"

	"mobileid/internal/mobileid"
)

// explain makes an error of Kafka one that the log prints, and says in words
// what is meant by those that mislead: a forbidden topic shows as an unknown
// one, a wrong password as a closed connection. It is safe to print: kafka-go
// and the network quote addresses, topics and the broker's codes, and no bytes
// of a record.
func explain(err error) error {
	if err == nil {
		return nil
	}
	return mobileid.Safe(explained{err})
}

type explained struct{ error }

func (e explained) Unwrap() error { return e.error }

func (e explained) Error() string {
	err := e.error
	switch {
	case errors.Is(err, kafka.UnknownTopicOrPartition):
		return err.Error() + " (the topic does not exist, or the ACL hides it from this principal)"
	case errors.Is(err, kafka.SASLAuthenticationFailed):
		return err.Error() + " (wrong user or password)"
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return err.Error() + " (the broker closed the connection: wrong user or password, TLS against a plain port, or a restart)"
	}
	return err.Error()
}

// afterAppend are the broker's answers that may come after it has appended.
var afterAppend = []kafka.Error{
	kafka.RequestTimedOut, kafka.NotEnoughReplicasAfterAppend, kafka.NetworkException, kafka.KafkaStorageError, kafka.Unknown,
}

// tooLarge reports that a record is over the limit of the Writer or the broker.
func tooLarge(err error) bool {
	var large kafka.MessageTooLargeError
	return errors.As(err, &large) || errors.Is(err, kafka.MessageSizeTooLarge) || errors.Is(err, kafka.RecordListTooLarge)
}

// perhapsWritten reports whether a produce request that failed so may still
// have appended the records.
func perhapsWritten(err error) bool {
	if code, ok := errors.AsType[kafka.Error](err); ok {
		return slices.Contains(afterAppend, code) // else the broker said no before it appended
	}
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		return false
	}
	var dns *net.DNSError
	if errors.As(err, &dns) || errors.Is(err, syscall.ECONNREFUSED) {
		return false
	}
	if errors.Is(err, protocol.ErrNoLeader) {
		return false // there was nobody to send it to
	}
	return true
}

// worthRetrying reports whether the same produce may succeed in a moment.
func worthRetrying(err error) bool {
	if code, ok := errors.AsType[kafka.Error](err); ok {
		// A topic may be new, or its leader moving, until metadata catches up.
		return code.Temporary() || code == kafka.UnknownTopicOrPartition
	}
	return !errors.Is(err, context.Canceled) && !errors.Is(err, io.ErrClosedPipe)
}
