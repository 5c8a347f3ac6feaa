package wire

import (
	"fmt"

	"github.com/fiorix/go-smpp/smpp/pdu"
)

// Command is a command_id (SMPP 3.4, 5.1.2.1).
type Command uint32

// responseBit marks the answer to a request.
const responseBit Command = 0x80000000

// The commands that this system speaks or may hear.
const (
	GenericNack       = Command(pdu.GenericNACKID)
	BindReceiver      = Command(pdu.BindReceiverID)
	BindTransmitter   = Command(pdu.BindTransmitterID)
	BindTransceiver   = Command(pdu.BindTransceiverID)
	SubmitSM          = Command(pdu.SubmitSMID)
	DeliverSM         = Command(pdu.DeliverSMID)
	DataSM            = Command(pdu.DataSMID)
	Unbind            = Command(pdu.UnbindID)
	EnquireLink       = Command(pdu.EnquireLinkID)
	Outbind           = Command(pdu.OutbindID)
	AlertNotification = Command(pdu.AlertNotificationID)
)

// Response returns the command that answers c.
func (c Command) Response() Command { return c | responseBit }

// IsResponse reports whether c answers something; generic_nack does.
func (c Command) IsResponse() bool { return c&responseBit != 0 }

// Known reports whether there is such a command.
func (c Command) Known() bool {
	_, ok := commandNames[c&^responseBit]
	return ok || c == GenericNack
}

var commandNames = map[Command]string{
	BindReceiver: "bind_receiver", BindTransmitter: "bind_transmitter", BindTransceiver: "bind_transceiver",
	SubmitSM: "submit_sm", DeliverSM: "deliver_sm", DataSM: "data_sm", Unbind: "unbind",
	EnquireLink: "enquire_link", Outbind: "outbind", AlertNotification: "alert_notification",
	Command(pdu.QuerySMID): "query_sm", Command(pdu.CancelSMID): "cancel_sm",
	Command(pdu.ReplaceSMID): "replace_sm", Command(pdu.SubmitMultiID): "submit_multi",
}

// String returns the name that the specification uses, or the number.
func (c Command) String() string {
	if c == GenericNack {
		return "generic_nack"
	}
	name, ok := commandNames[c&^responseBit]
	switch {
	case !ok:
		return fmt.Sprintf("0x%08x", uint32(c))
	case c.IsResponse():
		return name + "_resp"
	}
	return name
}

// Status is a command_status (SMPP 3.4, 5.1.3).
type Status uint32

// The statuses that somebody here gives or treats in a way of its own.
const (
	StatusOK            Status = 0x00 // ESME_ROK
	StatusInvalidLength Status = 0x02 // ESME_RINVCMDLEN
	StatusInvalidID     Status = 0x03 // ESME_RINVCMDID
	StatusNotBound      Status = 0x04 // ESME_RINVBNDSTS
	StatusAlreadyBound  Status = 0x05 // ESME_RALYBND
	StatusSystemError   Status = 0x08 // ESME_RSYSERR
	StatusInvalidDest   Status = 0x0B // ESME_RINVDSTADR
	StatusBindFailed    Status = 0x0D // ESME_RBINDFAIL
	StatusBadPassword   Status = 0x0E // ESME_RINVPASWD
	StatusBadSystemID   Status = 0x0F // ESME_RINVSYSID
	StatusQueueFull     Status = 0x14 // ESME_RMSGQFUL
	StatusThrottled     Status = 0x58 // ESME_RTHROTTLED
	StatusTemporary     Status = 0x64 // ESME_RX_T_APPN
	StatusUnknownError  Status = 0xFF // ESME_RUNKNOWNERR
)

// String prints the status as "0x0b".
func (s Status) String() string { return fmt.Sprintf("0x%02x", uint32(s)) }
