package engines

import (
	"fmt"
	"os"

	"github.com/twmb/franz-go/pkg/kfake"
)

// Kafka is one broker inside this process that speaks the real protocol over
// TCP on 127.0.0.1.
type Kafka struct {
	cluster *kfake.Cluster
	lock    *folderLock
}

// StartKafka starts the broker on a free port. With a folder, every record,
// topic, group and offset is in it, each batch flushed to disk before it is
// acknowledged, so that a restart on the same folder continues where kill -9
// interrupted; with "" everything is in memory. Topics are never created by
// asking for them.
func StartKafka(dir string) (*Kafka, error) {
	opts := []kfake.Opt{kfake.NumBrokers(1), kfake.ClusterID("mobileid")}
	k := &Kafka{}
	if dir != "" {
		err := os.MkdirAll(dir, 0o700)
		if err != nil {
			return nil, fmt.Errorf("kafka folder: %w", err)
		}
		k.lock, err = lockFolder(dir)
		if err != nil {
			return nil, fmt.Errorf("kafka folder: %w", err)
		}
		opts = append(opts, kfake.DataDir(dir), kfake.SyncWrites())
	}
	var err error
	k.cluster, err = kfake.NewCluster(opts...)
	if err != nil {
		if k.lock != nil {
			k.lock.release()
		}
		return nil, fmt.Errorf("start kafka: %w", err)
	}
	return k, nil
}

// Brokers returns the bootstrap addresses, host:port.
func (k *Kafka) Brokers() []string { return k.cluster.ListenAddrs() }

// Cluster returns the broker itself, for tests that inject faults.
func (k *Kafka) Cluster() *kfake.Cluster { return k.cluster }

// Stop writes what is open to disk and closes every connection.
func (k *Kafka) Stop() {
	k.cluster.Close()
	if k.lock != nil {
		k.lock.release()
	}
}
