package demo

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	cdpbrowser "github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// screenshotVariable names a file that the screenshot of the README is written
// to: MOBILEID_SCREENSHOT=docs/demo.png make test RUN=TestAPersonSignsIn
const screenshotVariable = "MOBILEID_SCREENSHOT"

func TestAPersonSignsInOnThePage(t *testing.T) {
	chrome := chromium(t)
	d := start(t, Options{})
	b := browse(t, chrome, d.url)
	b.do(
		chromedp.SetValue("#locale", "en", chromedp.ByQuery),
		chromedp.Click("#request", chromedp.ByQuery),
	)
	code := b.code("")
	// The receipt is in before the person has typed.
	b.do(
		reached("delivered"),
		chromedp.SendKeys("#code", code, chromedp.ByQuery),
		chromedp.Click("#verify", chromedp.ByQuery),
		chromedp.WaitReady("#result[data-state='confirmed']", chromedp.ByQuery),
		reached("confirmed"),
		chromedp.Poll(`document.querySelector("#confirmed").textContent === "1"`, nil),
	)
	b.picture()
	b.hops(code)

	// What is copied works as it stands, and the page sees what it did.
	b.curl("#curl-request", http.StatusAccepted, "accepted")
	code = b.code(code)
	b.do(
		chromedp.SetValue("#purpose", "permit_access", chromedp.ByQuery),
		chromedp.Click("#request", chromedp.ByQuery),
	)
	b.code(code)
	b.curl("#curl-state", http.StatusOK, "pending")
	b.curl("#curl-verify", http.StatusOK, "confirmed")
	b.do(chromedp.WaitReady("#result[data-state='confirmed']", chromedp.ByQuery))
	b.curl("#curl-notice", http.StatusAccepted, "accepted")
}

func TestWhatIsBrokenByAButtonIsMendedAndNothingIsLost(t *testing.T) {
	chrome := chromium(t)
	d := start(t, Options{})
	b := browse(t, chrome, d.url)
	untouched := func() {
		t.Helper()
		b.do(chromedp.Poll(`document.querySelector("#broken").textContent === ""`, nil, patient))
		for _, count := range []string{"#lost", "#doubled"} {
			var n string
			if b.do(chromedp.Text(count, &n, chromedp.ByQuery)); n != "0" {
				t.Errorf("%s: %s", count, n)
			}
		}
	}
	b.do(chromedp.SetValue("#locale", "en", chromedp.ByQuery))
	code := ""
	for _, broken := range []struct{ button, says string }{
		{"#throttle", "the operator throttles"}, {"#kill", "the bridge is down"},
	} {
		b.do(
			chromedp.Click(broken.button, chromedp.ByQuery),
			chromedp.Poll(`document.querySelector("#broken").textContent === "`+broken.says+`"`, nil, patient),
			chromedp.Click("#request", chromedp.ByQuery),
		)
		code = b.code(code)
		b.do(reached("delivered"))
		untouched()
	}
	b.do(chromedp.Poll(`document.querySelector("#delivered").textContent === "2"`, nil, patient))
	untouched()
}

// patient is longer than what is broken stays so.
var patient = chromedp.WithPollingTimeout(40 * time.Second)

// hops opens every hop and looks at its bytes: what must be in them, and what
// of the person may be.
func (b *browser) hops(code string) {
	b.t.Helper()
	pinfl, number := persons()[0].pinfl, strings.TrimPrefix(persons()[0].number, "+")
	var id string
	b.do(chromedp.Text("#subject", &id, chromedp.ByQuery))
	personal := map[string]string{"PINFL": pinfl, "number": number, "code": code}
	for key, want := range map[string]struct {
		bytes []string
		may   []string // of the person
	}{
		"accepted": {[]string{
			"POST /v1/challenges HTTP/1.1", "Idempotency-Key: ", `{"pinfl":"` + pinfl + `","purpose":"sign_in","locale":"en"}`,
			"HTTP/1.1 202", `"id": "` + id + `"`,
		}, []string{"PINFL"}},
		"record": {[]string{
			"mobileid.otp.requests.v1[", "]@", "key\t", "ce_id\t" + id, "ce_type\tmobileid.challenge.requested.v1", "ce_source\t/mobileid/gateway",
			"traceparent\t00-", `"purpose": "sign_in"`,
		}, nil},
		"issued": {[]string{
			"Message row", `"operator": "beeline"`, `"lane": "otp"`, `"dest": "`, `"person": "`, `"sealed": `, `"source_offset": `,
			"Challenge row (the code itself is nowhere)", `"purpose": "sign_in"`,
		}, nil},
		"lane":     {[]string{"mobileid.sms.beeline.otp.v1[", "]@", "ce_id\t"}, nil},
		"admitted": {[]string{"Charge row", `"amount": 12000`}, nil},
		"submit": {[]string{
			"command_id\tsubmit_sm", "destination_addr\t" + number, "source_addr\tMobileID", "registered_delivery\t1",
			"short_message\t" + code + " is your sign-in code.", "0000  00 00 00 ",
		}, []string{"number", "code"}},
		"resp":      {[]string{"message_id\t", "0000  00 00 00 "}, nil},
		"posted":    {[]string{`"state": "posted"`, `"amount": 12000`, `"granted": 1000000`, `"posted": 12000`, `"pending": 0`}, nil},
		"receipt":   {[]string{"short_message\tid:", "dlvrd:001", "stat:DELIVRD", "err:000", "deliver_sm_resp"}, []string{"number", "code"}},
		"delivered": {[]string{`"state": "delivered"`}, nil},
		"verify":    {[]string{"POST /v1/challenges/" + id + "/verify", `{"code":"` + code + `"}`, "HTTP/1.1 200", `"state": "confirmed"`}, []string{"code"}},
		"confirmed": {[]string{"Confirmation row", `"confirmed_at": "`}, nil},
	} {
		bytes := b.open(key)
		for _, part := range want.bytes {
			if !strings.Contains(bytes, part) {
				b.t.Errorf("the hop %q opens without %q:\n%s", key, part, bytes)
			}
		}
		for what, value := range personal {
			if strings.Contains(bytes, value) && !slices.Contains(want.may, what) {
				b.t.Errorf("the hop %q shows the %s:\n%s", key, what, bytes)
			}
		}
	}
}

