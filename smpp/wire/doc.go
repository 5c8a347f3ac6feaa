// Package wire reads and writes SMPP 3.4 PDUs: framing and bounds are its own,
// the fields inside a PDU are read and written by the go-smpp codec.
//
// Its promise: whatever bytes a peer sends, Read either returns one whole frame
// or says that framing is lost (ErrLength); a frame whose fields make no sense
// is an error of Decode and never of the stream, so one bad PDU cannot end a
// bind. Nothing here holds state between two PDUs.
package wire
