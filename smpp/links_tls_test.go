package smpp

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"mobileid/cmd/smscsim/smsc"
	"mobileid/internal/mobileid"
)

// authority signs certificates for a test.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string // PEM
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir()}
	a.key = newKey(t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &a.key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.file = a.write("ca", "CERTIFICATE", der)
	return a
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (a *authority) write(name, kind string, der []byte) string {
	a.t.Helper()
	path := filepath.Join(a.dir, name+".pem")
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		a.t.Fatal(err)
	}
	return path
}

// issue writes a certificate for 127.0.0.1 and its key.
func (a *authority) issue(name string, until time.Time) (certFile, keyFile string) {
	a.t.Helper()
	key := newKey(a.t)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: until,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	return a.write(name, "CERTIFICATE", der), a.write(name+".key", "PRIVATE KEY", private)
}

// secure puts TLS before an operator, who wants a certificate of clientCA.
func secure(t *testing.T, to, certFile, keyFile string, clientCA *authority) string {
	t.Helper()
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(clientCA.cert)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool, MinVersion: tls.VersionTLS12,
	})
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			plain, err := net.Dial("tcp", to)
			if err != nil {
				_ = conn.Close()
				continue
			}
			for _, way := range [][2]net.Conn{{conn, plain}, {plain, conn}} {
				serving.Go(func() {
					_, _ = io.Copy(way[0], way[1])
					_, _ = way[0].Close(), way[1].Close()
				})
			}
		}
	})
	t.Cleanup(func() { _ = l.Close(); serving.Wait() })
	return l.Addr().String()
}

// TestABindOverTLS carries a Message over TLS with certificates on both sides,
// and says clearly why it does not where one of them is not good.
func TestABindOverTLS(t *testing.T) {
	ours, theirs := newAuthority(t), newAuthority(t)
	soon, past := time.Now().Add(time.Hour), time.Now().Add(-time.Hour)
	good, goodKey := theirs.issue("smsc", soon)
	old, oldKey := theirs.issue("old", past)
	client, clientKey := ours.issue("mobileid", soon)
	stale, staleKey := ours.issue("stale", past)
	for name, c := range map[string]struct {
		server, serverKey, ca, cert, key, serverName string
		want                                         []string // any of; none: it is bound
	}{
		"both good":                   {good, goodKey, theirs.file, client, clientKey, "", nil},
		"unknown authority":           {good, goodKey, ours.file, client, clientKey, "", []string{"unknown authority"}},
		"the system's authorities":    {good, goodKey, "", client, clientKey, "", []string{"unknown authority"}},
		"expired":                     {old, oldKey, theirs.file, client, clientKey, "", []string{"expired"}},
		"of another host":             {good, goodKey, theirs.file, client, clientKey, "smsc.example", []string{"smsc.example"}},
		"no certificate of ours":      {good, goodKey, theirs.file, "", "", "", []string{"certificate required", "bad certificate"}},
		"our certificate has expired": {good, goodKey, theirs.file, stale, staleKey, "", []string{"expired", "bad certificate"}},
		"our file is gone":            {good, goodKey, theirs.file, client + "x", clientKey, "", []string{"tls.cert_file"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, func(*Config, *smsc.Config) {})
			bind := &r.bridge.links[0].bind
			bind.Hosts = []string{secure(t, r.smsc.Addr(), c.server, c.serverKey, ours)}
			bind.TLS.Enabled, bind.TLS.CAFile, bind.TLS.CertFile, bind.TLS.KeyFile = true, c.ca, c.cert, c.key
			bind.TLS.ServerName = c.serverName
			r.start()
			if c.want == nil {
				id := r.message(mobileid.LaneOTP, nil)
				r.linkIs("a", LinkUp)
				r.mustTake(mobileid.LaneOTP, id)
				r.until(id, mobileid.MessageSent)
				return
			}
			v := r.linkUntil("a", "down for a reason", func(v LinkView) bool { return v.State == LinkDown && v.Failure != "" })
			for _, want := range c.want {
				if strings.Contains(v.Failure, want) {
					return
				}
			}
			t.Errorf("it says %q, want one of %q", v.Failure, c.want)
		})
	}
}
