package diameter

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"time"

	"github.com/fiorix/go-diameter/v4/diam"
	"github.com/fiorix/go-diameter/v4/diam/avp"
	"github.com/fiorix/go-diameter/v4/diam/datatype"

	"mobileid/internal/mobileid"
)

// Request names a Message to the charging system.
type Request struct {
	ID     string          // of the Message: part of the Session-Id, so nothing personal
	Number mobileid.MSISDN // of the subscriber, who is charged
	Units  int             // Messages, or parts where the tariff is per part; at least 1
	Kind   string          // a key of Config.Services
	At     time.Time       // Event-Timestamp: when the Message was queued
	// Step tells the refunds of one Message apart: the same step is the same refund.
	Step int
	// Again says that the same may have been asked before by somebody who cannot
	// tell any more, another process or this one before it was started again. What
	// this Client asked it knows by itself.
	Again bool
}

// vendor3GPP is the IANA enterprise number of 3GPP.
const vendor3GPP = 10415

// kind is what a CCR is for.
type kind int

const (
	initial     kind = iota // ECUR: reserve
	termination             // ECUR: say what was used
	debit                   // IEC: direct debiting
	giveBack                // IEC: refund of what was not used
	refund                  // of what was used, later
	kinds
)

// String names a kind: a metric label.
func (k kind) String() string {
	return [kinds]string{"initial", "termination", "debit", "give_back", "refund"}[k]
}

// requestType returns CC-Request-Type (RFC 8506, 8.3) and CC-Request-Number.
func (k kind) requestType() (requestType, number uint32) {
	switch k {
	case initial:
		return 1, 0
	case termination:
		return 3, 1
	case debit, giveBack, refund, kinds:
	}
	return 4, 0
}

// reserves reports whether the answer decides about the Message.
func (k kind) reserves() bool { return k == initial || k == debit }

// sessionID is of the form of RFC 6733, 8.8. Its numbers follow from the id, so
// that each process makes the same; an event has a session of its own, and each
// refund is an event.
func sessionID(host, id string, k kind, step int) string {
	sum := sha256.Sum256([]byte(id))
	session := fmt.Sprintf("%s;%d;%d;%s", host, binary.BigEndian.Uint32(sum[:4]), binary.BigEndian.Uint32(sum[4:8]), id)
	switch k {
	case giveBack:
		session += ";" + k.String()
	case refund:
		session += fmt.Sprintf(";%s;%d", k, step)
	case initial, termination, debit, kinds:
	}
	return session
}

// must is the flag of an AVP that the peer has to understand.
const must = avp.Mbit

func field(code uint32, data datatype.Type) *diam.AVP { return diam.NewAVP(code, must, 0, data) }

func field3GPP(code uint32, data datatype.Type) *diam.AVP {
	return diam.NewAVP(code, must|avp.Vbit, vendor3GPP, data)
}

func group(items ...*diam.AVP) *diam.GroupedAVP { return &diam.GroupedAVP{AVP: items} }

// newRequest begins a request of ours. Its hop-by-hop id is given when it is
// written.
func (c *Config) newRequest(command uint32, flags uint8, application, endToEnd uint32) *diam.Message {
	const later = 1 // 0 would have one drawn
	return diam.NewMessage(command, diam.RequestFlag|flags, application, later, endToEnd, nil)
}

// origin adds who we are. There is no Origin-State-Id: one that grows with each
// start would tell the server that the sessions before it are void (RFC 6733,
// 8.16), and they are to be settled after a restart, or by another process.
func (c *Config) origin(m *diam.Message) {
	m.AddAVP(field(avp.OriginHost, datatype.DiameterIdentity(c.OriginHost)))
	m.AddAVP(field(avp.OriginRealm, datatype.DiameterIdentity(c.OriginRealm)))
}

