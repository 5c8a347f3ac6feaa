package app_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"

	"mobileid/cmd/mobileid/app/apptest"
	"mobileid/internal/mobileid"
	"mobileid/internal/testenv"
)

// TestOnBrokersWithAnAuthorizerNobodyReachesMoreThanHisOwn runs the commands of
// the guide for whoever runs the brokers, and then the whole program, as a
// principal that has only those rules, on a broker with SASL, TLS and Kafka's
// own authorizer.
func TestOnBrokersWithAnAuthorizerNobodyReachesMoreThanHisOwn(t *testing.T) {
	if testenv.Set(os.Getenv(testenv.Variable)) != testenv.Real {
		t.Skip("!!! embedded engines: no authorizer there; MOBILEID_TEST_ENGINES=real runs this")
	}
	s := apptest.Start(t, apptest.Options{Roles: []string{}})
	k := s.Env.SecureKafka("mobileid", portal, "tax")
	ours := []string{
		"MOBILEID_KAFKA__TLS=true", "MOBILEID_KAFKA__CA_FILE=" + k.CAFile, "MOBILEID_KAFKA__ACLS=true",
		"MOBILEID_KAFKA__BROKERS=" + k.Broker, "MOBILEID_KAFKA__SASL_USER=mobileid",
		"MOBILEID_KAFKA__SASL_PASSWORD=env:KAFKA_PASSWORD", "KAFKA_PASSWORD=" + k.Password,
	}
	file := withPrincipals(t, s)
	if code, _, errs := apptest.Command(t, ours, "topics", "--config", file); code != 1 || !strings.Contains(errs, "uthoriz") {
		t.Errorf("topics without a rule: exit %d: %s", code, errs)
	}
	grantAsTheGuideSays(t, k, file, ours)

	// Whether a topic is durable, it may ask: one broker is not enough.
	strict := []string{"MOBILEID_KAFKA__ALLOW_LESS_DURABLE=false", "MOBILEID_KAFKA__REPLICATION=3", "MOBILEID_KAFKA__MIN_INSYNC=2"}
	apptest.StartChild(t, append(strict, ours...), "serve", "--config", file).AwaitOutput(`min.insync.replicas is "1"`)

	c := apptest.StartChild(t, ours, "serve", "--config", file)
	c.AwaitOutput(`"msg":"running"`)
	s.Until("the system is ready", func() bool {
		a, err := s.TryAs("", http.MethodGet, "/readyz", "", "")
		return err == nil && a.Status == http.StatusOK
	})
	p := s.Bind(1, 1000_00)
	var id string
	s.Until("a code is accepted", func() bool { // the first record of a cold broker may take longer than a 503 waits
		a := s.Call(http.MethodPost, "/v1/challenges", "first", apptest.ChallengeBody(p.PINFL, "sign_in"))
		id = a.JSON("id")
		return a.Status == http.StatusAccepted
	})
	if a := s.Verify(id, "v1", s.Code(p.Number, 1)); a.JSON("state") != "confirmed" {
		t.Errorf("over HTTP: %d %s", a.Status, a.Body)
	}
	id = asksAsItself(t, k, p)
	if a := s.Verify(id, "v2", s.Code(p.Number, 2)); a.JSON("state") != "confirmed" {
		t.Errorf("over Kafka: %d %s", a.Status, a.Body)
	}
	reachesNothingElse(t, k)

	// A record that cannot be read is parked, and comes back, by our own rules.
	check(t, write(t, k, portal, mobileid.TopicIn(portal), "poison"))
	var listed string
	s.Until("the poison is parked", func() bool {
		code, out, errs := apptest.Command(t, ours, "dlq", "list", mobileid.TopicIn(portal), "--config", file)
		if code != 0 {
			t.Fatalf("dlq list: exit %d: %s", code, errs)
		}
		listed = out
		return strings.Contains(out, mobileid.TopicIn(portal))
	})
	if code, _, errs := apptest.Command(t, ours, "dlq", "replay", mobileid.TopicIn(portal), "0", "0", "--config", file); code != 0 {
		t.Errorf("dlq replay of\n%s: exit %d: %s", listed, code, errs)
	}
	check(t, c.Terminate())
	if log := c.Output(); strings.Contains(log, "uthoriz") {
		t.Errorf("the program met a rule that is missing:\n%s", log)
	}
}

// withPrincipals is the system's configuration with a principal for its client
// and a second client beside it.
func withPrincipals(t *testing.T, s *apptest.System) string {
	t.Helper()
	text, err := os.ReadFile(s.ConfigFile)
	check(t, err)
	changed := strings.Replace(string(text), `principal: ""`, "principal: User:"+portal, 1)
	changed = strings.Replace(changed, "clients:\n", `clients:
  - {id: tax, scopes: [challenges], purposes: [sign_in], disclosure: full, mode: live,
     quota: {rate: 5, per: 1s, burst: 5}, kafka: true, principal: User:tax}
`, 1)
	file := filepath.Join(filepath.Dir(s.ConfigFile), "principals.yaml") // the operator's file is beside it
	check(t, os.WriteFile(file, []byte(changed), 0o600))
	return file
}

