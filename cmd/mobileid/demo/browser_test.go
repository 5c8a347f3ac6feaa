package demo

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	cdpbrowser "github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/jackc/pgx/v5"

	"mobileid/cmd/mobileid/config/sandbox"
	"mobileid/internal/mobileid"
)

// screenshotVariable names a file that the screenshot of the README is written
// to: MOBILEID_SCREENSHOT=docs/demo.png make test RUN=TestAPersonSignsIn
const screenshotVariable = "MOBILEID_SCREENSHOT"

// lookVariable names a folder that the other pictures go to, as in package page.
const lookVariable = "PAGE_LOOK"

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
	b.fits(1280)
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

// A person presses each of the buttons that break something and asks for codes
// meanwhile. The page says what is broken, and that it works again; every code
// arrives and is confirmed, none is lost, and none is doubled but what the
// operator left unanswered (P5).
func TestWhatIsBrokenByAButtonIsMendedAndNothingIsLost(t *testing.T) {
	chrome := chromium(t)
	d := start(t, Options{})
	b := browse(t, chrome, d.url)
	b.do(chromedp.SetValue("#locale", "en", chromedp.ByQuery))
	others := newCaller(t, d.url)
	code, doubled := "", 0
	for n, c := range []struct {
		button, says string
		doubles      int // at most, of the codes asked meanwhile
	}{
		{"throttle", "refuses every SMS as too fast", 0},
		{"hang", "answers nothing", 3},
		{"kill", "The bridge is dead", 0},
	} {
		b.sees(b.troubled(""))
		b.do(chromedp.Click("#"+c.button, chromedp.ByQuery))
		b.sees(b.troubled(c.button) + ` && document.querySelector("#broken").textContent.includes("` + c.says + `")`)
		// What the page says of it is the system's word, not the click's.
		b.sees(`broken.said === "` + c.button + `"`)
		b.do(chromedp.Click("#request", chromedp.ByQuery))
		asked := others.askAll(persons()[0], "verify", "permit_access")
		code = b.signInCode(code)
		b.sees(`document.querySelector("#hops > li[data-hop='delivered']").dataset.reached === "true"`)
		b.do(chromedp.SendKeys("#code", code, chromedp.ByQuery), chromedp.Click("#verify", chromedp.ByQuery))
		b.sees(`document.querySelector("#result").dataset.state === "confirmed"`)
		for _, id := range asked {
			others.eventually(40*time.Second, c.button+": a code asked meanwhile is confirmed", func() bool { return others.ended(id) })
			if state := others.state(id).State; state != "confirmed" {
				t.Errorf("%s: a code asked meanwhile ends %s", c.button, state)
			}
		}
		b.sees(b.troubled(""))
		b.sees(fmt.Sprintf(`document.querySelector("#delivered").textContent === "%d"`, 3*(n+1)))
		if lost := b.count("#lost"); lost != 0 {
			t.Errorf("%s: %d lost", c.button, lost)
		}
		now := b.count("#doubled")
		if now < doubled || now > doubled+c.doubles {
			t.Errorf("%s: %d doubled, %d before; at most %d more may be", c.button, now, doubled, c.doubles)
		}
		doubled = now
		// The handset shows what came, not what the operator refused.
		if n := b.texts(code); n < 1 || c.doubles == 0 && n > 1 || n > 2 {
			t.Errorf("%s: the code stands %d times on the handset", c.button, n)
		}
	}
	b.fits(1280)
	b.fits(400)
}

// A person has money for two codes. The third finds out that it is gone, and says
// so on the page, his SMS are stopped; the operator tells of a top-up, as he does,
// and the next code comes.
func TestMoneyRunsOutOnThePageAndComesBack(t *testing.T) {
	chrome := chromium(t)
	d := start(t, Options{})
	b := browse(t, chrome, d.url)
	b.do(chromedp.SetValue("#locale", "en", chromedp.ByQuery), chromedp.SendKeys("#person", kb.ArrowDown, chromedp.ByQuery))
	b.sees(purse("240.00", ""))
	code := ""
	for _, left := range []string{"120.00", "0.00"} {
		b.do(chromedp.Click("#request", chromedp.ByQuery))
		code = b.signInCode(code)
		b.do(reached("delivered"))
		b.sees(purse(left, ""))
	}
	b.do(chromedp.Click("#request", chromedp.ByQuery))
	b.sees(purse("0.00", "balance") + ` && document.querySelector("#stopped").textContent.includes("SMS stopped: the money is out") &&
		document.querySelector("#stopped").textContent.includes("The next SMS after ")`)
	b.sees(`document.querySelector("#result").dataset.state === "no_funds"`)
	b.sees(`[...document.querySelectorAll("#hops > li")].some((li) =>
		li.querySelector(".name").textContent.startsWith("Message ended: no_funds") && li.querySelector(".line").textContent === "reason: balance")`)
	b.look("no-funds")
	b.fits(1280)
	b.fits(390)
	b.look("no-funds-narrow")
	b.do(chromedp.EmulateViewport(1280, 900))

	b.do(chromedp.Click("#topup", chromedp.ByQuery))
	b.sees(purse("240.00", ""))
	b.do(chromedp.Click("#request", chromedp.ByQuery))
	b.signInCode(code)
	b.sees(`document.querySelector("[data-hop=posted] .line").textContent === "120.00 soum · the operator accepted the SMS"`)
	b.sees(purse("120.00", ""))
	b.look("topped-up")

	// It was the operator's client that told, over the public API.
	dsn, err := sandbox.Secret(d.dir, "dsn")
	if err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.Connect(t.Context(), dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(t.Context())) }()
	var told []mobileid.Money
	err = conn.QueryRow(t.Context(), `select array_agg(amount) from credits where source = $1`, mobileid.SourceOfOperator(sandbox.Operator)).Scan(&told)
	if err != nil || !slices.Equal(told, []mobileid.Money{240_00}) {
		t.Errorf("the operator has told of %v: %v", told, err)
	}
}