// ccr makes a Credit-Control-Request for a peer (RFC 8506, 3.1; TS 32.299, 6.4.2).
// The order of the first AVPs is that of the RFC; some servers insist.
func (c *Config) ccr(k kind, r *Request, units int, to Peer, endToEnd uint32, again bool) (frame, error) {
	flags := uint8(diam.ProxiableFlag)
	if again {
		flags |= diam.RetransmittedFlag
	}
	m := c.newRequest(diam.CreditControl, flags, diam.CHARGING_CONTROL_APP_ID, endToEnd)
	requestType, number := k.requestType()
	m.AddAVP(field(avp.SessionID, datatype.UTF8String(sessionID(c.SessionHost, r.ID, k, r.Step))))
	c.origin(m)
	m.AddAVP(field(avp.DestinationRealm, datatype.DiameterIdentity(c.DestinationRealm)))
	m.AddAVP(field(avp.AuthApplicationID, datatype.Unsigned32(diam.CHARGING_CONTROL_APP_ID)))
	m.AddAVP(field(avp.ServiceContextID, datatype.UTF8String(c.ServiceContext)))
	m.AddAVP(field(avp.CCRequestType, datatype.Enumerated(requestType)))
	m.AddAVP(field(avp.CCRequestNumber, datatype.Unsigned32(number)))
	if to.DestinationHost != "" {
		m.AddAVP(field(avp.DestinationHost, datatype.DiameterIdentity(to.DestinationHost)))
	}
	m.AddAVP(field(avp.EventTimestamp, datatype.Time(r.At)))
	m.AddAVP(field(avp.SubscriptionID, group(
		field(avp.SubscriptionIDType, datatype.Enumerated(0)), // END_USER_E164
		field(avp.SubscriptionIDData, datatype.UTF8String(r.Number.RevealDigits())),
	)))
	switch k {
	case termination:
		m.AddAVP(field(avp.TerminationCause, datatype.Enumerated(1))) // DIAMETER_LOGOUT: ended by the user's side
	case debit:
		m.AddAVP(field(avp.RequestedAction, datatype.Enumerated(0))) // DIRECT_DEBITING
	case giveBack, refund:
		m.AddAVP(field(avp.RequestedAction, datatype.Enumerated(1))) // REFUND_ACCOUNT
	case initial, kinds:
	}
	c.addUnits(m, k, r, units)
	m.AddAVP(c.serviceInformation(r))
	return m.Serialize()
}

// addUnits says how many, plainly or for the one service.
func (c *Config) addUnits(m *diam.Message, k kind, r *Request, units int) {
	code := uint32(avp.RequestedServiceUnit)
	if k == termination {
		code = avp.UsedServiceUnit
	}
	of := field(code, group(field(avp.CCServiceSpecificUnits, datatype.Unsigned64(units))))
	service := c.Services[r.Kind]
	if c.PlainUnits {
		m.AddAVP(of)
		if service.Identifier != 0 {
			m.AddAVP(field(avp.ServiceIdentifier, datatype.Unsigned32(service.Identifier)))
		}
		return
	}
	control := group(of)
	if service.Identifier != 0 {
		control.AddAVP(field(avp.ServiceIdentifier, datatype.Unsigned32(service.Identifier)))
	}
	if service.RatingGroup != 0 {
		control.AddAVP(field(avp.RatingGroup, datatype.Unsigned32(service.RatingGroup)))
	}
	if k == initial {
		m.AddAVP(field(avp.MultipleServicesIndicator, datatype.Enumerated(1))) // MULTIPLE_SERVICES_SUPPORTED
	}
	m.AddAVP(field(avp.MultipleServicesCreditControl, control))
}

// serviceInformation is what rating may want to know of an SMS (TS 32.274, 6.3):
// that it was submitted, how many there are, from whom and to whom.
func (c *Config) serviceInformation(r *Request) *diam.AVP {
	const msisdn, alphanumeric, submission = 1, 5, 0
	sms := group(
		field3GPP(avp.SMMessageType, datatype.Enumerated(submission)),
		field3GPP(avp.NumberOfMessagesSent, datatype.Unsigned32(r.Units)),
		field3GPP(avp.RecipientInfo, group(
			field3GPP(avp.RecipientAddress, group(
				field3GPP(avp.AddressType, datatype.Enumerated(msisdn)),
				field3GPP(avp.AddressData, datatype.UTF8String(r.Number.RevealDigits())),
			)),
		)),
	)
	if c.Sender != "" {
		sms.AddAVP(field3GPP(avp.OriginatorReceivedAddress, group(
			field3GPP(avp.AddressType, datatype.Enumerated(alphanumeric)),
			field3GPP(avp.AddressData, datatype.UTF8String(c.Sender)),
		)))
	}
	return field3GPP(avp.ServiceInformation, group(field3GPP(avp.SMSInformation, sms)))
}
