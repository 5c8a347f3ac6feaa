package mobileid

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

func TestEventsPrintWithoutTheirValue(t *testing.T) {
	e := Event{ID: "k1", Type: TypeChallengeCommand, Value: []byte(`{"pinfl":"31210632040244"}`)}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "event", e)
	for _, out := range []string{fmt.Sprintf("%v %+v %#v %s %q", e, e, e, e, e), log.String()} {
		if strings.Contains(out, "31210632040244") || strings.Contains(out, "pinfl") || !strings.Contains(out, "k1") {
			t.Errorf("an event prints as %s", out)
		}
	}
}

func TestASafeCauseIsLoggedAndNoOther(t *testing.T) {
	logged := func(cause error) string {
		var log bytes.Buffer
		slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "err", Unavailable("database_away", time.Second, cause))
		return log.String()
	}
	refused := &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}
	for _, cause := range []error{refused, fmt.Errorf("ping: %w", refused), Safe(errors.New("connection refused"))} {
		if out := logged(cause); !strings.Contains(out, "connection refused") {
			t.Errorf("%T: the log says %s", cause, out)
		}
	}
	if out := logged(errors.New("duplicate key (pinfl)=(31210632040244)")); strings.Contains(out, "31210632040244") {
		t.Errorf("a cause of unknown making is logged: %s", out)
	}
	if out := logged(&os.PathError{Path: "31210632040244", Err: errors.New("x")}); !strings.Contains(out, "*fs.PathError") {
		t.Errorf("the log does not tell the cause's type: %s", out)
	}
	ours := Invalid("pinfl", "pinfl_length", "too short")
	if Ours(fmt.Errorf("wrapped: %w", ours)) != ours {
		t.Error("an error of ours is not found in its wrapping")
	}
	if foreign := errors.New("31210632040244"); KindOf(Ours(foreign)) != KindInternal || !errors.Is(Ours(foreign), foreign) ||
		strings.Contains(fmt.Sprint(Ours(foreign), Ours(foreign).LogValue()), "31210632040244") {
		t.Errorf("a foreign error prints as %v", Ours(foreign).LogValue())
	}
	if KindOf(nil) != "" || CodeOf(nil) != "" {
		t.Errorf("nil is of kind %q code %q", KindOf(nil), CodeOf(nil))
	}
}

func TestEveryKindHasItsStatusAndSaysWhetherToRetry(t *testing.T) {
	type answer struct {
		status int
		retry  bool
	}
	for kind, want := range map[Kind]answer{
		KindInvalid: {400, false}, KindUnauthorized: {401, false}, KindForbidden: {403, false}, KindNotFound: {404, false},
		KindConflict: {409, false}, KindMismatch: {422, false}, KindTooLarge: {413, false}, KindLimited: {429, true},
		KindUnavailable: {503, true}, KindUnknown: {503, true}, KindInternal: {500, true}, "": {500, false},
	} {
		if got := (answer{kind.Status(), kind.Retryable()}); got != want {
			t.Errorf("%q: %v, want %v", kind, got, want)
		}
	}
}

func TestZeroKeysMakeNothing(t *testing.T) {
	for name, use := range map[string]func(){
		"id":        func() { IDKey{}.Make(KindMessage, "c", "k", time.Now()) },
		"check":     func() { IDKey{}.Check("c", ID{}) },
		"pseudonym": func() { PseudonymKey{}.Person(PINFL{}) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: a zero key worked", name)
				}
			}()
			use()
		}()
	}
}

func TestOnlyTheFormOfTheStandardIsATraceParent(t *testing.T) {
	good := "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	if got := TraceParentOf(WithTraceParent(t.Context(), good)); got != good {
		t.Errorf("%q came back as %q", good, got)
	}
	if got := TraceParent("01" + good[2:] + "-31210632040244"); got != good {
		t.Errorf("what a later version adds goes on: %q", got)
	}
	for _, bad := range []string{
		"", "31210632040244", good + "-x", strings.ToUpper(good), "ff" + good[2:],
		"00-" + strings.Repeat("0", 32) + good[35:], good[:36] + strings.Repeat("0", 16) + "-01",
	} {
		if got := TraceParentOf(WithTraceParent(t.Context(), bad)); got != "" {
			t.Errorf("%q was taken", bad)
		}
	}
}