// purse is the script of a page that shows such a balance, and why SMS are stopped;
// "" when they are not.
func purse(soum, stopped string) string {
	return fmt.Sprintf(`document.querySelector("#balance").textContent === "Balance %s soum" &&
		document.querySelector("#stopped").dataset.why === %q && document.querySelector("#reserved").textContent === ""`, soum, stopped)
}

// look leaves a picture of the whole page in the folder that is asked for.
func (b *browser) look(name string) {
	b.t.Helper()
	if dir := os.Getenv(lookVariable); dir != "" {
		b.shoot(filepath.Join(dir, name+".png"))
	}
}

// signInCode reads the newest such code among all texts on the handset, another
// one than before.
func (b *browser) signInCode(before string) (code string) {
	b.t.Helper()
	b.do(chromedp.PollFunction(`(before) => {
		const newest = [...document.querySelectorAll("#texts > li")].filter((li) => li.textContent.includes("is your sign-in code")).pop();
		return newest && newest.dataset.code !== before && newest.dataset.code;
	}`, &code, chromedp.WithPollingArgs(before), chromedp.WithPollingTimeout(40*time.Second)))
	return code
}

// texts counts the texts with a code on the handset.
func (b *browser) texts(code string) (n int) {
	b.t.Helper()
	b.do(chromedp.Evaluate("document.querySelectorAll(`#texts > li[data-code='"+code+"']`).length", &n))
	return n
}

// troubled is the script of a page that shows that broken, "" for nothing: the
// button is pressed, and none can be until it is mended.
func (b *browser) troubled(what string) string {
	return fmt.Sprintf(`document.querySelector("#broken").dataset.broken === %q &&
		[...document.querySelectorAll("#breaks button")].every((b) => b.disabled === (%[1]q !== "") &&
			b.getAttribute("aria-pressed") === String(b.id === %[1]q))`, what)
}

// sees waits until the page is so, longer than what is broken stays so.
func (b *browser) sees(script string) {
	b.t.Helper()
	if err := chromedp.Run(b.ctx, chromedp.Poll(script, nil, chromedp.WithPollingTimeout(40*time.Second))); err != nil {
		var says string
		_ = chromedp.Run(b.ctx, chromedp.Evaluate(`document.body.innerText`, &says)) // for the report only
		b.t.Fatalf("%s: %v; the page says\n%s", script, err, says)
	}
}

// count reads one of the totals.
func (b *browser) count(selector string) int {
	b.t.Helper()
	var text string
	b.do(chromedp.Text(selector, &text, chromedp.ByQuery))
	n, err := strconv.Atoi(text)
	if err != nil {
		b.t.Fatalf("%s: %v", selector, err)
	}
	return n
}

// fits fails where the page is wider than its window, or a text than its box.
func (b *browser) fits(width int64) {
	b.t.Helper()
	var wide []string
	b.do(chromedp.EmulateViewport(width, 900), chromedp.Evaluate(`
		[...document.querySelectorAll("body, header, main, footer, .card, .card *, footer *")]
			.filter((e) => e.getClientRects().length && !e.closest("select, pre, table, .line") &&
				e.getBoundingClientRect().right > innerWidth + 0.5)
			.map((e) => e.tagName + "#" + e.id)`, &wide))
	if len(wide) > 0 {
		b.t.Errorf("in a window of %d px these stand over its edge: %v", width, wide)
	}
}

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
		"admitted": {[]string{"Transfers of the Charge", `"held": 12000`}, nil},
		"submit": {[]string{
			"command_id\tsubmit_sm", "destination_addr\t" + number, "source_addr\tMobileID", "registered_delivery\t1",
			"short_message\t" + code + " is your sign-in code.", "0000  00 00 00 ",
		}, []string{"number", "code"}},
		"resp":      {[]string{"message_id\t", "0000  00 00 00 "}, nil},
		"posted":    {[]string{`"kind": "posted"`, `"taken": 12000`, `"granted": 1000000`, `"posted": 12000`, `"pending": 0`}, nil},
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
		chromedp.ExecPath(chrome), chromedp.NoSandbox, chromedp.WindowSize(1280, 1000),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("hide-scrollbars", true))
	alloc, stop := chromedp.NewExecAllocator(t.Context(), opts...)
	t.Cleanup(stop)
	ctx, cancel := chromedp.NewContext(alloc)
	t.Cleanup(cancel)
	ctx, limit := context.WithTimeout(ctx, 4*time.Minute)
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
	b.do(chromedp.EmulateViewport(1280, 1000))
	b.shoot(file)
}

func (b *browser) shoot(file string) {
	b.t.Helper()
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
