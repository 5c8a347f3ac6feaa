package app_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"mobileid/cmd/mobileid/app/apptest"
	"mobileid/internal/mobileid"
	"mobileid/internal/testenv"
)

// guide is the document whose commands these tests run, as they stand there.
const guide = "../../../docs/integration-kafka.md"

// noTools is the environment variable that lets kcat and Chromium be absent;
// TOOLS=0 make test sets it.
const noTools = "MOBILEID_TEST_NO_TOOLS"

// guideCommands returns the first block of shell commands under a heading of
// the guide, cut at its empty lines: the variables, what writes, what reads.
func guideCommands(t *testing.T, heading string) (variables, write, read string) {
	t.Helper()
	text, err := os.ReadFile(guide)
	check(t, err)
	_, after, ok := strings.Cut(string(text), "\n## "+heading+"\n")
	if !ok {
		t.Fatalf("%s has no heading %q", guide, heading)
	}
	_, after, _ = strings.Cut(after, "```bash\n")
	block, _, _ := strings.Cut(after, "\n```")
	parts := strings.Split(block, "\n\n")
	if len(parts) != 3 {
		t.Fatalf("the commands under %q are in %d parts, want variables, write and read", heading, len(parts))
	}
	return parts[0], parts[1], parts[2]
}

// setVariables puts the test's own values where the guide has examples.
func setVariables(t *testing.T, block string, values map[string]string) string {
	t.Helper()
	for name, value := range values {
		line := regexp.MustCompile(`(?m)^` + name + `=.*$`)
		if !line.MatchString(block) {
			t.Fatalf("the guide does not set %s", name)
		}
		block = line.ReplaceAllLiteralString(block, name+"='"+value+"'")
	}
	return block
}

func shell(t *testing.T, script string, env ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", script)
	cmd.Env = append(os.Environ(), env...)
	var errs strings.Builder
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s\n%s", err, script, errs.String())
	}
	return string(out)
}

// acceptedIn finds the id in what a reader of out.<client> prints.
func acceptedIn(printed string) string {
	for line := range strings.Lines(printed) {
		_, value, ok := strings.Cut(line, `{"request_key"`)
		var a mobileid.RequestAccepted
		if ok && json.Unmarshal([]byte(`{"request_key"`+value), &a) == nil && !a.ID.IsZero() {
			return a.ID.String()
		}
	}
	return ""
}

// asksAndReads runs what the guide says under a heading, and then looks that
// the code arrived and verifies.
func asksAndReads(t *testing.T, heading string, env ...string) {
	t.Helper()
	s := apptest.Start(t, apptest.Options{})
	p := s.Bind(7, 1000_00)
	variables, write, read := guideCommands(t, heading)
	variables = setVariables(t, variables, map[string]string{
		"BROKERS": strings.Join(s.Env.Kafka(), ","), "PINFL": p.PINFL,
	})
	shell(t, variables+"\n"+write, env...)
	code := s.Code(p.Number, 1)
	var id, printed string
	s.Until("the client reads that it was accepted, and its status", func() bool {
		printed = shell(t, variables+"\n"+read, env...)
		id = acceptedIn(printed)
		return id != "" && strings.Contains(printed, mobileid.TypeStatusChanged)
	})
	if !strings.Contains(printed, mobileid.TypeRequestAccepted) {
		t.Errorf("no %s among the headers:\n%s", mobileid.TypeRequestAccepted, printed)
	}
	if a := s.Verify(id, "outside", code); a.JSON("state") != "confirmed" {
		t.Errorf("verify: %d %s", a.Status, a.Body)
	}
}

// TestKcatAsksAndReadsAsTheGuideSays: kcat is librdkafka, as most clients that
// are not Java.
func TestKcatAsksAndReadsAsTheGuideSays(t *testing.T) {
	if _, err := exec.LookPath("kcat"); err != nil {
		if os.Getenv(noTools) != "" {
			t.Skip("!!! no kcat and " + noTools + " is set: an outside client with librdkafka is NOT tested")
		}
		t.Fatal("kcat is missing: install it (Debian: apt-get install kcat), or set " + noTools + "=1")
	}
	asksAndReads(t, "With kcat")
}

// TestJavaConsoleToolsAskAndReadAsTheGuideSays runs the classes behind Kafka's
// own scripts.
func TestJavaConsoleToolsAskAndReadAsTheGuideSays(t *testing.T) {
	if testenv.Set(os.Getenv(testenv.Variable)) != testenv.Real {
		t.Skip("!!! embedded engines: Kafka's Java tools come with the real ones; MOBILEID_TEST_ENGINES=real runs this")
	}
	asksAndReads(t, "With the Java console tools", "KAFKA="+kafkaDistribution(t))
}

// kafkaDistribution makes the scripts of a Kafka distribution around the jars
// that the real broker runs from: each script names one class.
func kafkaDistribution(t *testing.T) string {
	t.Helper()
	jars := realSetting(t, "MOBILEID_REAL_KAFKA_LIBS")
	dir := t.TempDir()
	check(t, os.Mkdir(filepath.Join(dir, "bin"), 0o700))
	for script, class := range map[string]string{
		"kafka-console-producer.sh": "org.apache.kafka.tools.ConsoleProducer",
		"kafka-console-consumer.sh": "org.apache.kafka.tools.consumer.ConsoleConsumer",
		"kafka-acls.sh":             "org.apache.kafka.tools.AclCommand",
	} {
		text := "#!/bin/sh\nexec java -cp '" + jars + "/*' " + class + " \"$@\"\n"
		check(t, os.WriteFile(filepath.Join(dir, "bin", script), []byte(text), 0o700))
	}
	return dir
}

// realSetting reads a line of the file that services-up wrote.
func realSetting(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile("../../../.run/services.env")
	check(t, err)
	m := regexp.MustCompile(`(?m)^export ` + name + `='(.*)'$`).FindSubmatch(text)
	if m == nil {
		t.Fatalf("services.env has no %s: run make services-up again", name)
	}
	return string(m[1])
}
