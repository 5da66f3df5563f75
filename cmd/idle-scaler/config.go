package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/util/validation"

	"idle-scaler/internal/kube"
	"idle-scaler/internal/wire"
	"idle-scaler/policy"
	"idle-scaler/scaler"
)

// natsConfig says how to reach NATS. The daemon and the client commands share it.
type natsConfig struct {
	NATS     string
	Creds    string
	NKey     string
	User     string
	Password string
	Token    string
	CA       string
	Cert     string
	Key      string
	Inbox    string
	Prefix   string
}

// inProcess as the NATS URL asks for a server inside this process.
const inProcess = "embedded"

func (c *natsConfig) register(flags *pflag.FlagSet) {
	flags.StringVar(&c.NATS, "nats", "", "NATS URLs, separated by commas; \"embedded\" runs a server inside the daemon, for one machine (also NATS_URL)")
	flags.StringVar(&c.Creds, "nats-creds", "", "NATS credentials `file`")
	flags.StringVar(&c.NKey, "nats-nkey", "", "NATS nkey seed `file`")
	flags.StringVar(&c.User, "nats-user", "", "NATS user")
	flags.StringVar(&c.Password, "nats-password", "", "NATS password; better set by IDLE_SCALER_NATS_PASSWORD, where other processes don't see it")
	flags.StringVar(&c.Token, "nats-token", "", "NATS token; better set by IDLE_SCALER_NATS_TOKEN")
	flags.StringVar(&c.CA, "nats-ca", "", "`file` with the certificates that sign the NATS server's")
	flags.StringVar(&c.Cert, "nats-cert", "", "`file` with the client certificate for NATS")
	flags.StringVar(&c.Key, "nats-key", "", "`file` with the key of the client certificate")
	flags.StringVar(&c.Inbox, "nats-inbox-prefix", "", "prefix of the inbox for answers, for an account that has one of its own; begins with _INBOX")
	flags.StringVar(&c.Prefix, "prefix", wire.DefaultPrefix, "prefix of all NATS subjects")
}

func (c *natsConfig) validate() (errs []error) {
	switch c.NATS {
	case "":
		errs = append(errs, errors.New(`nats: not set: give --nats nats://HOST:4222, or set NATS_URL; "--nats embedded" with "run" needs no server`))
	case inProcess:
	default:
		if _, err := natsURLs(c.NATS); err != nil {
			errs = append(errs, fmt.Errorf("nats: %w", err))
		}
	}
	if _, err := wire.NewSubjects(c.Prefix); err != nil {
		errs = append(errs, fmt.Errorf("prefix: %w", err))
	}
	if (c.User == "") != (c.Password == "") {
		errs = append(errs, errors.New("nats-user, nats-password: set both or none"))
	}
	if (c.Cert == "") != (c.Key == "") {
		errs = append(errs, errors.New("nats-cert, nats-key: set both or none"))
	}
	if err := wire.CheckInboxPrefix(c.Inbox); err != nil {
		errs = append(errs, fmt.Errorf("nats-inbox-prefix %q: %w", c.Inbox, err))
	}
	given := 0
	for _, s := range []string{c.Creds, c.NKey, c.User, c.Token} {
		if s != "" {
			given++
		}
	}
	if given > 1 {
		errs = append(errs, errors.New("nats-creds, nats-nkey, nats-user, nats-token: set one of them, not several"))
	}
	return errs
}

// natsURLs reads a list of URLs. What nats.go takes for one without a scheme gets it. The errors don't show what may be a password.
func natsURLs(text string) ([]string, error) {
	urls := strings.Split(text, ",")
	for i, one := range urls {
		if one = strings.TrimSpace(one); !strings.Contains(one, "://") {
			one = "nats://" + one
		}
		u, err := url.Parse(one)
		if err != nil || u.Hostname() == "" || !slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme) {
			return nil, fmt.Errorf("URL number %d can't be read (it is not shown, as it may hold a password): write it like nats://HOST:4222", i+1)
		}
		if u.Hostname() == inProcess {
			return nil, fmt.Errorf("%q is no server: give it alone, or leave it out", inProcess)
		}
		urls[i] = one
	}
	return urls, nil
}

