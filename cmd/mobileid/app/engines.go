package app

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"

	"github.com/redis/go-redis/v9"
	"github.com/segmentio/kafka-go/sasl/scram"

	"mobileid/cmd/mobileid/config"
	"mobileid/consumers"
	"mobileid/otp"
)

// kafkaConfig reads how to reach the cluster.
func kafkaConfig(cfg config.Kafka) (consumers.KafkaConfig, error) {
	kc := consumers.KafkaConfig{Brokers: cfg.Brokers, ClientID: "mobileid"}
	if cfg.TLS {
		kc.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
		if cfg.CAFile != "" {
			pem, err := os.ReadFile(cfg.CAFile)
			if err != nil {
				return kc, fmt.Errorf("kafka.ca_file: %w", err)
			}
			kc.TLS.RootCAs = x509.NewCertPool()
			if !kc.TLS.RootCAs.AppendCertsFromPEM(pem) {
				return kc, errors.New("kafka.ca_file: no PEM certificate in it")
			}
		}
	}
	if cfg.SASLUser != "" {
		mechanism, err := scram.Mechanism(scram.SHA512, cfg.SASLUser, cfg.SASLPass.Reveal())
		if err != nil {
			return kc, fmt.Errorf("kafka.sasl_user: %w", err)
		}
		kc.SASL = mechanism
	}
	return kc, nil
}

func redisClient(cfg config.Redis) redis.UniversalClient {
	opts := otp.RedisOptions(cfg.Addrs, cfg.Password.Reveal())
	opts.IsClusterMode = cfg.Cluster
	return redis.NewUniversalClient(opts)
}

func otpKeys(keys []config.OTPKey) []otp.Key {
	out := make([]otp.Key, len(keys))
	for i, k := range keys {
		out[i] = otp.Key{ID: k.ID, Secret: []byte(k.Secret.Reveal())}
	}
	return out
}
