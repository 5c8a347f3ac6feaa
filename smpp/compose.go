package smpp

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"mobileid/internal/mobileid"
	"mobileid/smpp/profile"
	"mobileid/smpp/wire"
)

// The reasons a Message cannot be composed for. They are outcomes' reasons and
// say nothing of the content.
var (
	errUnsealable = errors.New(mobileid.ReasonUnsealable)
	errAlphabet   = errors.New(mobileid.ReasonUnencodable)
	errTooLong    = errors.New(mobileid.ReasonFieldTooLong)

	errTooManyParts = errors.New(mobileid.ReasonTooManyParts)
)

func reasonOf(err error) string {
	for _, known := range []error{errUnsealable, errAlphabet, errTooLong, errTooManyParts} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	return mobileid.ReasonCompose
}

// compose opens the sealed text and makes its submit_sm PDUs, one a part.
func (b *Bridge) compose(j *job, withReference bool) ([][]byte, error) {
	text, err := b.open(j)
	if err != nil {
		return nil, err
	}
	p := b.cfg.Profile
	p.Text.Reference = withReference
	id := j.admission.ID
	return submits(p, j.admission.TextID, text, reference(id), j.admission.Deadline, b.now())
}

// open opens the sealed number and text of a job.
func (b *Bridge) open(j *job) (text mobileid.SealedText, err error) {
	plain, err := b.opener.Open(j.admission.ID[:], j.admission.Sealed)
	if err != nil {
		return text, errUnsealable
	}
	if err := json.Unmarshal(plain, &text); err != nil {
		return text, errUnsealable // the error of json may quote the text
	}
	return text, nil
}

// numberOf opens the number of a job.
func (b *Bridge) numberOf(j *job) (mobileid.MSISDN, error) {
	text, err := b.open(j)
	if err != nil {
		return mobileid.MSISDN{}, err
	}
	return mobileid.ParseMSISDN(text.To)
}

// submits makes the submit_sm PDUs of a text as the operator wants them.
func submits(p profile.Profile, textID string, text mobileid.SealedText, ref uint16, deadline, now time.Time) ([][]byte, error) {
	enc, err := p.Text.Options().Encode(text.Text, ref)
	if err != nil {
		return nil, errAlphabet
	}
	sender := p.Sender(textID)
	m := wire.Message{
		Command:            wire.SubmitSM,
		ServiceType:        sender.ServiceType,
		Source:             wire.Address{TON: sender.TON, NPI: sender.NPI, Addr: sender.Addr},
		Dest:               wire.Address{TON: p.Dest.TON, NPI: p.Dest.NPI, Addr: text.To},
		ValidityPeriod:     validity(p.Validity, deadline, now),
		RegisteredDelivery: 1, // a receipt of the final state, always (SMPP 3.4, 5.2.17)
		DataCoding:         enc.DataCoding,
	}
	if len(enc.Parts) > mobileid.MaxParts {
		return nil, errTooManyParts
	}
	if p.Text.Reference { // some operators repeat it in the receipt: a second key to match by
		m.TLV = []wire.TLV{{Tag: wire.TagUserMessageReference, Value: binary.BigEndian.AppendUint16(nil, ref)}}
	}
	common := len(m.TLV)
	out := make([][]byte, 0, len(enc.Parts))
	for _, part := range enc.Parts {
		m.ShortMessage, m.ESMClass, m.TLV = part.ShortMessage, 0, m.TLV[:common]
		if part.UDHI {
			m.ESMClass = wire.ESMClassUDHI
		}
		for _, t := range part.TLV {
			m.TLV = append(m.TLV, wire.TLV(t))
		}
		raw, err := m.Encode()
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errTooLong, err)
		}
		out = append(out, raw)
	}
	return out, nil
}

// reference is a Message's 16-bit number on the wire. It comes from the keyed
// part of the id, so it is spread evenly.
func reference(id mobileid.ID) uint16 { return binary.BigEndian.Uint16(id[7:9]) }

// validity prints how long the operator may try.
func validity(v profile.Validity, deadline, now time.Time) string {
	left := v.Bound(deadline.Sub(now))
	switch v.Format {
	case profile.NoPeriod:
		return ""
	case profile.Absolute:
		return wire.AbsoluteTime(now.Add(left).In(time.FixedZone("", int(v.Offset/time.Second))))
	case profile.Relative:
	}
	return wire.RelativeTime(left)
}
