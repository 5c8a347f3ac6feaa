package consumers

import "errors"

// ErrPartitionLost is the cause of a handler's context that ended because
// another member of the group takes the partition over. What was not done is
// delivered to that member.
var ErrPartitionLost = errors.New("the partition goes to another member of the group")

// ErrDraining is the cause of a handler's context that ended because the
// process stops.
var ErrDraining = errors.New("the consumer stops")

// ErrHandlerDeadline is the cause of a handler's context that ended because
// the batch took too long: the same records come again.
var ErrHandlerDeadline = errors.New("the handler took longer than its deadline")
