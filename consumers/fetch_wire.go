package consumers

import (
	"github.com/segmentio/kafka-go/protocol"
	fetchapi "github.com/segmentio/kafka-go/protocol/fetch"
)

// kafka-go decodes the records of a fetch while it reads the answer. Here the
// answer keeps them as bytes, so that batch.go decodes them within bounds. The
// registration is one for the process, and made before anything connects;
// kafka.Client.Fetch cannot be used beside it.
//
//nolint:gochecknoinits // kafka-go's table of messages is filled by inits and not locked
func init() { protocol.Register(&fetchapi.Request{}, &fetchResponse{}) }

// fetchResponse is kafka-go's with other records.
type fetchResponse struct {
	ThrottleTimeMs int32                `kafka:"min=v1,max=v11"`
	ErrorCode      int16                `kafka:"min=v7,max=v11"`
	SessionID      int32                `kafka:"min=v7,max=v11"`
	Topics         []fetchResponseTopic `kafka:"min=v0,max=v11"`
}

// ApiKey names the API; kafka-go asks for it.
//
//nolint:staticcheck // the name is kafka-go's
func (*fetchResponse) ApiKey() protocol.ApiKey { return protocol.Fetch }

type fetchResponseTopic struct {
	Topic      string                   `kafka:"min=v0,max=v11"`
	Partitions []fetchResponsePartition `kafka:"min=v0,max=v11"`
}

type fetchResponsePartition struct {
	Partition            int32                          `kafka:"min=v0,max=v11"`
	ErrorCode            int16                          `kafka:"min=v0,max=v11"`
	HighWatermark        int64                          `kafka:"min=v0,max=v11"`
	LastStableOffset     int64                          `kafka:"min=v4,max=v11"`
	LogStartOffset       int64                          `kafka:"min=v5,max=v11"`
	AbortedTransactions  []fetchapi.ResponseTransaction `kafka:"min=v4,max=v11"`
	PreferredReadReplica int32                          `kafka:"min=v11,max=v11"`
	RecordSet            []byte                         `kafka:"min=v0,max=v11,nullable"`
}
