package page

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"mobileid/internal/mobileid"
)

// The columns that the timeline reads out of the rows; the names are those of
// registry/migrations. A column this page does not know is still shown: the
// row is printed whole.

type challengeRow struct {
	State     mobileid.ChallengeState `json:"state"`
	Reason    string                  `json:"reason"`
	IssuedAt  time.Time               `json:"issued_at"`
	ExpiresAt time.Time               `json:"expires_at"`
	EndedAt   time.Time               `json:"ended_at"`
	MessageID byteaID                 `json:"message_id"`
	sourceRow
}

type messageRow struct {
	ID            byteaID               `json:"id"`
	State         mobileid.MessageState `json:"state"`
	Reason        string                `json:"reason"`
	Lane          mobileid.Lane         `json:"lane"`
	Operator      string                `json:"operator"`
	Parts         int                   `json:"parts"`
	Sealed        string                `json:"sealed"`
	QueuedAt      time.Time             `json:"queued_at"`
	PublishedAt   time.Time             `json:"published_at"`
	AdmittedAt    time.Time             `json:"admitted_at"`
	SubmittedAt   time.Time             `json:"submitted_at"`
	EndedAt       time.Time             `json:"ended_at"`
	LanePartition int                   `json:"lane_partition"`
	LaneOffset    int64                 `json:"lane_offset"`
	sourceRow
}

type sourceRow struct {
	Topic     string `json:"source_topic"`
	Partition int    `json:"source_partition"`
	Offset    int64  `json:"source_offset"`
}

func (s sourceRow) ref() (mobileid.RecordRef, bool) {
	return mobileid.RecordRef{Topic: s.Topic, Partition: s.Partition, Offset: s.Offset},
		s.Topic != "" && s.Partition >= 0 && s.Offset >= 0
}

type transferRow struct {
	Kind  mobileid.ChargeState `json:"kind"`
	Why   string               `json:"why"`
	Held  mobileid.Money       `json:"held"`
	Taken mobileid.Money       `json:"taken"`
	At    time.Time            `json:"at"`
}

type confirmationRow struct {
	ConfirmedAt time.Time `json:"confirmed_at"`
}

type partRow struct {
	Part       int       `json:"part"`
	OperatorID string    `json:"operator_id"`
	Link       string    `json:"link"`
	Sequence   int64     `json:"sequence"`
	Status     uint32    `json:"status"`
	AnsweredAt time.Time `json:"answered_at"`
}

type receiptRow struct {
	Stat       string    `json:"stat"`
	Err        string    `json:"err"`
	ReceivedAt time.Time `json:"received_at"`
}

// byteaID is an id column as row_to_json prints it: "\x" and hex.
type byteaID struct{ mobileid.ID }

func (b *byteaID) UnmarshalJSON(raw []byte) error {
	var text *string
	if err := json.Unmarshal(raw, &text); err != nil {
		return fmt.Errorf("id column: %w", err)
	}
	if text == nil {
		return nil
	}
	bytes, err := hex.DecodeString(strings.TrimPrefix(*text, `\x`))
	if err != nil || len(bytes) != len(b.ID) {
		return fmt.Errorf("id column: not %d bytes of hex", len(b.ID))
	}
	copy(b.ID[:], bytes)
	return nil
}

// facts are the rows of one request, read. A nil pointer is a row that is not
// there.
type facts struct {
	raw          Rows
	challenge    *challengeRow
	message      *messageRow
	transfers    []transferRow
	confirmation *confirmationRow
	parts        []partRow
	receipts     []receiptRow
}

func readRows(raw Rows) (facts, error) {
	f := facts{raw: raw}
	for _, t := range []struct {
		name string
		from json.RawMessage
		into any
	}{
		{"challenge", raw.Challenge, &f.challenge},
		{"message", raw.Message, &f.message},
		{"transfers", raw.Transfers, &f.transfers},
		{"confirmation", raw.Confirmation, &f.confirmation},
		{"parts", raw.Parts, &f.parts},
		{"receipts", raw.Receipts, &f.receipts},
	} {
		if len(t.from) == 0 {
			continue
		}
		if err := json.Unmarshal(t.from, t.into); err != nil {
			return facts{}, fmt.Errorf("%s row: %w", t.name, err)
		}
	}
	return f, nil
}

// operatorIDs are the names the operator gave to the parts.
func (f facts) operatorIDs() []string {
	var out []string
	for _, p := range f.parts {
		if p.OperatorID != "" {
			out = append(out, p.OperatorID)
		}
	}
	return out
}
