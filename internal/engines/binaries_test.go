package engines

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fakeServer writes programs that answer --version like a PostgreSQL server.
func fakeServer(t *testing.T, dir, version string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	script := "#!/bin/sh\necho 'postgres (PostgreSQL) " + version + "'\n"
	for _, name := range []string{"initdb", "postgres"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

func TestProgramsAreFoundInTheOrderPathNewestDistributionDownload(t *testing.T) {
	root := t.TempDir()
	fakeServer(t, filepath.Join(root, "9", "bin"), "9.6.24")
	fakeServer(t, filepath.Join(root, "15", "bin"), "15.18 (Debian 15.18-0+deb12u1)")
	fakeServer(t, filepath.Join(root, "16", "bin"), "16.14")
	onPath := filepath.Join(t.TempDir(), "bin")
	fakeServer(t, onPath, "18beta1")
	gone := httptest.NewServer(http.NotFoundHandler())
	defer gone.Close()

	tests := []struct {
		name, path, want, major, wantErr string
	}{
		{name: "PATH first", path: onPath, want: onPath},
		{name: "newest of the distribution", want: filepath.Join(root, "16", "bin")},
		{name: "an existing cluster's version", path: onPath, major: "15", want: filepath.Join(root, "15", "bin")},
		{name: "an existing cluster of another version", major: "14", wantErr: "made by PostgreSQL 14"},
		{name: "else the download", major: "17", wantErr: "404"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := finder{
				path: tt.path, glob: filepath.Join(root, "*", "bin"), cacheDir: t.TempDir(),
				download: downloader{arch: "amd64", baseURL: gone.URL, client: gone.Client()},
				progress: func(string) {},
			}
			set, err := f.find(t.Context(), tt.major)
			if tt.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), tt.wantErr) {
					t.Fatalf("error %v, want %q", err, tt.wantErr)
				}
				return
			}
			if err != nil || set.dir != tt.want {
				t.Errorf("got %q, %v; want %q", set.dir, err, tt.want)
			}
		})
	}
}

func TestDownloadWithAnotherHashIsRefused(t *testing.T) {
	liar := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("not the artifact"))
	}))
	defer liar.Close()
	cache := t.TempDir()
	d := downloader{arch: "amd64", baseURL: liar.URL, client: liar.Client()}
	_, err := d.fetch(t.Context(), cache, func(string) {})
	if err == nil || !strings.Contains(err.Error(), "SHA-256") {
		t.Fatalf("error %v", err)
	}
	left, err := os.ReadDir(cache)
	if err != nil || len(left) != 0 {
		t.Errorf("the cache holds %v, %v", left, err)
	}
}

func TestMavenMirrorIsHonoured(t *testing.T) {
	home := t.TempDir()
	if got := mavenBaseURL("", home); got != centralURL {
		t.Errorf("no settings: %s", got)
	}
	if err := os.Mkdir(filepath.Join(home, ".m2"), 0o755); err != nil {
		t.Fatal(err)
	}
	settings := `<settings xmlns="http://maven.apache.org/SETTINGS/1.0.0"><mirrors>
		<mirror><mirrorOf>other</mirrorOf><url>http://127.0.0.1:1/wrong</url></mirror>
		<mirror><mirrorOf>x, central</mirrorOf><url>http://127.0.0.1:1/right/</url></mirror>
	</mirrors></settings>`
	if err := os.WriteFile(filepath.Join(home, ".m2", "settings.xml"), []byte(settings), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := mavenBaseURL("", home); got != "http://127.0.0.1:1/right" {
		t.Errorf("mirror: %s", got)
	}
	if got := mavenBaseURL("http://127.0.0.1:2/env/", home); got != "http://127.0.0.1:2/env" {
		t.Errorf("environment: %s", got)
	}
}

// TestDownloadedServerRuns reaches Maven Central, so it runs only when asked,
// with ENGINES_DOWNLOAD=1.
func TestDownloadedServerRuns(t *testing.T) {
	if os.Getenv("ENGINES_DOWNLOAD") == "" {
		t.Skip("!!! ENGINES_DOWNLOAD=1 is not set: the download from Maven Central is NOT tested")
	}
	cache := t.TempDir()
	open(t, cache)
	p := start(t, PostgresConfig{hide: true, CacheDir: cache})
	var version string
	err := connect(t, p.DSN()).QueryRow(context.WithoutCancel(t.Context()), `show server_version`).Scan(&version)
	if err != nil || !strings.HasPrefix(version, "17.") {
		t.Errorf("version %q, %v", version, err)
	}
}
