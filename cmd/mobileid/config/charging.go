package config

import (
	"strings"
	"time"

	"mobileid/internal/mobileid"
	"mobileid/smpp/diameter"
)

// Diameter is an operator's charging system. operator.sample.yaml is the manual.
type Diameter struct {
	OriginHost       string                   `yaml:"origin_host"`
	OriginRealm      string                   `yaml:"origin_realm"`
	SessionHost      string                   `yaml:"session_host"`
	DestinationRealm string                   `yaml:"destination_realm"`
	ServiceContext   string                   `yaml:"service_context"`
	Peers            []DiameterPeer           `yaml:"peers"`
	Mode             diameter.Mode            `yaml:"mode"`
	FailureHandling  diameter.FailureHandling `yaml:"failure_handling"`
	DebitFailure     diameter.DebitFailure    `yaml:"debit_failure"`
	PlainUnits       bool                     `yaml:"plain_units"`
	Services         []DiameterService        `yaml:"services"`
	Sender           string                   `yaml:"sender"`
	Tx               time.Duration            `yaml:"tx"`
	Tw               time.Duration            `yaml:"tw"`
}

// DiameterPeer is a node that is connected to.
type DiameterPeer struct {
	Name            string `yaml:"name"`
	Address         string `yaml:"address"`
	DestinationHost string `yaml:"destination_host"`
}

// DiameterService is what a kind of Message is for the charging system.
type DiameterService struct {
	Kind        string `yaml:"kind"`
	Identifier  uint32 `yaml:"identifier"`
	RatingGroup uint32 `yaml:"rating_group"`
}

// hostPlaceholder stands in origin_host for the name of the machine.
const hostPlaceholder = "{host}"

// Client is the charging system as its client needs it, on a machine of that name.
func (d Diameter) Client(host string) diameter.Config {
	c := diameter.Config{
		OriginHost: strings.ReplaceAll(d.OriginHost, hostPlaceholder, host), OriginRealm: d.OriginRealm, SessionHost: d.SessionHost,
		DestinationRealm: d.DestinationRealm, ServiceContext: d.ServiceContext, Mode: d.Mode, FailureHandling: d.FailureHandling,
		DebitFailure: d.DebitFailure, PlainUnits: d.PlainUnits, Sender: d.Sender, Tx: d.Tx, Tw: d.Tw,
		Services: map[string]diameter.Service{},
	}
	for _, p := range d.Peers {
		c.Peers = append(c.Peers, diameter.Peer{Name: p.Name, Address: p.Address, DestinationHost: p.DestinationHost})
	}
	for _, s := range d.Services {
		c.Services[s.Kind] = diameter.Service{Identifier: s.Identifier, RatingGroup: s.RatingGroup}
	}
	return c
}

func defaultDiameter() Diameter {
	return Diameter{
		ServiceContext: "8.32274@3gpp.org", Mode: diameter.ECUR, FailureHandling: diameter.Continue,
		DebitFailure: diameter.TerminateOrBuffer, Tx: 3 * time.Second, Tw: 30 * time.Second,
		Peers: []DiameterPeer{}, Services: []DiameterService{},
	}
}

// checkDiameter adds what is wrong with a charging system that is asked.
func (o Operator) checkDiameter(wrong *Mistakes) {
	if o.Charging.By != mobileid.ChargingDiameter && len(o.Diameter.Peers) == 0 {
		return
	}
	client := o.Diameter.Client("host")
	for _, m := range client.Check() {
		wrong.addf("diameter."+m.Path, "%s", m.Text)
	}
	if o.Charging.Timeout < 2*o.Diameter.Tx {
		wrong.addf("charging.timeout", "at least twice diameter.tx: the other peer needs its time, too")
	}
}
