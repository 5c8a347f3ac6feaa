package consumers

import "errors"

// errPartitionLost is the cause of a handler's context that ended because
// another member of the group takes the partition over. What was not done is
// delivered to that member.
var errPartitionLost = errors.New("the partition goes to another member of the group")

// errDraining is the cause of a handler's context that ended because the
// process stops.
var errDraining = errors.New("the consumer stops")

// errHandlerDeadline is the cause of a handler's context that ended because
// the batch took too long: the same records come again.
var errHandlerDeadline = errors.New("the handler took longer than its deadline")
