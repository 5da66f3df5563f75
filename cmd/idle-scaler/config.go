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
	"idle-scaler/internal/natsconn"
	"idle-scaler/internal/wire"
	"idle-scaler/policy"
	"idle-scaler/scaler"
)

// natsConfig says how to reach NATS. The daemon and the client commands share it.
type natsConfig struct {
	NATS   string // URLs, or inProcess
	Prefix string
	login  natsconn.Options

	subjects wire.Subjects // of the prefix, once that is validated
}

// inProcess as the NATS URL asks for a server inside this process.
const inProcess = "embedded"

func (c *natsConfig) register(flags *pflag.FlagSet) {
	to := &c.login
	flags.StringVar(&c.NATS, "nats", "",
		`NATS URLs, separated by commas; "embedded" runs a server inside the daemon, for one machine (also NATS_URL)`)
	flags.StringVar(&to.CredsFile, "nats-creds", "", "NATS credentials `file`")
	flags.StringVar(&to.NKeyFile, "nats-nkey", "", "NATS nkey seed `file`")
	flags.StringVar(&to.User, "nats-user", "", "NATS user")
	flags.StringVar(&to.Password, "nats-password", "", "NATS password; IDLE_SCALER_NATS_PASSWORD hides it from others")
	flags.StringVar(&to.Token, "nats-token", "", "NATS token; IDLE_SCALER_NATS_TOKEN hides it from others")
	flags.StringVar(&to.CAFile, "nats-ca", "", "`file` with the certificates that sign the one of the NATS server")
	flags.StringVar(&to.CertFile, "nats-cert", "", "`file` with the client certificate for NATS")
	flags.StringVar(&to.KeyFile, "nats-key", "", "`file` with the key of the client certificate")
	flags.StringVar(&to.InboxPrefix, "nats-inbox-prefix", "", "prefix of the inboxes of this user; begins with _INBOX")
	flags.StringVar(&c.Prefix, "prefix", wire.DefaultPrefix, "prefix of all NATS subjects")
}

// problems is all that is wrong with what somebody wrote.
type problems []error

// err returns all problems, with the exit code of a wrong usage.
func (p problems) err() error {
	if len(p) > 0 {
		return coded{errors.Join(p...), exitUsage}
	}
	return nil
}

func (p *problems) require(ok bool, format string, args ...any) {
	if !ok {
		*p = append(*p, fmt.Errorf(format, args...))
	}
}

func (p *problems) check(name string, err error) { p.require(err == nil, "%s: %w", name, err) }

func (p *problems) checkRange(name string, value, least, most time.Duration) {
	p.require(least <= value && value <= most, "%s: %s is not between %s and %s", name, value, least, most)
}

func (p *problems) checkName(name, value string, rule func(string) []string) {
	for _, problem := range rule(value) {
		p.require(false, "%s: %q: %s", name, value, problem)
	}
}

func (c *natsConfig) validate() (p problems) {
	switch c.NATS {
	case "":
		p.require(false, "nats: not set: give --nats nats://HOST:4222, or set NATS_URL; "+
			`"--nats embedded" with "run" needs no server`)
	case inProcess:
	default:
		urls, err := natsconn.ParseURLs(c.NATS)
		if slices.ContainsFunc(urls, func(u *url.URL) bool { return u.Hostname() == inProcess }) {
			err = fmt.Errorf("%q is no server: give it alone, or leave it out", inProcess)
		}
		p.check("nats", err)
	}
	var err error
	c.subjects, err = wire.NewSubjects(c.Prefix)
	p.check("prefix", err)
	o := c.login
	p.require((o.User == "") == (o.Password == ""), "nats-user, nats-password: set both or none")
	p.require((o.CertFile == "") == (o.KeyFile == ""), "nats-cert, nats-key: set both or none")
	err = wire.CheckInboxPrefix(o.InboxPrefix)
	p.require(err == nil, "nats-inbox-prefix %q: %w", o.InboxPrefix, err)
	ways := slices.DeleteFunc([]string{o.CredsFile, o.NKeyFile, o.User, o.Token}, func(s string) bool { return s == "" })
	p.require(len(ways) <= 1, "nats-creds, nats-nkey, nats-user, nats-token: set one of them, not several")
	return p
}

// Config is the configuration of the daemon.
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

	LeaderElect bool
	Election    kube.Election

	Listen    string
	Pprof     bool
	LogLevel  string
	LogFormat string
}

