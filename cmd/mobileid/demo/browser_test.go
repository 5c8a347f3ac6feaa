package demo

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// screenshotVariable names a file that the screenshot of the README is written
// to: MOBILEID_SCREENSHOT=docs/demo.png make test RUN=TestAPersonSignsIn
const screenshotVariable = "MOBILEID_SCREENSHOT"

func TestAPersonSignsInOnThePage(t *testing.T) {
	chrome := chromium(t)
	d := start(t, Options{})
	opts := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(chrome), chromedp.NoSandbox, chromedp.WindowSize(1400, 1080),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("hide-scrollbars", true))
	alloc, stop := chromedp.NewExecAllocator(t.Context(), opts...)
	defer stop()
	ctx, cancel := chromedp.NewContext(alloc)
	defer cancel()
	ctx, limit := context.WithTimeout(ctx, 45*time.Second)
	defer limit()

	var code string
	err := chromedp.Run(ctx,
		chromedp.Navigate(d.url),
		chromedp.WaitEnabled("#request", chromedp.ByQuery),
		chromedp.SetValue("#locale", "en", chromedp.ByQuery),
		chromedp.Click("#request", chromedp.ByQuery),
		chromedp.WaitReady("#sms[data-code]:not([data-code=''])", chromedp.ByQuery),
		chromedp.AttributeValue("#sms", "data-code", &code, nil, chromedp.ByQuery),
		// The receipt is in before the person has typed.
		chromedp.WaitReady("#hops > li[data-hop='delivered'][data-reached='true']", chromedp.ByQuery),
	)
	if err != nil {
		t.Fatal(err)
	}
	if len(code) != 6 {
		t.Fatalf("the code on the handset is %q", code)
	}
	err = chromedp.Run(ctx,
		chromedp.SendKeys("#code", code, chromedp.ByQuery),
		chromedp.Click("#verify", chromedp.ByQuery),
		chromedp.WaitReady("#result[data-state='confirmed']", chromedp.ByQuery),
		chromedp.WaitReady("#hops > li[data-hop='confirmed'][data-reached='true']", chromedp.ByQuery),
		chromedp.Poll(`document.querySelector("#confirmed").textContent === "1"`, nil),
	)
	if err != nil {
		t.Fatal(err)
	}
	if file := os.Getenv(screenshotVariable); file != "" {
		var png []byte
		if err := chromedp.Run(ctx, chromedp.FullScreenshot(&png, 100)); err != nil {
			t.Fatal(err)
		}
		if !filepath.IsAbs(file) {
			file = filepath.Join("..", "..", "..", file)
		}
		if err := os.WriteFile(file, png, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// chromium finds the browser. A machine without one skips loudly; where the
// whole is proved (CI=true) it fails.
func chromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("no Chromium: the distribution's package is called chromium")
	}
	t.Skip("!!! NOT TESTED: no Chromium here, so nobody clicked the page (package chromium)")
	return ""
}
