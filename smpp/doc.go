// Package smpp is the bridge between the registry and one mobile operator: it
// takes ids of Messages, has them admitted, writes submit_sm, settles what the
// operator answered, and stores delivery receipts (SMPP 3.4).
//
// Its promises:
//
//   - Nothing is written for a Message whose admission is older than one
//     second, after the bridge's lease, or after the Message's deadline; such a
//     Message is admitted again, its fence included (P7).
//   - A submit_sm that may have reached the operator without an answer ends
//     in_doubt; one that surely has not is admitted again, and one that came too
//     fast is written again when the pace allows. Of a text in several parts
//     only those are written again that the operator does not have (P5).
//   - What a command_status means is the operator's table; one that asks for
//     later is obeyed as often as the table says, never after the deadline.
//   - No more is written than the pace of the account allows. Codes go before
//     notices, which keep a sixteenth. A slow Charger slows nobody else.
//   - A receipt is acknowledged when it is stored, and not before.
//   - One bad PDU never ends a bind, unless its length is out of bounds: then
//     nobody knows where the next one begins.
//   - When Run ends by its context, what was written has been settled or is in
//     doubt, and what was not written has been given back (P10).
//
// The sealed text of a Message is opened here and nowhere else; no number, text
// or code is in a log line, error or metric of this package. Bridge.pipeline is
// the way of a Message through the bridge, in order.
package smpp