func (c *Config) register(flags *pflag.FlagSet) {
	c.natsConfig.register(flags)
	flags.StringVar(&c.Cluster, "cluster", "default", "name of this cluster, which owns the NATS streams; events name it")
	flags.IntVar(&c.StreamReplicas, "stream-replicas", 1, "replicas of each NATS stream; 3 survive the loss of a server")
	flags.StringVar(&c.EmbeddedDir, "embedded-dir", "idle-scaler-nats", "data `directory` of the embedded NATS server")
	flags.IntVar(&c.EmbeddedPort, "embedded-port", 4222, "loopback `port` of the embedded NATS server; 0 takes a free one")

	flags.StringVar(&c.Kubeconfig, "kubeconfig", "",
		"kubeconfig `file`; default KUBECONFIG, else the account of the pod, else ~/.kube/config")
	flags.StringVar(&c.KubeContext, "kube-context", "", "context of the kubeconfig, if not the current one")
	flags.StringSliceVar(&c.Namespaces, "namespaces", nil, "namespaces to look after, separated by commas; none means all")
	flags.StringVar(&c.Selector, "selector", "app.kubernetes.io/component=mcp-server",
		"label selector of the Deployments to look after")

	registerServers(flags)
	flags.StringVar(&c.Schedule, "schedule", "@every 30s",
		`when to look for idle servers: a cron expression, with seconds if it has six fields, "CRON_TZ=ZONE " before it`)
	flags.DurationVar(&c.MinAwake, "min-awake", time.Minute, "keep a woken server awake at least this long")
	flags.DurationVar(&c.Settle, "settle", 2*time.Minute, "put nothing to sleep for this long after NATS was away")
	flags.DurationVar(&c.StartDeadline, "start-deadline", 10*time.Minute, "how long a server may take to get ready")
	flags.DurationVar(&c.CommandMaxAge, "command-max-age", 10*time.Minute, "how long a command may wait for a daemon")
	flags.DurationVar(&c.MaxWait, "max-wait", 5*time.Minute, "the longest wait that a start or scale request may ask for")

	flags.BoolVar(&c.LeaderElect, "leader-elect", true, "elect a leader by a Lease; without it run only one replica")
	flags.StringVar(&c.Election.Name, "lease-name", "idle-scaler", "name of the Lease")
	flags.StringVar(&c.Election.Namespace, "lease-namespace", "",
		`namespace of the Lease; default the daemon's own, or "default" outside a cluster`)
	flags.DurationVar(&c.Election.LeaseDuration, "lease-duration", 15*time.Second,
		"how long a leader that vanished keeps others from leading")

	flags.StringVar(&c.Listen, "listen", ":8080", "address of /healthz, /readyz and /metrics; empty serves none")
	flags.BoolVar(&c.Pprof, "pprof", false, "serve /debug/pprof/ there too")
	flags.StringVar(&c.LogLevel, "log-level", "info", "debug, info, warn or error")
	flags.StringVar(&c.LogFormat, "log-format", "auto", "text, json, or auto: text on a terminal")
}

// secrets are the flags whose values are not shown.
var secrets = []string{"nats-password", "nats-token"}

// settings are the parts of a valid configuration that are more than their text.
type settings struct {
	servers  policy.Layer // the settings of servers for which nothing else is written
	schedule policy.Schedule
	level    slog.Level
}

// validate returns everything that is wrong, not only the first problem.
func (c *Config) validate() (s settings, p problems) {
	p = c.natsConfig.validate()
	var err error
	s.schedule, err = policy.ParseSchedule(c.Schedule)
	p.check("schedule", err)
	p.require(s.level.UnmarshalText([]byte(c.LogLevel)) == nil,
		"log-level: %q is none of debug, info, warn, error", c.LogLevel)
	_, err = kube.ParseSelector(c.Selector)
	p.check("selector", err)
	p.require(strings.TrimSpace(c.Selector) != "" || len(c.Namespaces) > 0,
		"selector: empty, it takes every Deployment of the cluster, also those of the system: "+
			"name a label, or name namespaces")
	_, _, err = net.SplitHostPort(c.Listen)
	p.require(err == nil || c.Listen == "",
		`listen: %q: write a port, with or without the host before it, like ":8080"; empty serves none`, c.Listen)
	p.require(c.EmbeddedPort >= 0 && c.EmbeddedPort <= 65535, "embedded-port: %d is not a port", c.EmbeddedPort)
	p.require(slices.Contains([]string{"auto", "text", "json"}, c.LogFormat),
		"log-format: %q is none of auto, text, json", c.LogFormat)
	p.require(c.StreamReplicas >= 1 && c.StreamReplicas <= 5,
		"stream-replicas: %d is not between 1 and 5, which is what NATS allows", c.StreamReplicas)
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-" // they become part of a URI
	p.require(c.Cluster != "" && strings.Trim(c.Cluster, letters) == "",
		"cluster: %q: name the cluster by letters, digits, \".\", \"_\" and \"-\", like \"prod-eu\"", c.Cluster)
	for _, namespace := range c.Namespaces {
		p.checkName("namespaces", namespace, validation.IsDNS1123Label)
	}
	p.checkName("lease-name", c.Election.Name, validation.IsDNS1123Subdomain)
	if c.Election.Namespace != "" {
		p.checkName("lease-namespace", c.Election.Namespace, validation.IsDNS1123Label)
	}
	p.checkRange("min-awake", c.MinAwake, 0, 24*time.Hour)
	p.checkRange("settle", c.Settle, 0, time.Hour)
	p.checkRange("start-deadline", c.StartDeadline, time.Second, 24*time.Hour)
	p.checkRange("command-max-age", c.CommandMaxAge, time.Second, 24*time.Hour)
	p.checkRange("max-wait", c.MaxWait, time.Second, time.Hour)
	p.checkRange("lease-duration", c.Election.LeaseDuration, 3*time.Second, 5*time.Minute)
	return s, p
}

// scaler returns the configuration of the domain.
func (c *Config) scaler() scaler.Config {
	s := scaler.DefaultConfig()
	s.Self.Name = c.Cluster
	s.Rules = policy.Rules{MinAwake: c.MinAwake, StartDeadline: c.StartDeadline}
	s.CommandMaxAge, s.MaxWait = c.CommandMaxAge, c.MaxWait
	return s
}
