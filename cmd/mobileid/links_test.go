package main

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"mobileid/cmd/mobileid/app"
	"mobileid/cmd/mobileid/app/apptest"
	"mobileid/cmd/mobileid/config"
	"mobileid/cmd/mobileid/config/sandbox"
	"mobileid/cmd/smscsim/smsc"
	"mobileid/smpp"
)

// linksOf reads `mobileid links --json`.
func linksOf(t *testing.T, file string) []app.ProcessLink {
	t.Helper()
	var links []app.ProcessLink
	if err := json.Unmarshal([]byte(succeeds(t, "links", "--json", "--config", file)), &links); err != nil {
		t.Fatal(err)
	}
	return links
}

// TestALinkIsShownDrainedStoppedAndStartedByCommand goes through the life of a
// link with the commands alone.
func TestALinkIsShownDrainedStoppedAndStartedByCommand(t *testing.T) {
	s := apptest.Start(t, apptest.Options{Roles: []string{app.RoleBridge}})
	const link = sandbox.Operator + "/a"
	s.Until("the link is up", func() bool { return linksOf(t, s.ConfigFile)[0].State == smpp.LinkUp })
	l := linksOf(t, s.ConfigFile)[0]
	if l.Process != s.Config.HTTP.Admin || l.Operator != sandbox.Operator || l.Name != "a" || l.Window != 10 || l.Host != s.SMSC.Addr() {
		t.Errorf("shown as %+v", l)
	}
	shown := strings.Split(succeeds(t, "links", "--config", s.ConfigFile), "\n")
	if !strings.HasPrefix(shown[0], "LINK ") || !strings.HasPrefix(shown[1], link+" ") || !strings.Contains(shown[1], " up ") {
		t.Errorf("printed as\n%s", strings.Join(shown, "\n"))
	}
	for _, order := range []string{"drain", "start", "stop"} {
		if out := succeeds(t, "links", order, link, "--config", s.ConfigFile); out != link+": "+order+"\n" {
			t.Errorf("%s: %q", order, out)
		}
		want, bound := smpp.LinkStopped, 0
		if order == "start" {
			want, bound = smpp.LinkUp, 1
		}
		if l := linksOf(t, s.ConfigFile)[0]; l.State != want || s.SMSC.Bound() != bound {
			t.Errorf("after %s it is %s, with %d binds at the operator", order, l.State, s.SMSC.Bound())
		}
	}
	// Wrong credentials are told at once, not after --wait.
	if err := s.SMSC.SetFault(smsc.Fault{Kind: smsc.FaultRefuseBind}); err != nil {
		t.Fatal(err)
	}
	if reason := fails(t, "links", "start", link, "--wait", "1h", "--config", s.ConfigFile); !strings.Contains(reason, "refused") || !strings.Contains(reason, "0x0e") {
		t.Errorf("with wrong credentials: %s", reason)
	}
	s.SMSC.Reset()
	succeeds(t, "links", "start", link, "--config", s.ConfigFile) // does not wait for the next try
	for args, want := range map[string]string{
		"start " + sandbox.Operator + "/z":  "no link of that name",
		"stop ucell/a":                      "no bridge to that operator",
		"stop " + link + " --admin 0.0.0.0": "http.admin",
	} {
		if reason := fails(t, append([]string{"links", "--config", s.ConfigFile}, strings.Fields(args)...)...); !strings.Contains(reason, want) {
			t.Errorf("links %s: no %q in %s", args, want, reason)
		}
	}
}

// What is printed of a link that flapped says when and why.
func TestTheLastErrorOfALinkIsPrintedWithItsAge(t *testing.T) {
	now := time.Unix(1000, 0)
	flapped := smpp.LinkView{State: smpp.LinkUp, Since: now.Add(-170 * time.Second), FailedAt: now.Add(-3 * time.Minute), Failure: "the operator closed the connection"}
	var out strings.Builder
	if err := printLinks(&out, []app.ProcessLink{{LinkView: flapped}, {}}, now); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(out.String(), "\n")
	if !strings.HasSuffix(lines[1], "  3m0s ago: the operator closed the connection") || !strings.HasSuffix(lines[2], "  -") {
		t.Errorf("printed as\n%s", out.String())
	}
}

