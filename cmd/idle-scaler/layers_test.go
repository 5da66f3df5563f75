package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"sigs.k8s.io/yaml"

	"idle-scaler/policy"
)

func writeFile(t *testing.T, content string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// A flag beats the environment, which beats the file, which beats the default. "config" says which
// one it was.
func TestPrecedence(t *testing.T) {
	for _, test := range []struct {
		name string
		file string
		env  string // NAME=VALUE
		args string
		want string // a line of config; FILE stands for the file
	}{
		{"the default", ``, "", "", `idle-after: "30m" # default`},
		{"the file", `idle-after: 1h`, "", "", `idle-after: "1h" # FILE`},
		{"the environment", `idle-after: 1h`, "IDLE_SCALER_IDLE_AFTER=2h", "", `idle-after: "2h" # IDLE_SCALER_IDLE_AFTER`},
		{"a flag", `idle-after: 1h`, "IDLE_SCALER_IDLE_AFTER=2h", "--idle-after 3h", `idle-after: "3h" # --idle-after`},
		{"a flag that equals the default", `idle-after: 1h`, "", "--idle-after 30m", `idle-after: "30m" # --idle-after`},
		{"an empty variable is none", `idle-after: 1h`, "IDLE_SCALER_IDLE_AFTER=", "", `idle-after: "1h" # FILE`},
		{"an empty value of the file is one", `listen: ""`, "", "", `listen: "" # FILE`},
		{"a truth of the file", `leader-elect: false`, "", "", `leader-elect: "false" # FILE`},
		{"a number of the file", `embedded-port: 14222`, "", "", `embedded-port: "14222" # FILE`},
		{"a list of the file", `namespaces: [team-a, team-b]`, "", "", `namespaces: "team-a,team-b" # FILE`},
		{
			"a list of the environment", ``, "IDLE_SCALER_NAMESPACES=team-a,team-b", "",
			`namespaces: "team-a,team-b" # IDLE_SCALER_NAMESPACES`,
		},
		{"an unquoted number of the file", `max-replicas: 20`, "", "", `max-replicas: "20" # FILE`},
		{"an unquoted truth of the file", `dry-run: true`, "", "", `dry-run: "true" # FILE`},
		{"a text with commas", `keep-warm: 0 9 * * MON,FRI for 9h`, "", "", `keep-warm: "0 9 * * MON,FRI for 9h" # FILE`},
		{
			"a flag given twice", `namespaces: [other]`, "", "--namespaces team-a --namespaces team-b",
			`namespaces: "team-a,team-b" # --namespaces`,
		},
		{"servers as a list", `nats: [nats://a, nats://b]`, "NATS_URL=", "", `nats: "nats://a,nats://b" # FILE`},
		{"NATS_URL beats the file", `nats: nats://file`, "", "", `nats: "nats://env" # NATS_URL`},
		{"our own variable beats NATS_URL", ``, "IDLE_SCALER_NATS=nats://ours", "", `nats: "nats://ours" # IDLE_SCALER_NATS`},
		{"a kubeconfig", ``, "IDLE_SCALER_KUBECONFIG=/k KUBECONFIG=/a:/b", "", `kubeconfig: "/k" # IDLE_SCALER_KUBECONFIG`},
		{"KUBECONFIG, which is no file", ``, "KUBECONFIG=/a:/b", "", `kubeconfig: "" # default`},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv("NATS_URL", "nats://env")
			for variable := range strings.FieldsSeq(test.env) {
				name, value, _ := strings.Cut(variable, "=")
				t.Setenv(name, value)
			}
			file := writeFile(t, test.file)
			code, out, errs := execute(append([]string{"config", "--config", file}, strings.Fields(test.args)...)...)
			if code != 0 {
				t.Fatalf("ended with %d: %s", code, errs)
			}
			name, _, _ := strings.Cut(test.want, ":")
			if got := strings.ReplaceAll(lineOf(out, name), file, "FILE"); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}

// The configuration holds the settings that are written somewhere, and no defaults, so that
// "explain" can say where each setting is written.
func TestServerSettings(t *testing.T) {
	for _, test := range []struct {
		args []string
		file string
		want map[string]string
	}{
		{nil, "", map[string]string{}},
		{
			[]string{"--idle-after", "30m", "--dry-run", "--wake-on-activity=false"},
			"",
			map[string]string{"idle-after": "30m", "dry-run": "true", "wake-on-activity": "false"},
		},
		{
			[]string{"--keep-warm", ""},
			"sleep-at: 0 22 * * *\ntime-zone: Europe/Rome\nsleep-notice: 1m\nmax-replicas: 5\nwake-replicas: 2",
			map[string]string{
				"sleep-at": "0 22 * * *", "time-zone": "Europe/Rome", "sleep-notice": "1m0s",
				"max-replicas": "5", "wake-replicas": "2",
			},
		},
	} {
		var c Config
		var cmd cobra.Command
		l := c.layers(&cmd)
		if err := cmd.ParseFlags(append(test.args, "--nats", nowhere, "--config", writeFile(t, test.file))); err != nil {
			t.Fatal(err)
		}
		s, err := c.load(l)
		if err != nil || s.servers.Source != policy.FromConfig || !maps.Equal(s.servers.Written, test.want) {
			t.Errorf("%q: got %v, %v", test.args, s.servers, err)
		}
	}
	for says, args := range map[string][]string{
		"above max-replicas 10: raise max-replicas": {"--wake-replicas", "11"},
		`idle-after ""`: {"--idle-after", ""},
	} {
		code, _, errs := execute(append([]string{"config", "--nats", nowhere}, args...)...)
		if code != exitUsage || !strings.Contains(errs, says) {
			t.Errorf("%q ended with %d and said %s", args, code, errs)
		}
	}
}

// Each setting that may be written in the configuration is a flag, and no other setting is. The
// default of the flag means the same as no flag.
func TestFlagsOfSettings(t *testing.T) {
	var flags pflag.FlagSet
	registerServers(&flags)
	defaults, _, _ := policy.Parse()
	for _, setting := range policy.Table {
		flag := flags.Lookup(setting.Key)
		if (flag != nil) != setting.In(policy.FromConfig) {
			t.Errorf("%s may be written in %q, its flag is %+v", setting.Key, setting.Where, flag)
		}
		if flag == nil || flag.DefValue == "" {
			continue
		}
		config := policy.Layer{Source: policy.FromConfig, Written: map[string]string{setting.Key: flag.DefValue}}
		written, _, err := policy.Parse(config)
		if got, want := setting.Text(&written), setting.Text(&defaults); err != nil || got != want {
			t.Errorf("%s: the default of the flag is %s, %v; without it is %s", setting.Key, got, err, want)
		}
	}
}

// lineOf returns the line about a flag, with single spaces.
func lineOf(out, name string) string {
	for line := range strings.Lines(out) {
		if text := strings.TrimPrefix(line, "# "); strings.HasPrefix(text, name+":") {
			return strings.Join(strings.Fields(line), " ")
		}
	}
	return ""
}

// The environment can name the file, too.
func TestConfigFileFromEnvironment(t *testing.T) {
	t.Setenv("IDLE_SCALER_CONFIG", writeFile(t, "nats: nats://a\ncluster: here"))
	if code, out, errs := execute("config"); code != 0 || !strings.Contains(out, `cluster: "here"`) {
		t.Errorf("ended with %d and said:\n%s%s", code, out, errs)
	}
}

// All errors come at once, from all places, and say what to write instead.
func TestAllErrorsAtOnce(t *testing.T) {
	file := writeFile(t, "idle-afer: 1h\nsettle: 30\ncluster: 0123\nstream-replicas: {a: 1}\npprof: \"maybe\"\nlisten:\n")
	t.Setenv("IDLE_SCALER_MIN_AWAKE", "soon")
	t.Setenv("IDLE_SCALER_EMBEDDED_PORT", "many")
	args := []string{
		"--config", file, "--schedule", "every now", "--selector", "a==b==c", "--idle-after", "721h", "--max-wait", "2h",
		"--log-level", "loud", "--keep-warm", "mornings", "--time-zone", "Rome", "--sleep-notice", "2h",
		"--max-replicas", "0", "--wake-replicas", "few", "--sleep-at", "@every 1h", "--log-format", "xml",
		"--namespaces", "A", "--prefix", "a b", "--nats-user", "me", "--nats-key", "k", "--lease-name", "L_",
		"--nats-inbox-prefix", "mine", "--listen", "8080",
	}
	want := []string{
		`nats: not set: give --nats`,
		`min-awake "soon" (from IDLE_SCALER_MIN_AWAKE): write a duration with its unit, like "30s" or "5m"`,
		`embedded-port "many" (from IDLE_SCALER_EMBEDDED_PORT): write a whole number`,
		`unknown key "idle-afer": the keys are the names of the flags of "idle-scaler run"`,
		file + `: settle: write a duration with its unit`,
		file + `: cluster: write text, in quotes`,
		file + `: stream-replicas: write a whole number`,
		file + `: listen: write text, in quotes`,
		`pprof "maybe" (from ` + file + `): write true or false`,
		`schedule "every now"`,
		`label selector "a==b==c"`,
		`idle-after "721h" (configuration): longer than 720h`,
		`keep-warm "mornings" (configuration): "mornings" does not say for how long`,
		`time-zone "Rome" (configuration): `,
		`sleep-notice "2h0m0s" (configuration): not a duration of at most 1h`,
		`max-replicas "0" (configuration): not a whole number of at least 1`,
		`sleep-at "@every 1h" (configuration): "@every" names no time of a clock`,
		`wake-replicas "few" (from --wake-replicas): write a whole number`,
		`max-wait: 2h0m0s is not between 1s and 1h0m0s`,
		`log-level: "loud" is none of debug, info, warn, error`,
		`log-format: "xml" is none of auto, text, json`,
		`namespaces: "A"`,
		`prefix: subject prefix "a b"`,
		`nats-user, nats-password: set both or none`,
		`nats-cert, nats-key: set both or none`,
		`lease-name: "L_"`,
		`listen: "8080": write a port, with or without the host before it, like ":8080"`,
		`nats-inbox-prefix "mine": begin it with _INBOX: the daemon answers nowhere else`,
	}
	for _, command := range []string{"config", "run"} {
		code, _, errs := execute(append([]string{command}, args...)...)
		if code != exitUsage {
			t.Errorf("%s ended with %d, want %d", command, code, exitUsage)
		}
		for _, text := range want {
			if !strings.Contains(errs, text) {
				t.Errorf("%s does not say %q, but:\n%s", command, text, errs)
			}
		}
		if strings.Contains(errs, `wake-replicas "0"`) || strings.Contains(errs, "min-awake: ") {
			t.Errorf("%s has an error twice:\n%s", command, errs)
		}
		if strings.Contains(errs, "strconv") || strings.Contains(errs, "time: ") {
			t.Errorf("%s shows an error of Go:\n%s", command, errs)
		}
	}
}

// A file must be one map of flags to values. A value that YAML reads as something else than its
// text is an error.
func TestFileIsStrict(t *testing.T) {
	for _, test := range []struct{ name, file, says string }{
		{"no map", "- a", "not a YAML map"},
		{"no YAML", "a: b: c", "not a YAML map"},
		{"a key twice", "cluster: a\ncluster: b", `"cluster" already set`},
		{"two documents", "cluster: a\n---\ncluster: b", "several YAML documents"},
		{"a file in a file", "config: other.yaml", `unknown key "config"`},
		{"no flag", "help: true", `unknown key "help"`},
		{"another case", "Cluster: a", `unknown key "Cluster"`},
		{"an octal password", "nats-user: a\nnats-password: 0123", "nats-password: write text, in quotes"},
		{"a true password", "nats-user: a\nnats-password: yes", "nats-password: write text, in quotes"},
		{"a list of clusters", "cluster: [a, b]", "cluster: write text, in quotes"},
		{"a list of numbers", "namespaces: [1, 2]", "namespaces: write names"},
		{"half a replica", "stream-replicas: 1.5", `stream-replicas "1.5"`},
		{"a cluster that is no part of a URI", "cluster: 100%", `"100%": name the cluster by letters`},
		{"every Deployment there is", `selector: ""`, "selector: empty, it takes every Deployment of the cluster"},
	} {
		t.Run(test.name, func(t *testing.T) {
			code, _, errs := execute("config", "--nats", nowhere, "--config", writeFile(t, test.file))
			if code != exitUsage || !strings.Contains(errs, test.says) {
				t.Errorf("ended with %d and said %q, want %q", code, errs, test.says)
			}
		})
	}
	code, _, errs := execute("config", "--nats", nowhere, "--config", "/no/such/file")
	if code != exitUsage || !strings.Contains(errs, "/no/such/file") {
		t.Errorf("a missing file: ended with %d and said %q", code, errs)
	}
	for name, file := range map[string]string{
		"one document with a marker before it": "---\n# one\n# ---\ncluster: a # ---\n",
		"every Deployment of one namespace":    "selector: \"\"\nnamespaces: [team-a]",
	} {
		if code, _, errs := execute("config", "--nats", nowhere, "--config", writeFile(t, file)); code != 0 {
			t.Errorf("%s: %s", name, errs)
		}
	}
}

// The output of "config" is a file that gives the same configuration.
func TestConfigRoundTrip(t *testing.T) {
	for _, args := range [][]string{
		{"--nats", "nats://a:4222,b"},
		{"--nats", "embedded", "--listen", "[::1]:8080", "--namespaces", "team-a,team-b"},
		{"--nats", "tls://a", "--listen", "", "--selector", `env in (a, b),tier!=free`},
		{"--nats", "tls://a", "--schedule", "CRON_TZ=Europe/Rome 0 */5 * * * *"},
		{"--nats", "a", "--keep-warm", "0 9 * * MON,FRI for 9h; 0 10 * * SAT for 2h", "--time-zone", "Europe/Rome"},
		{"--nats", "a", "--dry-run", "--max-replicas", "20", "--sleep-notice", "30s", "--settle", "90s"},
		{"--nats", "ws://a", "--idle-after", "never", "--leader-elect=false", "--kubeconfig", `/C "d" #\ü`},
	} {
		code, first, errs := execute(append([]string{"config"}, args...)...)
		if code != 0 {
			t.Fatalf("%q: %s", args, errs)
		}
		code, second, errs := execute("config", "--config", writeFile(t, first))
		if code != 0 {
			t.Fatalf("%q: the output is not a valid file: %s", args, errs)
		}
		if a, b := valuesIn(t, first), valuesIn(t, second); !maps.Equal(a, b) {
			t.Errorf("%q: got %v, then %v", args, a, b)
		}
	}
}

func valuesIn(t *testing.T, out string) map[string]string {
	t.Helper()
	var values map[string]string
	if err := yaml.UnmarshalStrict([]byte(out), &values); err != nil {
		t.Fatal(err)
	}
	return values
}

// Neither "config" nor an error shows a secret. A masked value is a comment, so "run" does not read
// it.
func TestSecretsAreMasked(t *testing.T) {
	const secret = "hunter2"
	for _, test := range []struct {
		name string
		args []string
		want string // the line of config
	}{
		{
			"a password",
			[]string{"--nats", nowhere, "--nats-user", "me", "--nats-password", secret},
			`# nats-password: "********" # --nats-password`,
		},
		{"a token", []string{"--nats", nowhere, "--nats-token", secret}, `# nats-token: "********" # --nats-token`},
		{
			"a password in a URL",
			[]string{"--nats", "nats://me:" + secret + "@127.0.0.1:1"},
			`# nats: "nats://me:********@127.0.0.1:1" # --nats`,
		},
		{
			"a token in a URL",
			[]string{"--nats", "nats://" + secret + "@127.0.0.1:1"},
			`# nats: "nats://********@127.0.0.1:1" # --nats`,
		},
		{
			"no scheme",
			[]string{"--nats", "me:" + secret + "@127.0.0.1:1"},
			`# nats: "nats://me:********@127.0.0.1:1" # --nats`,
		},
		{
			"the second of two",
			[]string{"--nats", nowhere + ",nats://me:" + secret + "@127.0.0.1:1"},
			`# nats: "nats://127.0.0.1:1,nats://me:********@127.0.0.1:1" # --nats`,
		},
		{"no URL at all", []string{"--nats", "nats://me:" + secret + "%zz@127.0.0.1:1"}, `# nats: "********" # --nats`},
		{"a space", []string{"--nats", "nats://me: " + secret + "@127.0.0.1:1"}, `# nats: "********" # --nats`},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, out, errs := execute(append([]string{"config"}, test.args...)...)
			_, listed, refused := execute(append([]string{"list"}, test.args...)...)
			if all := out + errs + listed + refused; strings.Contains(all, secret) {
				t.Errorf("the secret is shown:\n%s", all)
			}
			name, _, _ := strings.Cut(strings.TrimPrefix(test.want, "# "), ":")
			if got := lineOf(out, name); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
	for _, line := range []string{
		"nats-password: *" + secret, "nats-password: {a: " + secret + "}",
		"nats-token: [" + secret + "]", "nats-token: &" + secret,
	} {
		code, out, errs := execute("config", "--nats", nowhere, "--config", writeFile(t, line))
		if code != exitUsage || strings.Contains(out+errs, secret) {
			t.Errorf("%s: ended with %d and said %s%s", line, code, out, errs)
		}
	}
}

// A variable does not set a flag that is about one call.
func TestEnvironmentIsNotAboutOneCall(t *testing.T) {
	url := startNATS(t)
	for _, name := range []string{"WAIT", "FORCE", "OUTPUT", "HELP", "ID"} {
		t.Setenv("IDLE_SCALER_"+name, "nonsense")
	}
	for _, args := range [][]string{{"list"}, {"start", "a/b"}, {"stop", "a/b"}} {
		if code, _, errs := execute(append(args, "--nats", url)...); code != exitNoAnswer {
			t.Errorf("%q ended with %d: %s", args, code, errs)
		}
	}
}

// No file makes the program panic. An accepted file has only keys that are flags, is a valid
// configuration, and stays the same when it is printed and read again.
func FuzzConfigFile(f *testing.F) {
	for _, seed := range []string{
		"", "nats: nats://a", "nats: [nats://a, b]\ncluster: \"1\"", "idle-after: never\nschedule: '@hourly'",
		"namespaces: [a, b]\nselector: 'a in (b)'", "pprof: yes", "stream-replicas: 3.0", "embedded-port: 1e3",
		"min-awake: 90s\n---\nmin-awake: 1s", "cluster: 0x1f", "a: &a b\nc: *a", "<<: {cluster: a}",
		"listen: '[::1]:80'", "kubeconfig: \"\\u00fc\\x7f\\n\"", "nats-token: t", "cluster: !!str 1", "? a\n: b",
		"%YAML 1.1\n---\npprof: on", "\xff",
	} {
		f.Add([]byte(seed))
	}
	file := filepath.Join(f.TempDir(), "config.yaml")
	read := func(t *testing.T, data []byte) (*layers, error) {
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		var c Config
		var cmd cobra.Command
		l := c.layers(&cmd)
		if err := cmd.ParseFlags([]string{"--config", file}); err != nil {
			t.Fatal(err)
		}
		_, err := c.load(l)
		return l, err
	}
	f.Setenv("NATS_URL", nowhere)
	f.Fuzz(func(t *testing.T, data []byte) {
		l, err := read(t, data)
		if err != nil {
			return
		}
		var keys map[string]any
		if err := yaml.Unmarshal(data, &keys); err != nil {
			t.Fatalf("accepted, and no YAML: %v", err)
		}
		for key := range keys {
			if l.flags.Lookup(key) == nil {
				t.Errorf("accepted with the key %q", key)
			}
		}
		var printed strings.Builder
		l.print(&printed)
		again, err := read(t, []byte(printed.String()))
		if err != nil {
			t.Fatalf("printed as\n%s\nwhich is refused: %v", &printed, err)
		}
		if a, b := fmt.Sprint(shown(l)), fmt.Sprint(shown(again)); a != b {
			t.Errorf("got  %s\nthen %s", a, b)
		}
	})
}

// shown returns the values of all flags that are not masked.
func shown(l *layers) map[string]string {
	values := make(map[string]string)
	l.flags.VisitAll(func(f *pflag.Flag) { values[f.Name] = f.Value.String() })
	for _, name := range append(secrets, "config") {
		delete(values, name)
	}
	if strings.Contains(values["nats"], "@") {
		delete(values, "nats")
	}
	return values
}
