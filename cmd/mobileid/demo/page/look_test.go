package page

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// TestPageInABrowser walks the page as a person does, over the scripted
// system: ask, read the phone, mistype, type, see it confirmed, send a notice, run
// out of money and top up.
// With PAGE_LOOK=DIR it leaves pictures there, in both widths and schemes.
func TestPageInABrowser(t *testing.T) {
	binary, err := exec.LookPath("chromium")
	if err != nil {
		const noTools = "MOBILEID_TEST_NO_TOOLS" // TOOLS=0 make test sets it
		if os.Getenv(noTools) == "" {
			t.Fatal("no chromium: install it (Debian: apt-get install chromium), or set " + noTools + "=1")
		}
		t.Skip("!!! no chromium and " + noTools + " is set: the page is NOT tested in a browser")
	}
	for _, size := range []struct {
		name          string
		width, height int64
		dark          bool
	}{{"wide", 1280, 1000, false}, {"narrow", 390, 844, false}, {"wide-dark", 1280, 1000, true}} {
		t.Run(size.name, func(t *testing.T) {
			f := newFake(t, 12*time.Millisecond)
			f.waits = true
			breaks := &breaker{}
			f.breaks = breaks
			base := f.serve(t)
			opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(binary), chromedp.NoSandbox,
				chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true),
				chromedp.WindowSize(int(size.width), int(size.height)), chromedp.Flag("force-dark-mode", size.dark))
			if size.dark {
				opts = append(opts, chromedp.Flag("blink-settings", "preferredColorScheme=0"))
			}
			alloc, stop := chromedp.NewExecAllocator(t.Context(), opts...)
			defer stop()
			ctx, cancel := chromedp.NewContext(alloc)
			defer cancel()
			ctx, cancel = context.WithTimeout(ctx, time.Minute)
			defer cancel()

			shot := func(name string) chromedp.Action {
				return chromedp.ActionFunc(func(ctx context.Context) error {
					dir := os.Getenv("PAGE_LOOK")
					if dir == "" {
						return nil
					}
					var png []byte
					if err := chromedp.FullScreenshot(&png, 100).Do(ctx); err != nil {
						return err
					}
					return os.WriteFile(filepath.Join(dir, size.name+"-"+name+".png"), png, 0o644)
				})
			}
			see := func(js string) chromedp.Action {
				return chromedp.ActionFunc(func(ctx context.Context) error {
					err := chromedp.Poll(js, nil, chromedp.WithPollingTimeout(20*time.Second)).Do(ctx)
					if err == nil {
						return nil
					}
					var text string
					_ = chromedp.Evaluate(`document.body.innerText`, &text).Do(ctx) // for the report only
					return fmt.Errorf("%s: %w; the page says\n%s", js, err, text)
				})
			}
			var scroll, inner, stopped int64
			var command, told, chosen string
			awaited := func(p *runtime.EvaluateParams) *runtime.EvaluateParams { return p.WithAwaitPromise(true) }
			err := chromedp.Run(ctx,
				chromedp.EmulateViewport(size.width, size.height),
				chromedp.Navigate(base+"/"),
				see(`!document.querySelector('#request').disabled && document.querySelector('#live').classList.contains('on')`),
				shot("0-start"),
				chromedp.Click("#request"),
				see(`document.querySelector('#sms') && document.querySelector('#sms').dataset.code === '482913'`),
				see(`document.querySelector('#result').dataset.state === 'pending'`),
				see(`document.querySelector('[data-hop=delivered]').dataset.reached === 'true'`),
				see(`document.querySelector('[data-hop=issued] .bytes').textContent.includes('"sealed": "\\\\x')`),
				shot("1-arrived"),
				chromedp.SendKeys("#code", "000000"),
				chromedp.Click("#verify"),
				see(`document.querySelector('#result').dataset.state === 'wrong' && document.querySelector('#result').textContent.includes('2 tries left')`),
				shot("2-wrong"),
				chromedp.Click("#sms button"),
				chromedp.Click("#verify"),
				see(`document.querySelector('#result').dataset.state === 'confirmed'`),
				see(`document.querySelector('[data-hop=confirmed]').dataset.reached === 'true'`),
				see(`document.querySelectorAll('#hops > li[data-reached=true]').length === 12`),
				see(`document.querySelector('#confirmed').textContent === '1'`),
				chromedp.Click("[data-hop=submit] summary"),
				chromedp.Evaluate(`document.documentElement.scrollWidth`, &scroll),
				chromedp.Evaluate(`window.innerWidth`, &inner),
				shot("3-confirmed"),
				chromedp.Click("[data-hop=submit] summary"),
				chromedp.Click("#notice"),
				see(`document.querySelector('#notice-result').textContent.startsWith('Delivered')`),
				see(`document.querySelectorAll('#hops > li[data-reached=true]').length === 10`),
				see(`document.querySelectorAll('#texts > li').length === 2 && !document.querySelector('#sms').dataset.code`),
				chromedp.Click("#show-challenge"),
				see(`document.querySelectorAll('#hops > li[data-reached=true]').length === 12`),
				chromedp.Click("#explain summary"),
				shot("4-notice"),
				chromedp.Click("#hang"),
				see(`broken.said === 'hang' && document.querySelector('#broken').textContent.includes('answers nothing')`),
				see(`document.querySelectorAll('#breaks button:disabled').length === 3 && document.querySelector('#breaks [aria-pressed=true]').id === 'hang'`),
				shot("5-broken"),
				chromedp.ActionFunc(func(context.Context) error { breaks.mend(); return nil }),
				see(`document.querySelectorAll('#breaks button:enabled').length === 3 && document.querySelector('#broken').textContent === 'Everything works.'`),
				// Money for two codes: the third finds it out, a top-up brings SMS back.
				chromedp.SendKeys("#person", kb.ArrowDown),
				see(`document.querySelector('#balance').textContent === 'Balance 240.00 soum' && document.querySelector('#texts').children.length === 0`),
				chromedp.Click("#request"),
				see(`document.querySelectorAll('#texts > li').length === 1 && document.querySelector('#balance').textContent === 'Balance 120.00 soum'`),
				chromedp.Click("#request"),
				see(`document.querySelectorAll('#texts > li').length === 2 && document.querySelector('#balance').textContent === 'Balance 0.00 soum'`),
				see(`document.querySelector('#stopped').dataset.why === ''`),
				chromedp.Click("#request"),
				see(`document.querySelector('#result').dataset.state === 'no_funds' && document.querySelector('#hops').textContent.includes('Message ended: no_funds')`),
				see(`document.querySelector('#stopped').dataset.why === 'balance' && document.querySelector('#stopped').textContent.startsWith('SMS stopped: the money is out')`),
				chromedp.Evaluate(`document.documentElement.scrollWidth`, &stopped),
				shot("6-stopped"),
				// Another person's are not, and that is seen as soon as he is chosen.
				chromedp.Evaluate(`[0, 1].map((n) => {
					document.querySelector('#person').selectedIndex = n;
					document.querySelector('#person').dispatchEvent(new Event('change'));
					return document.querySelector('#balance').textContent + '|' + document.querySelector('#stopped').dataset.why;
				}).join()`, &chosen),
				chromedp.Click("#topup"),
				see(`document.querySelector('#stopped').dataset.why === '' && document.querySelector('#balance').textContent === 'Balance 240.00 soum'`),
				chromedp.Click("#request"),
				see(`document.querySelectorAll('#texts > li').length === 1 && document.querySelector('#sms').dataset.code === '482913'`),
				// What is given back afterwards is a hop of its own.
				chromedp.ActionFunc(func(context.Context) error { f.giveBack(); return nil }),
				see(`[...document.querySelectorAll('[data-hop=posted] .name')].map((n) => n.firstChild.textContent).join() === 'Charge posted,Charge reversed'`),
				see(`[...document.querySelectorAll('[data-hop=posted] .line')].pop().textContent.endsWith('the money is given back')`),
				shot("7-topped-up"),
				// With a clipboard it says so; without one it shows the command.
				chromedp.Click("#curl-request"),
				see(`document.querySelector('#toast.shown') || document.querySelector('#manual[open]')`),
				chromedp.Evaluate(`curl(requests.challenge())`, &command, awaited),
				chromedp.Evaluate(`curl(requests.topUp())`, &told, awaited),
				chromedp.SendKeys("#person", kb.ArrowDown),
				see(`document.querySelector('#balance').textContent === 'No number, so no account' && document.querySelector('#topup').disabled`),
			)
			if err != nil {
				t.Fatal(err)
			}
			out, err := exec.CommandContext(t.Context(), "sh", "-c", command).CombinedOutput()
			if err != nil || !strings.Contains(string(out), `"id":"ch_`) {
				t.Errorf("the copied command does not work: %v\n%s\n%s", err, command, out)
			}
			out, err = exec.CommandContext(t.Context(), "sh", "-c", told).CombinedOutput()
			if err != nil || !strings.Contains(string(out), `"told":"top_up"`) || strings.Contains(told, "Bearer") {
				t.Errorf("the copied top-up does not work: %v\n%s\n%s", err, told, out)
			}
			if want := "Balance 49760.00 soum|,Balance 0.00 soum|balance"; chosen != want {
				t.Errorf("the persons' money: %s, want %s", chosen, want)
			}
			if scroll = max(scroll, stopped); scroll > inner {
				t.Errorf("the page is %d px wide in a window of %d: it scrolls sideways", scroll, inner)
			}
		})
	}
}