// Config is all that the daemon can be told.
type Config struct {
	natsConfig

	Cluster        string
	StreamReplicas int
	EmbeddedDir    string
	EmbeddedPort   int

	Kubeconfig  string
	KubeContext string
	Namespaces  []string
	Selector    string

	Schedule      string
	MinAwake      time.Duration
	Settle        time.Duration
	StartDeadline time.Duration
	CommandMaxAge time.Duration
	MaxWait       time.Duration

	LeaderElect    bool
	LeaseName      string
	LeaseNamespace string
	LeaseDuration  time.Duration

	Listen    string
	Pprof     bool
	LogLevel  string
	LogFormat string
}

func (c *Config) register(flags *pflag.FlagSet) {
	c.natsConfig.register(flags)
	flags.StringVar(&c.Cluster, "cluster", "default", "name of this cluster: the owner of the NATS streams, and the source of the events")
	flags.IntVar(&c.StreamReplicas, "stream-replicas", 1, "replicas of each NATS stream; 3 survives the loss of a NATS server")
	flags.StringVar(&c.EmbeddedDir, "embedded-dir", "idle-scaler-nats", "data `directory` of the embedded NATS server")
	flags.IntVar(&c.EmbeddedPort, "embedded-port", 4222, "`port` of the embedded NATS server, on the loopback address; 0 takes a free one")

	flags.StringVar(&c.Kubeconfig, "kubeconfig", "", "kubeconfig `file`; without it KUBECONFIG, the pod's own account, or ~/.kube/config")
	flags.StringVar(&c.KubeContext, "kube-context", "", "context of the kubeconfig, if not the current one")
	flags.StringSliceVar(&c.Namespaces, "namespaces", nil, "namespaces to look after, separated by commas; none means all")
	flags.StringVar(&c.Selector, "selector", "app.kubernetes.io/component=mcp-server", "label selector of the Deployments to look after")

	registerServers(flags)
	flags.StringVar(&c.Schedule, "schedule", "@every 30s", `when to look for idle servers: a cron expression, with seconds if it has six fields, "CRON_TZ=ZONE " before it`)
	flags.DurationVar(&c.MinAwake, "min-awake", time.Minute, "a server that was woken stays awake at least this long")
	flags.DurationVar(&c.Settle, "settle", 2*time.Minute, "after NATS was away, nothing sleeps for this long")
	flags.DurationVar(&c.StartDeadline, "start-deadline", 10*time.Minute, "a server that is not ready after this long has failed")
	flags.DurationVar(&c.CommandMaxAge, "command-max-age", 10*time.Minute, "a command that waited longer for a daemon is not applied any more")
	flags.DurationVar(&c.MaxWait, "max-wait", 5*time.Minute, "the longest wait that a start or scale request may ask for")

	flags.BoolVar(&c.LeaderElect, "leader-elect", true, "let one of several replicas lead, by a Lease; without it there must be only one")
	flags.StringVar(&c.LeaseName, "lease-name", "idle-scaler", "name of the Lease")
	flags.StringVar(&c.LeaseNamespace, "lease-namespace", "", "namespace of the Lease; default the daemon's own, or \"default\" outside a cluster")
	flags.DurationVar(&c.LeaseDuration, "lease-duration", 15*time.Second, "how long a leader that vanished keeps others from leading")

	flags.StringVar(&c.Listen, "listen", ":8080", "address of /healthz, /readyz and /metrics; empty serves none")
	flags.BoolVar(&c.Pprof, "pprof", false, "serve /debug/pprof/ there too")
	flags.StringVar(&c.LogLevel, "log-level", "info", "debug, info, warn or error")
	flags.StringVar(&c.LogFormat, "log-format", "auto", "text, json, or auto: text on a terminal")
}

// secrets are the flags whose values are not shown.
var secrets = []string{"nats-password", "nats-token"}