// grantAsTheGuideSays runs the guide's commands; the second time they change
// nothing.
func grantAsTheGuideSays(t *testing.T, k *testenv.SecureKafka, file string, ours []string) {
	t.Helper()
	admin := filepath.Join(t.TempDir(), "admin.properties")
	check(t, os.WriteFile(admin, []byte("security.protocol=SASL_SSL\nsasl.mechanism=SCRAM-SHA-512\n"+
		"ssl.truststore.type=PEM\nssl.truststore.location="+k.CAFile+"\n"+
		"sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required username=\""+testenv.Administrator+"\" password=\""+k.Password+"\";\n"), 0o600))
	variables, rules, topics := guideCommands(t, "For whoever runs the brokers")
	variables = setVariables(t, variables, map[string]string{"BROKERS": k.Broker, "ADMIN": admin, "CONFIG": file})
	env := append([]string{
		"KAFKA=" + kafkaDistribution(t), "PATH=" + filepath.Dir(apptest.Program(t)) + ":" + os.Getenv("PATH"),
		"ADMIN_PASSWORD=" + k.Password,
	}, ours...)
	shell(t, variables+"\n"+rules, env...)
	first, again := shell(t, variables+"\n"+topics, env...), shell(t, variables+"\n"+topics, env...)
	for _, want := range []string{
		"created " + mobileid.TopicIn(portal), "created " + mobileid.TopicOTPRequests,
		"granted User:portal may write " + mobileid.TopicIn(portal), "granted User:tax may read " + mobileid.TopicOut("tax"),
	} {
		if !strings.Contains(first, want) {
			t.Errorf("no %q in\n%s", want, first)
		}
	}
	if strings.Contains(again, "created") || !strings.Contains(again, "unchanged "+mobileid.TopicIn(portal)) {
		t.Errorf("the second time:\n%s", again)
	}
}

// asksAsItself asks for a code on the client's own topic and reads the id off
// its other one, in a group of its own.
func asksAsItself(t *testing.T, k *testenv.SecureKafka, p apptest.Person) (id string) {
	t.Helper()
	check(t, write(t, k, portal, mobileid.TopicIn(portal), apptest.ChallengeBody(p.PINFL, "verify"),
		"ce_id", "over-kafka", "ce_type", mobileid.TypeChallengeCommand))
	r := kafka.NewReader(kafka.ReaderConfig{
		Brokers: []string{k.Broker}, Topic: mobileid.TopicOut(portal), GroupID: portal + ".reader",
		StartOffset: kafka.FirstOffset, Dialer: k.Dialer(portal), MaxWait: 100 * time.Millisecond,
	})
	defer func() { check(t, r.Close()) }()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for {
		m, err := r.FetchMessage(ctx)
		check(t, err)
		var a mobileid.RequestAccepted
		if json.Unmarshal(m.Value, &a) == nil && a.RequestKey == "over-kafka" {
			return a.ID.String()
		}
	}
}

// reachesNothingElse tries what a client may not.
func reachesNothingElse(t *testing.T, k *testenv.SecureKafka) {
	t.Helper()
	for _, topic := range []string{
		mobileid.TopicIn("tax"), mobileid.TopicOut(portal), mobileid.TopicOTPRequests, mobileid.TopicMessageStatus,
		mobileid.TopicDLQ(mobileid.TopicIn(portal)),
	} {
		if err := write(t, k, portal, topic, "{}"); !errors.Is(err, kafka.TopicAuthorizationFailed) {
			t.Errorf("%s writes %s: %v", portal, topic, err)
		}
	}
	for _, topic := range []string{
		mobileid.TopicIn("tax"), mobileid.TopicOut("tax"), mobileid.TopicIn(portal), mobileid.TopicOTPRequests,
	} {
		if err := read(t, k, portal, topic); !errors.Is(err, kafka.TopicAuthorizationFailed) {
			t.Errorf("%s reads %s: %v", portal, topic, err)
		}
	}
	res, err := k.Client(portal).OffsetFetch(t.Context(), &kafka.OffsetFetchRequest{
		GroupID: "mobileid.ingress", Topics: map[string][]int{mobileid.TopicOut(portal): {0}},
	})
	if err == nil {
		err = res.Error
	}
	if !errors.Is(err, kafka.GroupAuthorizationFailed) {
		t.Errorf("%s looks into our group: %v", portal, err)
	}
	_, err = k.ClientWith(portal, "wrong").Metadata(t.Context(), &kafka.MetadataRequest{})
	if !errors.Is(err, kafka.SASLAuthenticationFailed) {
		t.Errorf("with a wrong password: %v", err)
	}
}

// write puts one record onto a topic's first partition as that user; headers
// are name, value pairs.
func write(t *testing.T, k *testenv.SecureKafka, user, topic, value string, headers ...string) error {
	t.Helper()
	m := kafka.Message{Value: []byte(value)}
	for i := 0; i+1 < len(headers); i += 2 {
		m.Headers = append(m.Headers, kafka.Header{Key: headers[i], Value: []byte(headers[i+1])})
	}
	_, err := k.Partition(user, topic).WriteMessages(m)
	return err
}

// read asks for the first record of a topic as that user.
func read(t *testing.T, k *testenv.SecureKafka, user, topic string) error {
	t.Helper()
	conn := k.Partition(user, topic)
	_, err := conn.Seek(0, kafka.SeekAbsolute|kafka.SeekDontCheck)
	check(t, err)
	_, err = conn.ReadMessage(1 << 20)
	return err
}
