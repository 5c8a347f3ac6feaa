package consumers

import (
	"context"
	"errors"
	"fmt"

	"github.com/segmentio/kafka-go"

	"mobileid/internal/mobileid"
)

// ACL allows a principal one operation on topics or on groups whose names
// start with GroupPrefix. Kafka denies what is not allowed.
type ACL struct {
	Principal   string // for example "User:oneid"
	Topic       string // exact name; "" for a group rule
	GroupPrefix string // "" for a topic rule
	Operation   operation
}

// operation is what an ACL allows.
type operation string

// The operations.
const (
	opRead  operation = "read" // implies describe
	opWrite operation = "write"
)

// String is one line for a person.
func (a ACL) String() string {
	if a.Topic != "" {
		return fmt.Sprintf("%s may %s %s", a.Principal, a.Operation, a.Topic)
	}
	return fmt.Sprintf("%s may %s with groups %s*", a.Principal, a.Operation, a.GroupPrefix)
}

// ClientACLs are the rules of a client with topics: it alone writes its
// in.<client>, and it reads its out.<client> with groups named after itself.
func ClientACLs(c mobileid.Client) []ACL {
	if !c.Kafka || c.Principal == "" {
		return nil
	}
	return []ACL{
		{Principal: c.Principal, Topic: mobileid.TopicIn(c.ID), Operation: opWrite},
		{Principal: c.Principal, Topic: mobileid.TopicOut(c.ID), Operation: opRead},
		// The dot keeps client "tax" out of the groups of client "taxi".
		{Principal: c.Principal, GroupPrefix: c.ID + ".", Operation: opRead},
	}
}

func (a ACL) entry() kafka.ACLEntry {
	e := kafka.ACLEntry{
		ResourceType: kafka.ResourceTypeTopic, ResourceName: a.Topic, ResourcePatternType: kafka.PatternTypeLiteral,
		Principal: a.Principal, Host: "*", Operation: kafka.ACLOperationTypeRead, PermissionType: kafka.ACLPermissionTypeAllow,
	}
	if a.Topic == "" {
		e.ResourceType, e.ResourceName, e.ResourcePatternType = kafka.ResourceTypeGroup, a.GroupPrefix, kafka.PatternTypePrefixed
	}
	if a.Operation == opWrite {
		e.Operation = kafka.ACLOperationTypeWrite
	}
	return e
}

// grant creates the rules; Kafka takes one that exists already as done.
func grant(ctx context.Context, client *kafka.Client, acls []ACL) ([]TopicReport, error) {
	if len(acls) == 0 {
		return nil, nil
	}
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	req := &kafka.CreateACLsRequest{}
	for _, a := range acls {
		req.ACLs = append(req.ACLs, a.entry())
	}
	res, err := client.CreateACLs(ctx, req)
	if err != nil {
		return nil, fmt.Errorf("grant: %w", err)
	}
	reports := make([]TopicReport, len(acls))
	for i, a := range acls {
		reports[i] = TopicReport{Name: a.String(), Action: actionGranted}
		if i >= len(res.Errors) || res.Errors[i] == nil {
			continue
		}
		if errors.Is(res.Errors[i], kafka.SecurityDisabled) {
			reports[i].Action = actionSkipped
			reports[i].Differences = []string{"the broker has no authorizer: whoever reaches it may do everything"}
			continue
		}
		return reports[:i], fmt.Errorf("grant: %s: %w", a, res.Errors[i])
	}
	return reports, nil
}
