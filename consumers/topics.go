package consumers

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/segmentio/kafka-go"

	"mobileid/internal/mobileid"
)

// adminTimeout bounds one request to the controller.
const adminTimeout = 15 * time.Second

// TopicSpec is a topic as it should be.
type TopicSpec struct {
	Name        string
	Partitions  int
	Replication int
	MinISR      int           // min.insync.replicas
	Retention   time.Duration // retention.ms
	// AppendTime makes the broker stamp the records (LogAppendTime). Topics
	// that outsiders write have it, because their clocks are theirs.
	AppendTime bool
	// MaxBatch is max.message.bytes, what a batch of records may have; 0 means
	// the broker's own.
	MaxBatch int
	// Plain stores records uncompressed (compression.type). Producers may
	// compress all the same: the broker undoes it, and then holds the batch to
	// MaxBatch once more.
	Plain bool
}

// ingressBytes is MaxBatch of the topics that outsiders write: several of the
// largest requests.
const ingressBytes = 64 << 10

// configs are the settings that a topic is made with and compared by.
func (s TopicSpec) configs() map[string]string {
	stamp := "CreateTime"
	if s.AppendTime {
		stamp = "LogAppendTime"
	}
	configs := map[string]string{
		"cleanup.policy":         "delete", // no topic is compacted: docs/architecture.md, Topics
		"retention.ms":           strconv.FormatInt(s.Retention.Milliseconds(), 10),
		"min.insync.replicas":    strconv.Itoa(s.MinISR),
		"message.timestamp.type": stamp,
	}
	if s.MaxBatch > 0 {
		configs["max.message.bytes"] = strconv.Itoa(s.MaxBatch)
	}
	if s.Plain {
		configs["compression.type"] = "uncompressed"
	}
	return configs
}

// Sizing is what the configuration says about topics; retention comes from the
// table in the vocabulary.
type Sizing struct {
	Partitions  int // of topics that carry requests, lanes and statuses
	Replication int
	MinISR      int
}

// ungrouped are the topics that no group of ours reads: they have no dead letters.
var ungrouped = []string{
	mobileid.TopicOut("<client>"), mobileid.TopicMessageStatus, mobileid.TopicSMSInbound, mobileid.TopicRegistryEvents,
}

// edgePartitions is for topics of one client and for dead letters.
const edgePartitions = 3

// TopicSpecs lays out every topic for those operators and clients: the rows of
// mobileid.Topics with their placeholders filled in, and a dead-letter topic
// beside each one that is read by a group.
func TopicSpecs(size Sizing, operators []string, clients []mobileid.Client) []TopicSpec {
	var out []TopicSpec
	var deadLife time.Duration
	for _, row := range mobileid.Topics() {
		if row.Name == mobileid.TopicDLQ("<topic>") {
			deadLife = row.Retention
		}
	}
	add := func(name string, row mobileid.Topic, partitions int) {
		spec := TopicSpec{
			Name: name, Partitions: partitions, Replication: size.Replication, MinISR: size.MinISR, Retention: row.Retention,
		}
		if row.Name == mobileid.TopicIn("<client>") {
			spec.AppendTime, spec.Plain, spec.MaxBatch = true, true, ingressBytes
		}
		out = append(out, spec)
		if !slices.Contains(ungrouped, row.Name) {
			dead := TopicSpec{
				Name: mobileid.TopicDLQ(name), Partitions: 1, Replication: size.Replication, MinISR: size.MinISR,
				Retention: deadLife, MaxBatch: deadLetterBytes,
			}
			out = append(out, dead)
		}
	}
	for _, row := range mobileid.Topics() {
		switch {
		case row.Name == mobileid.TopicDLQ("<topic>"):
		case strings.Contains(row.Name, "<client>"):
			for _, c := range clients {
				if c.Kafka {
					add(strings.ReplaceAll(row.Name, "<client>", c.ID), row, min(edgePartitions, size.Partitions))
				}
			}
		case strings.Contains(row.Name, "<operator>"):
			for _, o := range operators {
				add(strings.ReplaceAll(row.Name, "<operator>", o), row, size.Partitions)
			}
		default:
			add(row.Name, row, size.Partitions)
		}
	}
	return out
}

// What EnsureTopics found or did about one topic or rule.
const (
	actionCreated   = "created"
	actionUnchanged = "unchanged"
	actionDiffers   = "differs" // it exists otherwise than wanted; left as it is
	actionGranted   = "granted"
	actionSkipped   = "skipped" // the broker has no authorizer
)

// TopicReport says what became of one topic or rule.
type TopicReport struct {
	Name        string
	Action      string
	Differences []string // of one that differs, for example "partitions: 6, want 12"
}

// String is one line for a person.
func (r TopicReport) String() string {
	if len(r.Differences) == 0 {
		return r.Action + " " + r.Name
	}
	return r.Action + " " + r.Name + " (" + strings.Join(r.Differences, "; ") + ")"
}