// The kill switch is in the file; an order does not override it, and a process
// whose operator is switched off is ready.
func TestALinkOfADisabledOperatorIsNotStarted(t *testing.T) {
	s := apptest.Start(t, apptest.Options{
		Roles: []string{app.RoleBridge}, Change: func(c *config.Config) { c.Operators[0].Enabled = false },
	})
	s.Until("the link is stopped", func() bool { return linksOf(t, s.ConfigFile)[0].State == smpp.LinkStopped })
	reason := fails(t, "links", "start", sandbox.Operator+"/a", "--config", s.ConfigFile)
	if !strings.Contains(reason, "set enabled: true in its file") || !strings.Contains(reason, "409") {
		t.Errorf("start: %s", reason)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.Config.HTTP.Admin+"/readyz", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	if text, _ := io.ReadAll(res.Body); res.StatusCode != http.StatusOK || string(text) != "ready\n" {
		t.Errorf("%d %s", res.StatusCode, text)
	}
}

// An old refusal is no answer to a new order, and an order is done when the
// link is there, not when it was given.
func TestAnOrderWaitsForTheLink(t *testing.T) {
	before := time.Unix(1000, 0)
	for _, c := range []struct {
		order        string
		state        smpp.LinkState
		since        time.Time
		there, never bool
	}{
		{"start", smpp.LinkUp, before, true, false},
		{"start", smpp.LinkBinding, before.Add(1), false, false},
		{"start", smpp.LinkDown, before.Add(1), false, false},
		{"start", smpp.LinkRefused, before, false, false},
		{"start", smpp.LinkRefused, before.Add(1), false, true},
		{"drain", smpp.LinkUp, before, false, false},
		{"drain", smpp.LinkDraining, before.Add(1), false, false},
		{"drain", smpp.LinkStopped, before.Add(1), true, false},
		{"stop", smpp.LinkUp, before, false, false},
		{"stop", smpp.LinkStopped, before, true, false},
	} {
		there, never := reached(c.order, smpp.LinkView{State: c.state, Since: c.since}, before)
		if there != c.there || never != c.never {
			t.Errorf("%+v: %v, %v", c, there, never)
		}
	}
}

// An order must be meant: not what a page in somebody's browser can send.
func TestALinkTakesNoOrderFromAPage(t *testing.T) {
	s := apptest.Start(t, apptest.Options{Roles: []string{app.RoleBridge}})
	s.Until("the link is up", func() bool { return linksOf(t, s.ConfigFile)[0].State == smpp.LinkUp })
	order := func(headers map[string]string, path string) (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+s.Config.HTTP.Admin+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		for k, v := range headers {
			req.Header.Set(k, v)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = res.Body.Close() }()
		text, _ := io.ReadAll(res.Body)
		return res.StatusCode, string(text)
	}
	const stop = "/links/" + sandbox.Operator + "/a:stop"
	const isJSON = "application/json"
	for name, c := range map[string]struct {
		headers map[string]string
		path    string
		want    int
	}{
		"a form":         {map[string]string{"Content-Type": "application/x-www-form-urlencoded"}, stop, http.StatusUnsupportedMediaType},
		"no type":        {nil, stop, http.StatusUnsupportedMediaType},
		"another origin": {map[string]string{"Content-Type": isJSON, "Origin": "http://example.org"}, stop, http.StatusForbidden},
		"its own origin": {map[string]string{"Content-Type": isJSON, "Sec-Fetch-Site": "same-origin"}, stop, http.StatusForbidden},
		"no such order":  {map[string]string{"Content-Type": isJSON}, "/links/" + sandbox.Operator + "/a:fly", http.StatusNotFound},
		"no order":       {map[string]string{"Content-Type": isJSON}, "/links/" + sandbox.Operator + "/stop", http.StatusNotFound},
	} {
		if status, text := order(c.headers, c.path); status != c.want {
			t.Errorf("%s: %d %s", name, status, text)
		}
	}
	if s.SMSC.Bound() != 1 {
		t.Error("the link was unbound")
	}
}

func TestTheTableOfStatusesIsPrintedWithTheOperatorsRowsOverIt(t *testing.T) {
	dir := t.TempDir()
	if err := sandbox.WriteSecrets(dir); err != nil {
		t.Fatal(err)
	}
	file, err := sandbox.WriteConfig(dir, sandbox.Addresses{
		Listen: "127.0.0.1:1", Admin: "127.0.0.1:2", DSN: "postgres://127.0.0.1:3/x", Redis: "127.0.0.1:4",
		Kafka: []string{"127.0.0.1:5"}, SMSC: "127.0.0.1:6", Issuer: "http://127.0.0.1:7",
	})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "operator.yaml")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	text = append(text, "statuses: [{status: 0x400, class: balance, name: no credit}, {status: 0x08, class: retry, after: 5s, tries: 3}]\n"...)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	printed := map[string]string{}
	for line := range strings.Lines(succeeds(t, "links", "statuses", sandbox.Operator, "--config", file)) {
		fields := strings.Fields(line)
		printed[fields[0]] = strings.Join(fields[1:], " ")
	}
	for status, want := range map[string]string{
		"STATUS": "NAME CLASS AFTER TRIES FROM",
		"0x58":   "RTHROTTLED pace - - common",
		"0x08":   "RSYSERR retry 5s 3 " + sandbox.Operator,
		"0x400":  "no credit balance - - " + sandbox.Operator,
	} {
		if printed[status] != want {
			t.Errorf("%s: %q, want %q", status, printed[status], want)
		}
	}
	code, _, errOut := output(t, "links", "statuses", "nobody", "--config", file)
	if code != exitUsage || !strings.Contains(errOut, sandbox.Operator) {
		t.Errorf("an operator that there is not: exit %d: %s", code, errOut)
	}
}
