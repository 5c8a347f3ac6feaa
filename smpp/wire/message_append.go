package wire

import "slices"

// Encode returns the PDU in memory of its own, as Append does.
func (m Message) Encode() ([]byte, error) {
	return m.Append(make([]byte, 0, min(m.length(), MaxLen)))
}

// Append appends the PDU to b with sequence number 0; SetSequence gives it one.
// Nothing is allocated where b has the room. The error is ErrField, and b as it
// was.
func (m Message) Append(b []byte) ([]byte, error) {
	if err := m.check(); err != nil {
		return b, err
	}
	length := m.length()
	if length > MaxLen {
		return b, misfit("command_length")
	}
	b = appendHeader(slices.Grow(b, length), length, m.Command, StatusOK, 0)
	b = append(append(b, m.ServiceType...), 0)
	b = m.Source.append(b)
	b = m.Dest.append(b)
	b = append(b, m.ESMClass, 0 /* protocol_id */, m.PriorityFlag, 0 /* schedule_delivery_time */)
	b = append(append(b, m.ValidityPeriod...), 0)
	b = append(b, m.RegisteredDelivery, 0 /* replace_if_present_flag */, m.DataCoding, 0 /* sm_default_msg_id */)
	b = append(append(b, byte(len(m.ShortMessage))), m.ShortMessage...)
	return appendTLVs(b, m.TLV), nil
}

func (a Address) append(b []byte) []byte {
	b = append(b, a.TON, a.NPI)
	return append(append(b, a.Addr...), 0)
}

// fixedLen counts the header, the octets of one-octet fields and the NULs.
const fixedLen = HeaderLen + 12 + 5

func (m Message) length() int {
	n := fixedLen + len(m.ServiceType) + len(m.Source.Addr) + len(m.Dest.Addr) + len(m.ValidityPeriod) + len(m.ShortMessage)
	for _, t := range m.TLV {
		n += tlvHeader + len(t.Value)
	}
	return n
}

func (m Message) check() error {
	if m.Command != SubmitSM && m.Command != DeliverSM {
		return misfit("command_id")
	}
	if err := checkText("service_type", m.ServiceType, MaxServiceType); err != nil {
		return err
	}
	if err := checkText("source_addr", m.Source.Addr, MaxAddress); err != nil {
		return err
	}
	if err := checkText("destination_addr", m.Dest.Addr, MaxAddress); err != nil {
		return err
	}
	switch {
	case m.PriorityFlag > 3:
		return misfit("priority_flag")
	case m.ValidityPeriod != "" && !isTime(m.ValidityPeriod):
		return misfit("validity_period")
	case len(m.ShortMessage) > MaxShortMessage:
		return misfit("short_message")
	}
	return m.checkTLVs()
}
