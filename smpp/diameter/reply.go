package diameter

import (
	"errors"

	"github.com/fiorix/go-diameter/v4/diam"
	"github.com/fiorix/go-diameter/v4/diam/avp"
)

var errField = errors.New("a field with a length that is not of its type")

// reply is what an answer says that matters here.
type reply struct {
	session            string // "": none, as in an error answer of an agent
	code               uint32 // Result-Code, or Experimental-Result-Code; 0: neither
	vendor             uint32 // of an Experimental-Result
	service            uint32 // the first Result-Code within MSCC that is no success; else one that is
	granted            uint64 // CC-Service-Specific-Units
	hasGranted         bool
	kind, number       uint32 // CC-Request-Type, CC-Request-Number
	hasKind, hasNumber bool
	handling           FailureHandling // "": not said
	debit              DebitFailure
	moves              bool // CC-Session-Failover: the session may go to the other peer
}

// decides returns the code that decides: a failure of the whole request, or what
// is said of the one service that was asked for. Servers with several services
// in mind say 2001 outside and 4012 within (RFC 8506, 8.16).
func (r *reply) decides() uint32 {
	if succeeded(r.code) && r.vendor == 0 && r.service != 0 {
		return r.service
	}
	return r.code
}

// readReply reads the answer to a CCR.
func readReply(f frame) (*reply, error) {
	r := &reply{}
	for a, err := range f.avps().all() {
		if err == nil {
			err = r.take(a)
		}
		if err != nil {
			return nil, err
		}
	}
	return r, nil
}

func (r *reply) take(a item) (err error) {
	if a.vendor != 0 {
		return nil
	}
	switch a.code {
	case avp.SessionID:
		r.session = string(a.data)
	case avp.ResultCode:
		r.vendor, err = 0, set(&r.code, a)
	case avp.ExperimentalResult:
		if r.code == 0 {
			err = r.takeExperimental(a)
		}
	case avp.CCRequestType:
		r.hasKind, err = true, set(&r.kind, a)
	case avp.CCRequestNumber:
		r.hasNumber, err = true, set(&r.number, a)
	case avp.CCSessionFailover:
		var v uint32
		err = set(&v, a)
		r.moves = v == 1
	case avp.CreditControlFailureHandling:
		var v uint32
		err = set(&v, a)
		r.handling = map[uint32]FailureHandling{0: Terminate, 1: Continue, 2: RetryAndTerminate}[v]
	case avp.DirectDebitingFailureHandling:
		var v uint32
		err = set(&v, a)
		r.debit = map[uint32]DebitFailure{0: TerminateOrBuffer, 1: DebitContinue}[v]
	case avp.GrantedServiceUnit:
		err = r.takeGranted(a)
	case avp.MultipleServicesCreditControl:
		err = r.takeService(a)
	}
	return err
}

func set(v *uint32, a item) error {
	n, ok := a.u32()
	if !ok {
		return errField
	}
	*v = n
	return nil
}

func (r *reply) takeExperimental(group item) error {
	var vendor, code uint32
	for a, err := range avps(group.data).all() {
		switch {
		case err != nil:
		case a.is(avp.VendorID):
			err = set(&vendor, a)
		case a.is(avp.ExperimentalResultCode):
			err = set(&code, a)
		}
		if err != nil {
			return err
		}
	}
	if vendor == 0 || code == 0 {
		return errField
	}
	r.vendor, r.code = vendor, code
	return nil
}

func (r *reply) takeGranted(group item) error {
	for a, err := range avps(group.data).all() {
		if err == nil && a.is(avp.CCServiceSpecificUnits) {
			n, ok := a.u64()
			if !ok {
				return errField
			}
			r.granted, r.hasGranted = n, true
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *reply) takeService(group item) error {
	for a, err := range avps(group.data).all() {
		switch {
		case err != nil:
		case a.is(avp.ResultCode):
			var code uint32
			err = set(&code, a)
			if r.service == 0 || succeeded(r.service) {
				r.service = code
			}
		case a.is(avp.GrantedServiceUnit):
			err = r.takeGranted(a)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// capabilities is what a CEA says.
type capabilities struct {
	code   uint32
	host   string // Origin-Host
	common bool   // credit control is among its applications, or it relays
}

func readCapabilities(f frame) (c capabilities, err error) {
	for a, err := range f.avps().all() {
		switch {
		case err != nil:
		case a.is(avp.ResultCode):
			err = set(&c.code, a)
		case a.is(avp.OriginHost):
			c.host = string(a.data)
		case a.is(avp.AuthApplicationID):
			err = c.application(a)
		case a.is(avp.VendorSpecificApplicationID):
			err = c.vendorSpecific(a)
		}
		if err != nil {
			return capabilities{}, err
		}
	}
	return c, nil
}

func (c *capabilities) vendorSpecific(group item) error {
	for a, err := range avps(group.data).all() {
		if err == nil && a.is(avp.AuthApplicationID) {
			err = c.application(a)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *capabilities) application(a item) error {
	var id uint32
	err := set(&id, a)
	c.common = c.common || id == diam.CHARGING_CONTROL_APP_ID || id == relay
	return err
}

// relay is the application of agents that route everything (RFC 6733, 2.4).
const relay = 0xFFFFFFFF
