package mobileid

import (
	"slices"
	"testing"
)

// closed checks a drawn state machine: arrows lead to listed states, every
// state is reached from the first, and every one can still end.
func closed[S ~string](t *testing.T, first S, next map[S][]S, terminal func(S) bool, wantTerminal []S) {
	t.Helper()
	var ends []S
	for from, arrows := range next {
		if terminal(from) {
			ends = append(ends, from)
			if len(arrows) > 0 {
				t.Errorf("%s is terminal and leads to %v", from, arrows)
			}
		}
		for i, to := range arrows {
			if _, listed := next[to]; !listed {
				t.Errorf("%s leads to %q, which is not listed", from, to)
			}
			if to == from || slices.Contains(arrows[:i], to) {
				t.Errorf("%s leads to %s twice or to itself", from, to)
			}
		}
	}
	slices.Sort(ends)
	slices.Sort(wantTerminal)
	if !slices.Equal(ends, wantTerminal) {
		t.Errorf("terminal are %v, want %v", ends, wantTerminal)
	}
	reach := func(from S) map[S]bool {
		seen := map[S]bool{from: true}
		for todo := []S{from}; len(todo) > 0; todo = todo[1:] {
			for _, to := range next[todo[0]] {
				if !seen[to] {
					seen[to] = true
					todo = append(todo, to)
				}
			}
		}
		return seen
	}
	for s := range next {
		if !reach(first)[s] {
			t.Errorf("nothing leads to %s", s)
		}
		if !slices.ContainsFunc(wantTerminal, func(end S) bool { return reach(s)[end] }) {
			t.Errorf("%s cannot end", s)
		}
	}
}

func TestMessageStatesAreClosed(t *testing.T) {
	closed(t, MessageQueued, messageNext, MessageState.Terminal, []MessageState{
		MessageDelivered, MessageUndeliverable, MessageExpired, MessageRejected, MessageNoFunds, MessageFenced,
		MessageCancelled, MessageFailed, MessageUnconfirmed,
	})
	if !slices.IsSorted(MessageStates()) || MessageState("sending").Valid() {
		t.Errorf("listed %v", MessageStates())
	}
}

func TestChallengeStatesAreClosed(t *testing.T) {
	closed(t, ChallengeAccepted, challengeNext, ChallengeState.Terminal, []ChallengeState{
		ChallengeConfirmed, ChallengeExpired, ChallengeExhausted, ChallengeLost, ChallengeSuperseded,
		ChallengeConflict, ChallengeUnbound, ChallengeNoFunds, ChallengeFenced, ChallengeUndeliverable, ChallengeFailed,
		ChallengeCancelled, ChallengeLimited, ChallengeStepUp,
	})
	if len(ChallengeStates()) != len(challengeNext) || !slices.IsSorted(ChallengeStates()) {
		t.Errorf("listed %v", ChallengeStates())
	}
	if !ChallengePending.CanBecome(ChallengeConfirmed) || ChallengeAccepted.CanBecome(ChallengeConfirmed) {
		t.Error("only a pending challenge can be confirmed")
	}
}

func TestStatesOutsideTheListAreNothing(t *testing.T) {
	for _, s := range []string{"", "Sent", "sent ", "done"} {
		if m := MessageState(s); m.Valid() || m.Terminal() || m.CanBecome(MessageSent) || MessageQueued.CanBecome(m) {
			t.Errorf("%q is taken for a message state", s)
		}
		if c := ChallengeState(s); c.Valid() || c.Terminal() || c.CanBecome(ChallengeExpired) || ChallengePending.CanBecome(c) {
			t.Errorf("%q is taken for a challenge state", s)
		}
	}
}
