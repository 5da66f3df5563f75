package main

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"sigs.k8s.io/yaml"

	"idle-scaler/internal/natsconn"
	"idle-scaler/policy"
)

// layers fills flags from four places, of which the first with a value wins: the command line, the
// environment, a YAML file whose keys are the names of the flags, and the defaults. The flag
// "config" names the file. Flags that are registered after newLayers, like --force, are about one
// call: they come only from the command line.
type layers struct {
	flags  *pflag.FlagSet
	source map[string]string // where the value of a flag comes from, by name
	errs   problems
}

// collecting keeps the error of a bad value instead of ending the parsing with it, so that the user
// sees all errors at once.
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
			_ = c.Value.Set(before) // it is 0 now, which would be one more error
		}
		c.layers.errs.require(false, "%s %q (from %s): write %s", c.name, text, c.from, kinds[c.Type()])
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

// aliases are variables that other programs use for the value of a flag. KUBECONFIG is not one of
// them: it may name several files, also missing ones, and client-go reads it as kubectl does.
var aliases = map[string]string{"nats": "NATS_URL"}

func envName(flag string) string {
	return "IDLE_SCALER_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// fill sets the flags that are not on the command line. It returns everything that is wrong.
func (l *layers) fill(lookup func(string) (string, bool)) problems {
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
	l.errs.require(err == nil, "%w", err)
	for _, name := range slices.Sorted(maps.Keys(values)) {
		f := l.flags.Lookup(name)
		if f == nil || name == "config" || name == "help" {
			l.errs.require(false, `%s: unknown key %q: the keys are the names of the flags of "idle-scaler run"`, file, name)
		} else if text, ok := textFor(f, values[name]); ok {
			l.set(f, text, file)
		} else { // the error does not show the value: it may be a secret
			l.errs.require(false, "%s: %s: write %s", file, name, kinds[f.Value.Type()])
		}
	}
}

func (l *layers) set(f *pflag.Flag, text, from string) {
	if value, ok := f.Value.(*collecting); ok && l.source[f.Name] == "" {
		l.source[f.Name], value.from = from, from
		_ = value.Set(text) // it collects the error
	}
}

// layers registers the flags of the daemon with a command.
func (c *Config) layers(cmd *cobra.Command) *layers {
	c.register(cmd.Flags())
	cmd.Flags().String("config", "", "YAML `file` with values for these flags, by their names")
	return newLayers(cmd.Flags())
}

// load fills the configuration and validates it. The error has everything that is wrong.
func (c *Config) load(l *layers) (settings, error) {
	p := l.fill(os.LookupEnv)
	s, invalid := c.validate()
	p = append(p, invalid...)
	s.servers = l.servers()
	_, _, err := policy.Parse(s.servers)
	p.require(err == nil, "%w", err)
	return s, p.err()
}

// readFile returns the values of a configuration file.
func readFile(file string) (map[string]any, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	var values map[string]any
	switch err := yaml.UnmarshalStrict(data, &values); {
	case err != nil && strings.Contains(err.Error(), "unknown anchor"): // the rest of it may be a password
		return nil, fmt.Errorf("config %s: put a value that begins with * in quotes", file)
	case err != nil:
		return nil, fmt.Errorf("config %s: not a YAML map of flags to values: %w", file, err)
	case furtherDocument.Match(data): // the parser stops before it
		return nil, fmt.Errorf("config %s: it holds several YAML documents: write one", file)
	}
	return values, nil
}

// furtherDocument matches the begin of a YAML document after something else than comments.
var furtherDocument = regexp.MustCompile(`(?m)^[^#\s-][^\n]*\n(?s:.*\n)?(---|\.\.\.)(\s|$)`)

// textFor returns a value of the file as its flag takes it. It is not ok when its type is another:
// YAML reads an unquoted 0123 as a number and yes as a truth value, and their text is not what was
// written.
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

// print writes all values and where they come from, as a file that "run" can read. A line with a
// secret is a comment, in which the secret is masked.
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

// redact masks the passwords and tokens in a list of URLs; all of it, if it can't be read.
func redact(list string) string {
	if !strings.Contains(list, "@") {
		return list
	}
	urls, err := natsconn.ParseURLs(list)
	if err != nil {
		return mask
	}
	shown := make([]string, len(urls))
	for i, u := range urls {
		login := ""
		if _, both := u.User.Password(); both {
			login = u.User.Username() + ":" + mask + "@"
		} else if u.User != nil { // a token
			login = mask + "@"
		}
		shown[i] = u.Scheme + "://" + login + u.Host
	}
	return strings.Join(shown, ",")
}
