package testenv

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/sasl"
	"github.com/segmentio/kafka-go/sasl/scram"
)

// Administrator is the super user of a SecureKafka.
const Administrator = "admin"

// SecureKafka is an Apache Kafka of one test's own that lets nobody do anything
// unasked: TLS, SCRAM-SHA-512 and Kafka's own authorizer.
type SecureKafka struct {
	Broker   string // host:port
	CAFile   string // PEM; its authority was made for this broker
	Password string // of every user

	t     testing.TB
	roots *tls.Config
}

// secureProperties is one node that is broker and controller. The two talk
// over TLS with certificates on both sides, because SCRAM's users are known
// only once the controller runs.
const secureProperties = `
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@%[2]s
listeners=SASL_SSL://%[1]s,CONTROLLER://%[2]s
advertised.listeners=SASL_SSL://%[1]s
controller.listener.names=CONTROLLER
listener.security.protocol.map=SASL_SSL:SASL_SSL,CONTROLLER:SSL
inter.broker.listener.name=SASL_SSL
sasl.enabled.mechanisms=SCRAM-SHA-512
sasl.mechanism.inter.broker.protocol=SCRAM-SHA-512
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required username="admin" password="%[4]s";
listener.name.controller.ssl.client.auth=required
ssl.keystore.type=PEM
ssl.keystore.location=%[3]s/broker.pem
ssl.truststore.type=PEM
ssl.truststore.location=%[3]s/ca.pem
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:admin;User:CN=broker
log.dirs=%[3]s/data
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
group.initial.rebalance.delay.ms=0
`

// SecureKafka starts one with those users beside Administrator, and stops it
// with the test. It runs from the jars of the real set.
func (e *Env) SecureKafka(users ...string) *SecureKafka {
	e.t.Helper()
	set, ok := e.set.(services)
	if !ok {
		e.t.Fatal("testenv: a broker with an authorizer comes with the real engines")
	}
	libs, dir := set.addresses["MOBILEID_REAL_KAFKA_LIBS"], e.t.TempDir()
	k := &SecureKafka{t: e.t, Broker: FreeAddr(e.t), CAFile: filepath.Join(dir, "ca.pem"), Password: rand.Text()}
	k.roots = makeAuthority(e.t, k.CAFile, filepath.Join(dir, "broker.pem"))
	properties := filepath.Join(dir, "server.properties")
	k.write(properties, fmt.Sprintf(secureProperties, k.Broker, FreeAddr(e.t), dir, k.Password))

	cluster := make([]byte, 16)
	_, _ = rand.Read(cluster) // never fails (crypto/rand)
	format := []string{"kafka.tools.StorageTool", "format", "-c", properties, "-t", base64.RawURLEncoding.EncodeToString(cluster)}
	for _, user := range append(users, Administrator) {
		format = append(format, "--add-scram", fmt.Sprintf("SCRAM-SHA-512=[name=%s,password=%s]", user, k.Password))
	}
	out, err := java(libs, format...).CombinedOutput()
	if err != nil {
		e.t.Fatalf("testenv: kafka's storage: %v\n%s", err, out)
	}
	log := filepath.Join(dir, "server.log")
	k.run(java(libs, "-Dlog4j2.configurationFile=file:"+filepath.Join(moduleRoot(e.t), "deploy/dev/kafka/log4j2.properties"),
		"-Dkafka.log="+log, "kafka.Kafka", properties), log)
	return k
}

func java(libs string, args ...string) *exec.Cmd {
	return exec.Command("java", append([]string{
		"-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", libs + "/*",
	}, args...)...)
}

// run starts the broker and returns when it answers the administrator. Its
// goroutine keeps its thread: the kernel ties "die with the parent" to the
// thread that started the child.
func (k *SecureKafka) run(cmd *exec.Cmd, log string) {
	k.t.Helper()
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started, done := make(chan error, 1), make(chan struct{})
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // it is killed in the end, which is an error
			close(done)
		}
	}()
	err := <-started
	if err != nil {
		k.t.Fatal("testenv: kafka:", err)
	}
	k.t.Cleanup(func() {
		_ = cmd.Process.Kill() // an error says that it has ended
		<-done
		if k.t.Failed() {
			text, _ := os.ReadFile(log)
			k.t.Logf("the broker's log:\n%s\n%s", text, out.String())
		}
	})
	ctx, cancel := context.WithTimeout(k.t.Context(), 30*time.Second)
	defer cancel()
	client := k.Client(Administrator)
	for tick := time.Tick(20 * time.Millisecond); ; {
		_, err := client.Metadata(ctx, &kafka.MetadataRequest{})
		if err == nil {
			return
		}
		select {
		case <-done:
			k.t.Fatal("testenv: kafka ended at once:", out.String())
		case <-ctx.Done():
			k.t.Fatal("testenv: kafka does not answer:", err)
		case <-tick: // nothing signals that a broker begins to answer
		}
	}
}

// Client returns a client that is that user; its connections end with the test.
func (k *SecureKafka) Client(user string) *kafka.Client {
	k.t.Helper()
	return k.ClientWith(user, k.Password)
}

// ClientWith is Client with another password.
func (k *SecureKafka) ClientWith(user, password string) *kafka.Client {
	k.t.Helper()
	transport := &kafka.Transport{TLS: k.roots, SASL: k.login(user, password), MetadataTTL: 100 * time.Millisecond}
	k.t.Cleanup(transport.CloseIdleConnections)
	return &kafka.Client{Addr: kafka.TCP(k.Broker), Transport: transport}
}

// Dialer is Client for a kafka.Reader.
func (k *SecureKafka) Dialer(user string) *kafka.Dialer {
	k.t.Helper()
	return &kafka.Dialer{TLS: k.roots, SASLMechanism: k.login(user, k.Password)}
}

// Partition connects a user to the first partition of a topic without asking
// for the topic before: the broker hides what he may not see.
func (k *SecureKafka) Partition(user, topic string) *kafka.Conn {
	k.t.Helper()
	host, port, err := net.SplitHostPort(k.Broker)
	if err != nil {
		k.t.Fatal("testenv:", err)
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		k.t.Fatal("testenv:", err)
	}
	conn, err := k.Dialer(user).DialPartition(k.t.Context(), "tcp", k.Broker, kafka.Partition{
		Topic: topic, Leader: kafka.Broker{Host: host, Port: number},
	})
	if err != nil {
		k.t.Fatal("testenv:", err)
	}
	k.t.Cleanup(func() { _ = conn.Close() })
	err = conn.SetDeadline(time.Now().Add(20 * time.Second))
	if err != nil {
		k.t.Fatal("testenv:", err)
	}
	return conn
}

func (k *SecureKafka) login(user, password string) sasl.Mechanism {
	k.t.Helper()
	mechanism, err := scram.Mechanism(scram.SHA512, user, password)
	if err != nil {
		k.t.Fatal("testenv:", err)
	}
	return mechanism
}

func (k *SecureKafka) write(path, text string) {
	k.t.Helper()
	err := os.WriteFile(path, []byte(text), 0o600)
	if err != nil {
		k.t.Fatal("testenv:", err)
	}
}
