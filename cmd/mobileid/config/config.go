// Package config reads the one YAML file of the program.
//
// Its promise: a wrong file is refused whole, with every mistake listed at
// once by its path, before anything is opened; an unknown key is a mistake; a
// secret is named by where it lives (env: or file:), never written in the
// file, and never printed.
package config

import (
	"time"

	"mobileid/consumers/texts"
	"mobileid/gateway/receipt"
	"mobileid/internal/mobileid"
	"mobileid/registry/ledger"
)

// Config is the file. config.sample.yaml beside the README is its manual: each
// field is explained there, and a test reads it strictly.
type Config struct {
	HTTP      HTTP      `yaml:"http"`
	Postgres  Postgres  `yaml:"postgres"`
	Redis     Redis     `yaml:"redis"`
	Kafka     Kafka     `yaml:"kafka"`
	Keys      Keys      `yaml:"keys"`
	Auth      Auth      `yaml:"auth"`
	Receipts  Receipts  `yaml:"receipts"`
	Deadlines Deadlines `yaml:"deadlines"`
	Ledger    Ledger    `yaml:"ledger"`
	Charging  Charging  `yaml:"charging"`
	Limits    Limits    `yaml:"limits"`
	Purposes  []Purpose `yaml:"purposes"`
	Clients   []Client  `yaml:"clients"`
	Numbers   []Number  `yaml:"numbers"`
	// NumberInfo is asked about numbers that no table knows.
	NumberInfo NumberInfo `yaml:"number_info"`
	// SIMSwap is asked whether a SIM was changed, for the purposes that want to know.
	SIMSwap SIMSwap `yaml:"sim_swap"`
	// Statuses are laid over statuses.yaml for all operators; each one's own
	// rows over both.
	Statuses []Status `yaml:"statuses"`
	// OperatorFiles are the files of the operators, relative to this one.
	OperatorFiles []string   `yaml:"operators"`
	Operators     []Operator `yaml:"-"` // as read from them
	// TariffFile is the file of tariffs, relative to this one.
	TariffFile string          `yaml:"tariffs"`
	Tariffs    []ledger.Tariff `yaml:"-"` // as read from it
	// Texts is the catalogue that all of it was checked against, and which is sent.
	// No key names it: the program carries its texts.
	Texts *texts.Catalogue `yaml:"-"`
}

// HTTP says where the program listens.
type HTTP struct {
	Listen string `yaml:"listen"` // the public API
	Admin  string `yaml:"admin"`  // metrics and pprof; keep it inside
}

// Postgres is the record of truth.
type Postgres struct {
	DSN      Secret `yaml:"dsn"`
	MaxConns int32  `yaml:"max_conns"`
	// LessDurable lets serve run without a synchronous standby.
	LessDurable bool `yaml:"allow_less_durable"`
}

// Redis holds live codes, quotas and idempotency keys.
type Redis struct {
	Addrs    []string `yaml:"addrs"` // more than one, or cluster: true = Redis Cluster
	Cluster  bool     `yaml:"cluster"`
	Password Secret   `yaml:"password"`
}

// Kafka carries requests, ids and statuses.
type Kafka struct {
	Brokers     []string `yaml:"brokers"`
	TLS         bool     `yaml:"tls"`
	CAFile      string   `yaml:"ca_file"`
	SASLUser    string   `yaml:"sasl_user"` // SCRAM-SHA-512 when set
	SASLPass    Secret   `yaml:"sasl_password"`
	Partitions  int      `yaml:"partitions"`
	Replication int      `yaml:"replication"`
	MinInsync   int      `yaml:"min_insync"`
	ACLs        bool     `yaml:"acls"`               // `mobileid topics` writes ACLs
	LessDurable bool     `yaml:"allow_less_durable"` // serve with replication < 3 or min_insync < 2
}

