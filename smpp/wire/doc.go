// Package wire reads and writes SMPP 3.4 PDUs. What every Message needs is its
// own: framing, submit_sm and deliver_sm (Message), data_sm, the message_id of
// an answer, and times. The rest (binds, and PDUs taken apart field by field for
// the simulator) is read and written by the go-smpp codec, against which the
// tests hold what is our own (docs/decisions/010-own-codec-of-messages.md).
//
// Its promise: whatever bytes a peer sends, Read either returns one whole frame
// or says that framing is lost (ErrLength); a frame whose fields make no sense
// is an error of its decoder and never of the stream, so one bad PDU cannot end
// a bind. What does not fit its field is never written (ErrField). Nothing here
// holds state between two PDUs but the memory that a Reader has in hand.
package wire
