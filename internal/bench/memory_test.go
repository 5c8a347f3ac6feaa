package bench

import (
	"os"
	"path/filepath"
	"testing"
)

func TestTheShareOfLargeFreeBlocks(t *testing.T) {
	for text, want := range map[string]string{
		"": "unknown",
		// 512 blocks of one page, and one of 512.
		"Node 0, zone   Normal    512      0      0      0      0      0      0      0      0      1      0 \n": "50 %",
		"Node 0, zone      DMA      0      0      0      0      0      0      0      0      0      0      3 \n" +
			"Node 0, zone   Normal   1024      0      0      0      0      0      0      0      0      0      0 \n": "75 %",
	} {
		path := filepath.Join(t.TempDir(), "buddyinfo")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if have := largeFree(path); have != want {
			t.Errorf("%q: %s, want %s", text, have, want)
		}
	}
	if have := largeFree(filepath.Join(t.TempDir(), "none")); have != "unknown" {
		t.Errorf("no file: %s", have)
	}
}
