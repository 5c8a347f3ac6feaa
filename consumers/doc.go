// Package consumers is everything that speaks Kafka: one safe writer, one
// group runner, the CloudEvents envelope, the ingress of outside producers,
// the sealed dead-letter topics, topic administration and lag. The file of a
// topic's handler is named after the topic.
//
// Its promise: a record that was acknowledged is handled at least once, and
// its offset is committed only after it was handled or parked in a dead-letter
// topic. Nothing is skipped in silence: records lost to retention are counted
// and alarmed. Effects are once because the handlers' ports are idempotent by
// id (README, promises P2 and P3), not because Kafka is.
//
// kafka-go is the only Kafka library here and is not visible outside except
// as Record.Raw and in KafkaConfig's SASL mechanism.
package consumers