// settings are the parts of a valid configuration that are more than their text.
type settings struct {
	servers  policy.Layer // how servers are treated of which nothing else is written
	schedule policy.Schedule
	level    slog.Level
}

// validate returns everything that is wrong, not the first only.
func (c *Config) validate() (s settings, errs []error) {
	errs = c.natsConfig.validate()
	check := func(name string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
		}
	}
	var err error
	s.schedule, err = policy.ParseSchedule(c.Schedule)
	check("schedule", err)
	if s.level.UnmarshalText([]byte(c.LogLevel)) != nil {
		check("log-level", fmt.Errorf("%q is none of debug, info, warn, error", c.LogLevel))
	}
	_, err = kube.ParseSelector(c.Selector)
	check("selector", err)
	if strings.TrimSpace(c.Selector) == "" && len(c.Namespaces) == 0 {
		check("selector", errors.New("empty, it takes every Deployment of the cluster, those of the system too: name a label, or name namespaces"))
	}
	if c.Listen != "" {
		if _, _, err = net.SplitHostPort(c.Listen); err != nil {
			check("listen", fmt.Errorf("%q: write a port, with or without the host before it, like \":8080\"; empty serves none", c.Listen))
		}
	}
	if c.EmbeddedPort < 0 || c.EmbeddedPort > 65535 {
		check("embedded-port", fmt.Errorf("%d is not a port", c.EmbeddedPort))
	}
	if !slices.Contains([]string{"auto", "text", "json"}, c.LogFormat) {
		check("log-format", fmt.Errorf("%q is none of auto, text, json", c.LogFormat))
	}
	if c.StreamReplicas < 1 || c.StreamReplicas > 5 {
		check("stream-replicas", fmt.Errorf("%d is not between 1 and 5, which is what NATS allows", c.StreamReplicas))
	}
	for _, ns := range c.Namespaces {
		if problems := validation.IsDNS1123Label(ns); len(problems) > 0 {
			check("namespaces", fmt.Errorf("%q: %s", ns, problems[0]))
		}
	}
	check("cluster", validName(c.Cluster))
	if problems := validation.IsDNS1123Subdomain(c.LeaseName); len(problems) > 0 {
		check("lease-name", fmt.Errorf("%q: %s", c.LeaseName, problems[0]))
	}
	if problems := validation.IsDNS1123Label(c.LeaseNamespace); c.LeaseNamespace != "" && len(problems) > 0 {
		check("lease-namespace", fmt.Errorf("%q: %s", c.LeaseNamespace, problems[0]))
	}
	for _, d := range []struct {
		name     string
		value    time.Duration
		min, max time.Duration
	}{
		{"min-awake", c.MinAwake, 0, 24 * time.Hour},
		{"settle", c.Settle, 0, time.Hour},
		{"start-deadline", c.StartDeadline, time.Second, 24 * time.Hour},
		{"command-max-age", c.CommandMaxAge, time.Second, 24 * time.Hour},
		{"max-wait", c.MaxWait, time.Second, time.Hour},
		{"lease-duration", c.LeaseDuration, 3 * time.Second, 5 * time.Minute},
	} {
		if d.value < d.min || d.value > d.max {
			check(d.name, fmt.Errorf("%s is not between %s and %s", d.value, d.min, d.max))
		}
	}
	return s, errs
}

// validName checks the name of the cluster, which becomes a part of the source of every event: a URI.
func validName(name string) error {
	if name == "" || strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") != "" {
		return fmt.Errorf("%q: name the cluster by letters, digits, \".\", \"_\" and \"-\", like \"prod-eu\"", name)
	}
	return nil
}

// scaler returns what the domain is told of all this.
func (c *Config) scaler() scaler.Config {
	s := scaler.DefaultConfig()
	s.Self.Name = c.Cluster
	s.Rules = policy.Rules{MinAwake: c.MinAwake, StartDeadline: c.StartDeadline}
	s.CommandMaxAge, s.MaxWait = c.CommandMaxAge, c.MaxWait
	return s
}