// Keys are the secrets of our own. docs/architecture.md says what each opens.
type Keys struct {
	ID            Secret   `yaml:"id"`
	Pseudonym     Secret   `yaml:"pseudonym"`
	OTP           []OTPKey `yaml:"otp"`      // the first signs, the others still verify
	Receipts      []OTPKey `yaml:"receipts"` // P-256, PEM: the first signs, all are published
	BridgePublic  string   `yaml:"bridge_public"`
	BridgePrivate []Secret `yaml:"bridge_private"` // the bridge role only
	DLQPublic     string   `yaml:"dlq_public"`
	DLQPrivate    []Secret `yaml:"dlq_private"` // `mobileid dlq` only
}

// OTPKey is an HMAC key of live codes.
type OTPKey struct {
	ID     string `yaml:"id"`
	Secret Secret `yaml:"secret"`
}

// Receipts are what confirmations are signed as.
type Receipts struct {
	Issuer string `yaml:"issuer"` // iss: the URL that the public API has outside
}

// ReceiptKeys returns the keys that sign receipts, the first signs.
func (c *Config) ReceiptKeys() ([]receipt.Key, error) {
	var keys []receipt.Key
	for _, k := range c.Keys.Receipts {
		key, err := receipt.ParseKey(k.ID, []byte(k.Secret.Reveal()))
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// Auth says whose tokens are believed.
type Auth struct {
	Issuer   string `yaml:"issuer"`
	Audience string `yaml:"audience"`
	JWKSURL  string `yaml:"jwks_url"`
}

// Deadlines bound how long a request may wait.
type Deadlines struct {
	CodeAccept time.Duration `yaml:"code_accept"` // a code asked for is issued within this, or expires
	Notice     time.Duration `yaml:"notice"`      // a notice reaches the operator within this, or expires
	Receipt    time.Duration `yaml:"receipt"`     // how long after its deadline a Message waits for its receipt
	Grace      time.Duration `yaml:"grace"`       // how much later than its deadline a request surely has ended
}

// Ledger is what is done about the books while the system runs.
type Ledger struct {
	CheckEvery time.Duration `yaml:"check_every"` // between checks of all balances, for the metrics
}

// Charging says what is done about the money of subscribers.
type Charging struct {
	// WarnBelow is for how many Messages a known balance must be enough, or its
	// person is warned; 0 = never.
	WarnBelow int `yaml:"warn_below"`
}

// Limits say how often codes may be asked for.
type Limits struct {
	Resend Resend `yaml:"resend"`
	// Codes over all clients, and more of whom nobody has seen.
	Person []CodeRule `yaml:"person"`
	Absent []CodeRule `yaml:"absent"`
	Number []CodeRule `yaml:"number"`
	Wrong  Wrong      `yaml:"wrong"`
}

// CodeRule bounds codes: most at once, then evenly most in every per.
type CodeRule struct {
	Most int           `yaml:"most"`
	Per  time.Duration `yaml:"per"`
}

// Wrong is about wrong codes.
type Wrong struct {
	Pause time.Duration `yaml:"pause"` // of a person with a client, after the last try of a challenge
	Day   int           `yaml:"day"`   // of a person over all clients, before he must show his face
}

// Resend is about the codes of one challenge.
type Resend struct {
	After time.Duration `yaml:"after"` // from one code to the next
	Most  int           `yaml:"most"`  // codes after the first
}

// Purpose is why a code may be asked (decree clause 29).
type Purpose struct {
	ID     string        `yaml:"id"`
	Use    mobileid.Use  `yaml:"use"`
	Basis  string        `yaml:"basis"` // empty: decree clause 29, or 16 and 25 for an enrollment
	TextID string        `yaml:"text_id"`
	Life   time.Duration `yaml:"life"`
	Digits int           `yaml:"digits"`
	Tries  int           `yaml:"tries"`

	SIMMaxAge  time.Duration         `yaml:"sim_max_age"` // whole hours; 0 = nobody is asked
	SIMUnknown mobileid.SIMUnknownIs `yaml:"sim_unknown"` // allow | step_up; empty = allow
}

// Client is a relying party's account, or an operator's.
type Client struct {
	ID         string    `yaml:"id"`
	Scopes     []string  `yaml:"scopes"`
	Purposes   []string  `yaml:"purposes"`
	Services   []Service `yaml:"services"`   // what it offers; none: one ordinary service
	Disclosure string    `yaml:"disclosure"` // full | blind
	Mode       string    `yaml:"mode"`       // live | test
	Quota      Quota     `yaml:"quota"`
	Operator   string    `yaml:"operator"`  // whose accounts it tells of; "" = nobody's
	Kafka      bool      `yaml:"kafka"`     // has in.<client> and out.<client>
	Principal  string    `yaml:"principal"` // of its topics, for example User:oneid
}

// Service is what a relying party asks codes for.
type Service struct {
	ID    string                `yaml:"id"`
	Class mobileid.ServiceClass `yaml:"class"` // ordinary | lending, for which there are no codes
}

// Quota is a client's rate: rate in every per, burst at once.
type Quota struct {
	Rate  int           `yaml:"rate"`
	Per   time.Duration `yaml:"per"`
	Burst int           `yaml:"burst"`
}

// Number is a row of the dated table of network codes.
type Number struct {
	Code     string `yaml:"code"`
	Operator string `yaml:"operator"`
	From     string `yaml:"from"`  // YYYY-MM-DD, Asia/Tashkent
	Until    string `yaml:"until"` // exclusive; empty = in force
}

// NumberInfo is the operators' service that says who serves a number.
type NumberInfo struct {
	URL      string        `yaml:"url"` // empty = there is none to ask
	Token    Secret        `yaml:"token"`
	Budget   time.Duration `yaml:"budget"`
	Cache    int           `yaml:"cache"`     // answers kept by a process
	CacheAge time.Duration `yaml:"cache_age"` // how long one is believed
}

// SIMSwap is the operators' service that says whether a SIM was changed lately.
type SIMSwap struct {
	URL    string        `yaml:"url"` // of CAMARA SIM Swap, version included; empty = there is none to ask
	Token  Secret        `yaml:"token"`
	Budget time.Duration `yaml:"budget"`
}

// OperatorIDs returns the ids of the operators.
func (c *Config) OperatorIDs() []string {
	ids := make([]string, len(c.Operators))
	for i, o := range c.Operators {
		ids[i] = o.ID
	}
	return ids
}

// ClientSet returns the clients by id, in the vocabulary's type.
func (c *Config) ClientSet() map[string]mobileid.Client {
	out := make(map[string]mobileid.Client, len(c.Clients))
	for _, cl := range c.Clients {
		scopes := make([]mobileid.Scope, len(cl.Scopes))
		for i, s := range cl.Scopes {
			scopes[i] = mobileid.Scope(s)
		}
		services := make([]mobileid.Service, len(cl.Services))
		for i, s := range cl.Services {
			services[i] = mobileid.Service(s)
		}
		out[cl.ID] = mobileid.Client{
			ID: cl.ID, Scopes: scopes, Purposes: cl.Purposes, Services: services,
			Disclosure: mobileid.Disclosure(cl.Disclosure), Mode: mobileid.Mode(cl.Mode),
			Quota: mobileid.Quota(cl.Quota), Operator: cl.Operator, Kafka: cl.Kafka, Principal: cl.Principal,
		}
	}
	return out
}

// CodeLimits returns the bounds of codes, in the vocabulary's type.
func (c *Config) CodeLimits() mobileid.CodeLimits {
	rules := func(list []CodeRule) (out []mobileid.CodeRule) {
		for _, r := range list {
			out = append(out, mobileid.CodeRule(r))
		}
		return out
	}
	l := c.Limits
	return mobileid.CodeLimits{Person: rules(l.Person), Absent: rules(l.Absent), Number: rules(l.Number)}
}

// PurposeSet returns the purposes by id, in the vocabulary's type.
func (c *Config) PurposeSet() map[string]mobileid.Purpose {
	out := make(map[string]mobileid.Purpose, len(c.Purposes))
	for _, p := range c.Purposes {
		out[p.ID] = mobileid.Purpose(p)
	}
	return out
}