// browser is a person at the page.
type browser struct {
	t   *testing.T
	ctx context.Context // chromedp keeps its tab in it
}

func browse(t *testing.T, chrome, url string) *browser {
	t.Helper()
	opts := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(chrome), chromedp.NoSandbox, chromedp.WindowSize(1400, 1080),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("hide-scrollbars", true))
	alloc, stop := chromedp.NewExecAllocator(t.Context(), opts...)
	t.Cleanup(stop)
	ctx, cancel := chromedp.NewContext(alloc)
	t.Cleanup(cancel)
	ctx, limit := context.WithTimeout(ctx, 2*time.Minute)
	t.Cleanup(limit)
	b := &browser{t, ctx}
	b.do(
		chromedp.ActionFunc(func(ctx context.Context) error {
			may := []cdpbrowser.PermissionType{cdpbrowser.PermissionTypeClipboardReadWrite, cdpbrowser.PermissionTypeClipboardSanitizedWrite}
			return cdpbrowser.GrantPermissions(may).WithOrigin(url).Do(cdp.WithExecutor(ctx, chromedp.FromContext(ctx).Browser))
		}),
		chromedp.Navigate(url),
		chromedp.WaitEnabled("#request", chromedp.ByQuery),
	)
	return b
}

func (b *browser) do(actions ...chromedp.Action) {
	b.t.Helper()
	if err := chromedp.Run(b.ctx, actions...); err != nil {
		b.t.Fatal(err)
	}
}

func reached(hop string) chromedp.Action {
	return chromedp.WaitReady("#hops > li[data-hop='"+hop+"'][data-reached='true']", chromedp.ByQuery)
}

// code reads the newest code on the handset, another one than before.
func (b *browser) code(before string) string {
	b.t.Helper()
	var code string
	b.do(chromedp.WaitReady("#sms[data-code]:not([data-code=''],[data-code='"+before+"'])", chromedp.ByQuery),
		chromedp.AttributeValue("#sms", "data-code", &code, nil, chromedp.ByQuery))
	if len(code) != 6 {
		b.t.Fatalf("the code on the handset is %q", code)
	}
	return code
}

// open clicks a hop and reads what it opens to.
func (b *browser) open(hop string) string {
	b.t.Helper()
	at := "#hops > li[data-hop='" + hop + "'] "
	var bytes string
	b.do(chromedp.Click(at+"summary", chromedp.ByQuery), chromedp.WaitVisible(at+".bytes", chromedp.ByQuery),
		chromedp.Text(at+".bytes", &bytes, chromedp.ByQuery), chromedp.Click(at+"summary", chromedp.ByQuery))
	return bytes
}

// curl presses a button that copies a command, and runs what was copied.
func (b *browser) curl(button string, status int, state string) {
	b.t.Helper()
	var command string
	b.do(
		chromedp.Evaluate(`navigator.clipboard.writeText("")`, nil, awaited),
		chromedp.Click(button, chromedp.ByQuery),
		chromedp.PollFunction(`() => navigator.clipboard.readText()`, &command),
	)
	raw, err := exec.CommandContext(b.t.Context(), "bash", "-c", command+` -w '\n%{http_code}'`).CombinedOutput()
	answer := string(raw)
	if err != nil || !strings.HasSuffix(answer, fmt.Sprintf("\n%d", status)) || !strings.Contains(answer, `"state":"`+state+`"`) {
		b.t.Errorf("%s: want %d and the state %q: %v\n%s", button, status, state, err, answer)
	}
}

func awaited(p *runtime.EvaluateParams) *runtime.EvaluateParams { return p.WithAwaitPromise(true) }

// picture leaves the screenshot of the README where it is asked for.
func (b *browser) picture() {
	b.t.Helper()
	file := os.Getenv(screenshotVariable)
	if file == "" {
		return
	}
	if !filepath.IsAbs(file) {
		file = filepath.Join("..", "..", "..", file)
	}
	var png []byte
	b.do(chromedp.FullScreenshot(&png, 100))
	if err := os.WriteFile(file, png, 0o644); err != nil {
		b.t.Fatal(err)
	}
}

// noTools is the environment variable that lets kcat and Chromium be absent;
// TOOLS=0 make test sets it.
const noTools = "MOBILEID_TEST_NO_TOOLS"

// chromium finds the browser.
func chromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv(noTools) == "" {
		t.Fatal("no Chromium: install it (Debian: apt-get install chromium), or set " + noTools + "=1")
	}
	t.Skip("!!! no Chromium and " + noTools + " is set: the page is NOT tested in a browser")
	return ""
}
