package main

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"sigs.k8s.io/yaml"
)

// layers fills flags from four places, the first that has a value wins: the command line, the environment, a YAML file whose keys are
// the names of the flags, and the default. The flag "config" names the file.
type layers struct {
	flags  *pflag.FlagSet
	source map[string]string // where the value of a flag came from, by name
	errs   []error
}

// collecting keeps the error of a bad value instead of ending the parsing with it: all errors are told at once.
type collecting struct {
	pflag.Value
	name   string
	layers *layers
	from   string
}

func (c *collecting) Set(text string) error {
	if err := c.Value.Set(text); err != nil {
		c.layers.errs = append(c.layers.errs, fmt.Errorf("%s %q (from %s): not a %s: %w", c.name, text, c.from, c.Type(), err))
	}
	return nil
}

// newLayers prepares flags; it is called before they are parsed.
func newLayers(flags *pflag.FlagSet) *layers {
	l := &layers{flags: flags, source: make(map[string]string)}
	flags.VisitAll(func(f *pflag.Flag) { f.Value = &collecting{f.Value, f.Name, l, "--" + f.Name} })
	return l
}

// aliases are names that others gave to what is a flag here.
var aliases = map[string]string{"nats": "NATS_URL", "kubeconfig": "KUBECONFIG"}

func envName(flag string) string {
	return "IDLE_SCALER_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// fill gives values to the flags that were not set on the command line. It returns everything that is wrong.
func (l *layers) fill(lookup func(string) (string, bool)) []error {
	l.flags.Visit(func(f *pflag.Flag) { l.source[f.Name] = "--" + f.Name })
	l.flags.VisitAll(func(f *pflag.Flag) {
		for _, name := range []string{envName(f.Name), aliases[f.Name]} {
			if text, ok := lookup(name); ok && text != "" {
				l.set(f, text, name)
			}
		}
	})
	file := l.flags.Lookup("config")
	if file == nil || file.Value.String() == "" {
		return l.errs
	}
	return l.fillFrom(file.Value.String())
}

func (l *layers) fillFrom(file string) []error {
	values, err := readFile(file)
	if err != nil {
		return append(l.errs, err)
	}
	names := make([]string, 0, len(values))
	for name := range values {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		f := l.flags.Lookup(name)
		if f == nil || name == "config" || name == "help" {
			l.errs = append(l.errs, fmt.Errorf("%s: unknown key %q: the keys are the names of the flags of \"idle-scaler run\"", file, name))
			continue
		}
		l.set(f, values[name], file)
	}
	return l.errs
}

// layers registers the flags of the daemon with a command.
func (c *Config) layers(cmd *cobra.Command) *layers {
	c.register(cmd.Flags())
	cmd.Flags().String("config", "", "YAML `file` with values for these flags, by their names")
	return newLayers(cmd.Flags())
}

// load fills the configuration and validates it. All that is wrong is in the error.
func (c *Config) load(l *layers) (settings, error) {
	errs := l.fill(os.LookupEnv)
	s, invalid := c.validate()
	if errs = append(errs, invalid...); len(errs) > 0 {
		return s, coded{errors.Join(errs...), exitUsage}
	}
	return s, nil
}

func (l *layers) set(f *pflag.Flag, text, from string) {
	if l.source[f.Name] != "" {
		return
	}
	l.source[f.Name] = from
	f.Value.(*collecting).from = from
	_ = f.Value.Set(text) // collected
}

// readFile returns the values of a configuration file as texts.
func readFile(file string) (map[string]string, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	var parsed map[string]any
	if err := yaml.UnmarshalStrict(data, &parsed); err != nil {
		return nil, fmt.Errorf("config %s: not a YAML map of flags to values: %w", file, err)
	}
	values := make(map[string]string, len(parsed))
	var errs []error
	for key, value := range parsed {
		switch value := value.(type) {
		case map[string]any, nil:
			errs = append(errs, fmt.Errorf("config %s: %s: write one value, or a list", file, key))
		case []any:
			texts := make([]string, len(value))
			for i, v := range value {
				texts[i] = fmt.Sprint(v)
			}
			values[key] = strings.Join(texts, ",")
		default:
			values[key] = fmt.Sprint(value)
		}
	}
	return values, errors.Join(errs...)
}

// print writes all values and where they came from, as a file that could be read again. Secrets are masked.
func (l *layers) print(out io.Writer) {
	l.flags.VisitAll(func(f *pflag.Flag) {
		if f.Name == "config" || f.Name == "help" {
			return
		}
		text := strings.Trim(f.Value.String(), "[]")
		switch {
		case text != "" && slices.Contains(secrets, f.Name):
			text = "********"
		case f.Name == "nats":
			text = redact(text)
		}
		source := l.source[f.Name]
		if source == "" {
			source = "default"
		}
		fmt.Fprintf(out, "%-40s # %s\n", fmt.Sprintf("%s: %q", f.Name, text), source)
	})
}

// redact masks the passwords in a list of URLs.
func redact(urls string) string {
	list := strings.Split(urls, ",")
	for i, text := range list {
		if u, err := url.Parse(text); err == nil && u.User != nil {
			list[i] = strings.Replace(u.Redacted(), ":xxxxx@", ":********@", 1)
		}
	}
	return strings.Join(list, ",")
}
