package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"sigs.k8s.io/yaml"

	"idle-scaler/policy"
)

// layers fills flags from four places, the first that has a value wins: the command line, the environment, a YAML file whose keys are
// the names of the flags, and the default. The flag "config" names the file. Flags that are registered later are about one call, like
// --force, and come from the command line only.
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

// kinds say what to write as the value of a flag, by its type. A string takes anything.
var kinds = map[string]string{
	"bool":        "true or false",
	"duration":    `a duration with its unit, like "30s" or "5m"`,
	"int":         "a whole number",
	"stringSlice": "names, separated by commas",
	"string":      "text, in quotes",
}

func (c *collecting) Set(text string) error {
	before := c.String()
	if err := c.Value.Set(text); err != nil {
		if _, list := c.Value.(pflag.SliceValue); !list {
			_ = c.Value.Set(before) // it is 0 now, which would be a mistake more
		}
		c.layers.errs = append(c.layers.errs, fmt.Errorf("%s %q (from %s): write %s", c.name, text, c.from, kinds[c.Type()]))
	}
	return nil
}

// newLayers prepares flags; it is called before they are parsed.
func newLayers(flags *pflag.FlagSet) *layers {
	l := &layers{flags: flags, source: make(map[string]string)}
	flags.VisitAll(func(f *pflag.Flag) {
		f.Value = &collecting{f.Value, f.Name, l, "--" + f.Name}
		if f.DefValue == "[]" {
			f.DefValue = "" // pflag no longer sees that this is a list, and would show its default
		}
	})
	return l
}

// aliases are names that others gave to what is a flag here. KUBECONFIG is none: it may name several files, of which some may be missing, and is
// read by client-go, as kubectl reads it.
var aliases = map[string]string{"nats": "NATS_URL"}

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
	if file := l.flags.Lookup("config"); file != nil && file.Value.String() != "" {
		l.fillFrom(file.Value.String())
	}
	return l.errs
}

func (l *layers) fillFrom(file string) {
	values, err := readFile(file)
	if err != nil {
		l.errs = append(l.errs, err)
		return
	}
	for _, name := range slices.Sorted(maps.Keys(values)) {
		f := l.flags.Lookup(name)
		if f == nil || name == "config" || name == "help" {
			l.errs = append(l.errs, fmt.Errorf("%s: unknown key %q: the keys are the names of the flags of \"idle-scaler run\"", file, name))
			continue
		}
		text, ok := textFor(f, values[name])
		if !ok { // the value is not shown: it may be a secret
			l.errs = append(l.errs, fmt.Errorf("%s: %s: write %s", file, name, kinds[f.Value.Type()]))
			continue
		}
		l.set(f, text, file)
	}
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
	errs = append(errs, invalid...)
	s.servers = l.servers()
	if _, _, err := policy.Parse(s.servers); err != nil {
		errs = append(errs, err)
	}
	if len(errs) > 0 {
		return s, coded{errors.Join(errs...), exitUsage}
	}
	return s, nil
}

func (l *layers) set(f *pflag.Flag, text, from string) {
	value, ok := f.Value.(*collecting)
	if !ok || l.source[f.Name] != "" {
		return
	}
	l.source[f.Name], value.from = from, from
	_ = value.Set(text) // collected
}

// readFile returns the values of a configuration file.
func readFile(file string) (map[string]any, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	var values map[string]any
	switch err := yaml.UnmarshalStrict(data, &values); {
	case err != nil && strings.Contains(err.Error(), "unknown anchor"): // what it says next may be a password
		return nil, fmt.Errorf("config %s: put a value that begins with * in quotes", file)
	case err != nil:
		return nil, fmt.Errorf("config %s: not a YAML map of flags to values: %w", file, err)
	case furtherDocument.Match(data): // the parser stops before it
		return nil, fmt.Errorf("config %s: it holds several YAML documents: write one", file)
	}
	return values, nil
}

// furtherDocument matches what begins a YAML document after something else than comments.
var furtherDocument = regexp.MustCompile(`(?m)^[^#\s-][^\n]*\n(?s:.*\n)?(---|\.\.\.)(\s|$)`)

// textFor returns a value of the file as its flag takes it; ok is false when it is of another type. YAML has taken an unquoted 0123 or
// yes for a number or a truth already: as text it would not be what was written.
func textFor(f *pflag.Flag, value any) (text string, ok bool) {
	kind := f.Value.Type()
	switch value := value.(type) {
	case string:
		return value, true
	case bool:
		return strconv.FormatBool(value), kind == "bool"
	case float64:
		return strconv.FormatFloat(value, 'f', -1, 64), kind == "int"
	case []any:
		texts := make([]string, len(value))
		for i, v := range value {
			if texts[i], ok = v.(string); !ok || strings.Contains(texts[i], ",") {
				return "", false
			}
		}
		return strings.Join(texts, ","), kind == "stringSlice" || f.Name == "nats"
	}
	return "", false
}

// print writes all values and where they came from, as a file that can be read again: what holds a secret is masked, and a comment.
func (l *layers) print(out io.Writer) {
	l.flags.VisitAll(func(f *pflag.Flag) {
		value, ok := f.Value.(*collecting)
		if !ok || f.Name == "config" {
			return
		}
		text := value.String()
		if list, ok := value.Value.(pflag.SliceValue); ok {
			text = strings.Join(list.GetSlice(), ",")
		}
		shown := text
		switch {
		case text != "" && slices.Contains(secrets, f.Name):
			shown = mask
		case f.Name == "nats":
			shown = redact(text)
		}
		line := fmt.Sprintf("%s: %q", f.Name, shown)
		if shown != text {
			line = "# " + line
		}
		fmt.Fprintf(out, "%-40s # %s\n", line, cmp.Or(l.source[f.Name], "default"))
	})
}

const mask = "********"

// redact masks the passwords and tokens in a list of URLs, and all of it when it can't be read.
func redact(text string) string {
	if !strings.Contains(text, "@") {
		return text
	}
	urls, err := natsURLs(text)
	if err != nil {
		return mask
	}
	for i, text := range urls {
		u, err := url.Parse(text)
		if err != nil || u.User == nil {
			continue
		}
		login := mask // a token
		if _, both := u.User.Password(); both {
			login = u.User.Username() + ":" + mask
		}
		urls[i] = u.Scheme + "://" + login + "@" + u.Host
	}
	return strings.Join(urls, ",")
}
