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
)

// TestPageInABrowser walks the page as a person does, over the scripted
// system: ask, read the phone, mistype, type, see it confirmed, send a notice.
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
			var scroll, inner int64
			var command string
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
				// With a clipboard it says so; without one it shows the command.
				chromedp.Click("#curl-request"),
				see(`document.querySelector('#toast.shown') || document.querySelector('#manual[open]')`),
				chromedp.Evaluate(`curl(requests.challenge())`, &command, awaited),
			)
			if err != nil {
				t.Fatal(err)
			}
			out, err := exec.CommandContext(t.Context(), "sh", "-c", command).CombinedOutput()
			if err != nil || !strings.Contains(string(out), `"id":"ch_`) {
				t.Errorf("the copied command does not work: %v\n%s\n%s", err, command, out)
			}
			if scroll > inner {
				t.Errorf("the page is %d px wide in a window of %d: it scrolls sideways", scroll, inner)
			}
		})
	}
}
