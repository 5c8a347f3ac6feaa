package smsc

import (
	"crypto/subtle"
	"time"

	"github.com/fiorix/go-smpp/smpp/pdu/pdufield"

	"mobileid/smpp/wire"
)

func (x *session) bind(f wire.Frame) bool {
	refuse := func(status wire.Status) bool {
		x.server.cfg.Log.Info("bind refused", "session", x.number, "status", status.String())
		x.sendLast(wire.AppendHeader(nil, f.Command.Response(), status, f.Sequence))
		return true
	}
	if _, ignore := x.server.use(FaultIgnoreBind, ""); ignore {
		return false
	}
	if fault, ok := x.server.use(FaultRefuseBind, ""); ok {
		return refuse(wire.Status(fault.Status))
	}
	fields, err := wire.Decode(f)
	if err != nil {
		return refuse(wire.StatusBindFailed)
	}
	account := fields.Text(pdufield.SystemID)
	password, known := x.server.cfg.Accounts[account]
	if !known {
		return refuse(wire.StatusBadSystemID)
	}
	if subtle.ConstantTimeCompare([]byte(password), []byte(fields.Text(pdufield.Password))) != 1 {
		return refuse(wire.StatusBadPassword)
	}
	if x.bound() {
		x.send(wire.AppendHeader(nil, f.Command.Response(), wire.StatusAlreadyBound, f.Sequence))
		return false
	}
	if status := x.admit(account, f.Command); status != wire.StatusOK {
		return refuse(status)
	}
	x.send(wire.AppendBindAnswer(nil, f.Command, f.Sequence, x.server.cfg.SystemID))
	x.server.cfg.Log.Info("bound", "account", account, "session", x.number, "as", f.Command.String())
	x.server.events.publish(Event{At: time.Now(), Kind: EventBind, Account: account})
	if f.Command != wire.BindTransmitter {
		x.server.deliverWaiting(account)
	}
	return false
}

// admit makes a connection a bind of its account, unless the account has as
// many as it may.
func (x *session) admit(account string, as wire.Command) wire.Status {
	srv := x.server
	srv.binding.Lock() // two binds at once are counted one after the other
	defer srv.binding.Unlock()
	if limit, ok := srv.inForce(FaultMaxBinds); ok && srv.bindsOf(account) >= limit.N {
		return wire.Status(limit.Status)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.account = account
	x.receives = as != wire.BindTransmitter
	x.sends = as != wire.BindReceiver
	return wire.StatusOK
}

func (s *Server) bindsOf(account string) int {
	n := 0
	for _, x := range s.open() {
		x.mu.Lock()
		if x.account == account && !x.ended {
			n++
		}
		x.mu.Unlock()
	}
	return n
}
