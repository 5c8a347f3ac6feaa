package smsc

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// debt is a receipt that is not acknowledged yet, as the state file keeps it.
// The text that a receipt quotes is not kept.
type debt struct {
	MessageID string    `json:"message_id"`
	Said      string    `json:"said,omitempty"` // the id as the receipt says it
	Form      string    `json:"form,omitempty"` // of the receipt
	Account   string    `json:"account,omitempty"`
	Dest      string    `json:"dest,omitempty"`
	Source    string    `json:"source,omitempty"`
	State     string    `json:"state,omitempty"`
	Due       time.Time `json:"due,omitzero"`
	Paid      bool      `json:"paid,omitempty"` // acknowledged: the line ends the debt of that id
}

// ledgerOfReceipts remembers owed receipts in a file, as an operator's store
// does, so that a simulator that was killed sends them after its next start.
// A line is written before the submit_sm is answered. nil remembers nothing.
type ledgerOfReceipts struct {
	mu   sync.Mutex
	file *os.File
}

// openReceipts reads what is owed from path and compacts the file; "" keeps
// nothing.
func openReceipts(path string) (*ledgerOfReceipts, []debt, error) {
	if path == "" {
		return nil, nil, nil
	}
	owed, err := readDebts(path)
	if err != nil {
		return nil, nil, fmt.Errorf("state file: %w", err)
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return nil, nil, fmt.Errorf("state file: %w", err)
	}
	l := &ledgerOfReceipts{file: f}
	for _, d := range owed {
		l.write(d)
	}
	// Every later line goes on into the renamed file.
	if err := os.Rename(f.Name(), path); err != nil {
		return nil, nil, errors.Join(fmt.Errorf("state file: %w", err), f.Close())
	}
	return l, owed, nil
}

func readDebts(path string) ([]debt, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	var order []string
	open := map[string]debt{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var d debt
		if json.Unmarshal(lines.Bytes(), &d) != nil {
			continue // the line that was being written when the process died
		}
		if d.Paid {
			delete(open, d.MessageID)
			continue
		}
		if _, known := open[d.MessageID]; !known {
			order = append(order, d.MessageID)
		}
		open[d.MessageID] = d
	}
	var owed []debt
	for _, id := range order {
		if d, ok := open[id]; ok {
			owed = append(owed, d)
		}
	}
	return owed, nil
}

func (l *ledgerOfReceipts) owe(d *delivery, due time.Time) {
	if l != nil {
		l.write(debt{
			MessageID: d.receipt.MessageID, Account: d.receipt.Account, Dest: d.receipt.Dest, State: d.receipt.State,
			Said: d.said, Form: d.form, Source: d.source, Due: due,
		})
	}
}

func (l *ledgerOfReceipts) paid(messageID string) {
	if l != nil {
		l.write(debt{MessageID: messageID, Paid: true})
	}
}

// write appends a line in one call, so that a kill leaves at most one cut line,
// the last.
func (l *ledgerOfReceipts) write(d debt) {
	line, err := json.Marshal(d)
	if err != nil {
		return // words and times always marshal
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	_, _ = l.file.Write(append(line, '\n')) // a full disk costs a simulated receipt
}

func (l *ledgerOfReceipts) close() error {
	if l == nil {
		return nil
	}
	return l.file.Close()
}
