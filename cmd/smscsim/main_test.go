package main

import (
	"bytes"
	"context"
	"strings"
	"testing"
)

func TestHelpAndWrongCommandLines(t *testing.T) {
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"--help"}, 0, "SMSCSIM_PASSWORD"},
		{[]string{"--help"}, 0, "POST /faults"},
		{[]string{"--help"}, 0, `'{"kind":"throttle","rate":500,"burst":50}'`},
		{[]string{"--nonsense"}, 2, "not defined"},
		{[]string{"--charset", "ebcdic"}, 2, "gsm7, latin1, ascii"},
		{[]string{"--fault", `{"kind":"delay","delay":"soon"}`}, 2, "want a time like 500ms"},
		{[]string{"--fault", `{"kind":"delay"}`, "--listen", "127.0.0.1:0", "--control", ""}, 1, "delay: missing"},
		{[]string{"extra"}, 2, "unexpected argument"},
		{[]string{"--listen", "127.0.0.1:99999"}, 1, "listen"},
	} {
		var out, errOut bytes.Buffer
		code := run(t.Context(), c.args, "", &out, &errOut)
		said, silent := &errOut, &out
		if c.code == 0 { // help that was asked for is the answer, not an error
			said, silent = &out, &errOut
		}
		if code != c.code || !strings.Contains(said.String(), c.says) || silent.Len() > 0 {
			t.Errorf("%v: exit %d, said %q and where nothing belongs %q", c.args, code, said, silent)
		}
	}
}

func TestStartsSaysWhereAndStops(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out, errOut bytes.Buffer
	args := []string{"--listen", "127.0.0.1:0", "--control", "127.0.0.1:0", "--quiet"}
	if code := run(ctx, args, "", &out, &errOut); code != 0 || errOut.Len() > 0 {
		t.Fatalf("exit %d: %s", code, &errOut)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 2 || !strings.Contains(lines[0], "smpp 127.0.0.1:") || !strings.Contains(lines[0], "control http://127.0.0.1:") ||
		!strings.Contains(lines[1], "stopped after 0 submit_sm") {
		t.Errorf("said %q", lines)
	}
}