// EnsureTopics makes the missing topics and grants the rules. An existing
// topic is never changed: more partitions would move persons to other
// partitions, and shorter retention would lose records; what differs is
// reported for a person to decide. It may be run again at any time.
func EnsureTopics(ctx context.Context, kc KafkaConfig, topics []TopicSpec, acls []ACL) ([]TopicReport, error) {
	client, release := kc.client()
	defer release()
	existing, err := describeTopics(ctx, client, topics)
	if err != nil {
		return nil, err
	}
	var reports []TopicReport
	for _, spec := range topics {
		have, ok := existing[spec.Name]
		if !ok {
			created, err := createTopic(ctx, client, spec)
			if err != nil {
				return reports, err
			}
			reports = append(reports, created)
			continue
		}
		r := TopicReport{Name: spec.Name, Action: actionUnchanged, Differences: have.differences(spec)}
		if len(r.Differences) > 0 {
			r.Action = actionDiffers
		}
		reports = append(reports, r)
	}
	granted, err := grant(ctx, client, acls)
	return append(reports, granted...), err
}

func createTopic(ctx context.Context, client *kafka.Client, s TopicSpec) (TopicReport, error) {
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	t := kafka.TopicConfig{Topic: s.Name, NumPartitions: s.Partitions, ReplicationFactor: s.Replication}
	configs := s.configs()
	for _, name := range slices.Sorted(maps.Keys(configs)) {
		t.ConfigEntries = append(t.ConfigEntries, kafka.ConfigEntry{ConfigName: name, ConfigValue: configs[name]})
	}
	res, err := client.CreateTopics(ctx, &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{t}})
	if err == nil {
		err = res.Errors[s.Name]
	}
	switch {
	case err == nil:
		return TopicReport{Name: s.Name, Action: actionCreated}, nil
	case errors.Is(err, kafka.TopicAlreadyExists): // somebody was faster, with the same table
		return TopicReport{Name: s.Name, Action: actionUnchanged}, nil
	}
	return TopicReport{}, fmt.Errorf("create topic %s: %w", s.Name, err)
}

// topicState is a topic as it is.
type topicState struct {
	partitions  int
	replication int // the fewest of any partition
	configs     map[string]string
}

func (t topicState) differences(want TopicSpec) []string {
	var out []string
	differ := func(what string, have, want any) {
		out = append(out, fmt.Sprintf("%s: %v, want %v", what, have, want))
	}
	if t.partitions != want.Partitions {
		differ("partitions", t.partitions, want.Partitions)
	}
	if t.replication != want.Replication {
		differ("replication", t.replication, want.Replication)
	}
	configs := want.configs()
	for _, name := range slices.Sorted(maps.Keys(configs)) {
		if have, known := t.configs[name]; known && have != configs[name] {
			differ(name, have, configs[name])
		}
	}
	return out
}

// describeTopics returns those of the topics that exist.
func describeTopics(ctx context.Context, client *kafka.Client, specs []TopicSpec) (map[string]topicState, error) {
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	names := make([]string, len(specs))
	for i, s := range specs {
		names[i] = s.Name
	}
	meta, err := client.Metadata(ctx, &kafka.MetadataRequest{Topics: names})
	if err != nil {
		return nil, fmt.Errorf("describe topics: %w", err)
	}
	out := map[string]topicState{}
	ask := &kafka.DescribeConfigsRequest{}
	for _, t := range meta.Topics {
		if errors.Is(t.Error, kafka.UnknownTopicOrPartition) {
			continue
		}
		if t.Error != nil {
			return nil, fmt.Errorf("describe topic %s: %w", t.Name, t.Error)
		}
		s := topicState{partitions: len(t.Partitions), configs: map[string]string{}}
		for i, p := range t.Partitions {
			if i == 0 || len(p.Replicas) < s.replication {
				s.replication = len(p.Replicas)
			}
		}
		out[t.Name] = s
		ask.Resources = append(ask.Resources, kafka.DescribeConfigRequestResource{
			ResourceType: kafka.ResourceTypeTopic, ResourceName: t.Name,
		})
	}
	if len(ask.Resources) == 0 {
		return out, nil
	}
	res, err := client.DescribeConfigs(ctx, ask)
	if err != nil {
		return nil, fmt.Errorf("describe topics: %w", err)
	}
	for _, r := range res.Resources {
		if r.Error != nil {
			return nil, fmt.Errorf("describe topic %s: %w", r.ResourceName, r.Error)
		}
		for _, c := range r.ConfigEntries {
			out[r.ResourceName].configs[c.ConfigName] = c.ConfigValue
		}
	}
	return out, nil
}

// Production is what "durable" means (README, promise P2).
const (
	productionReplication = 3
	productionMinISR      = 2
)

// CheckDurable returns one sentence for each topic that loses acknowledged
// records when one broker is lost: missing, fewer than 3 replicas, or
// min.insync.replicas below 2. None means durable.
func CheckDurable(ctx context.Context, kc KafkaConfig, topics []string) ([]string, error) {
	client, release := kc.client()
	defer release()
	specs := make([]TopicSpec, len(topics))
	for i, name := range topics {
		specs[i].Name = name
	}
	have, err := describeTopics(ctx, client, specs)
	if err != nil {
		return nil, err
	}
	var problems []string
	for _, name := range topics {
		t, ok := have[name]
		if !ok {
			problems = append(problems, name+": the topic does not exist; run `mobileid topics`")
			continue
		}
		if t.replication < productionReplication {
			problems = append(problems, fmt.Sprintf("%s: %d replicas, production needs %d", name, t.replication, productionReplication))
		}
		isr, err := strconv.Atoi(t.configs["min.insync.replicas"])
		if err != nil || isr < productionMinISR {
			problems = append(problems, fmt.Sprintf("%s: min.insync.replicas is %q, production needs %d",
				name, t.configs["min.insync.replicas"], productionMinISR))
		}
	}
	return problems, nil
}
