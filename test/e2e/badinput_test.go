package e2e

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nats.go/micro"
	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/api/equality"

	"idle-scaler/internal/wire"
	"idle-scaler/scaler"
	"idle-scaler/test/natstest"
	"idle-scaler/test/wait"
)

// badInput is a command that is refused.
type badInput struct {
	about   string
	verb    string
	name    string // of the server
	payload string
	code    int
	says    []string // what the sender needs to know to do better
}

var badCommands = []badInput{
	{"no label", "start", "stranger", ``, 403, []string{"does not carry the label", "kubectl -n"}},
	{"capitals", "start", "Alpha", ``, 400, []string{`"Alpha"`, "lower case"}},
	{"too many replicas", "scale", "alpha", `{"replicas":11}`, 422, []string{"at most 10", "max-replicas"}},
	{"no payload where one is needed", "scale", "alpha", ``, 400, []string{`{"replicas":3}`}},
	{"an unknown field", "stop", "alpha", `{"forse":true}`, 400, []string{`"forse"`, "use only actor, force, id, reason"}},
	{"no JSON", "start", "alpha", `please`, 400, []string{"not a JSON object"}},
	{"65 KiB", "start", "alpha", `{"reason":"` + strings.Repeat("x", 65<<10) + `"}`, 400, []string{"at most 65536"}},
	{"a hold in the past", "hold", "alpha", `{"awake_until":"2020-01-01T00:00:00Z"}`, 400, []string{"not in the future"}},
	{"an unknown verb", "destroy", "alpha", ``, 400, []string{`"destroy"`, "start, stop, scale, hold"}},
}

// Bad input is a clear error to its sender and changes nothing else: a request has an answer that
// says what to do, a published command has an event, an unreadable ping or lease is counted. No
// Deployment is touched, and the next good command is applied.
func TestBadInputChangesNothing(t *testing.T) {
	w := newWorld(t)
	w.deploy("alpha")
	w.deploy("stranger", func(d *appsv1.Deployment) { d.Labels = nil })
	d := w.run()
	var before []*appsv1.Deployment
	for _, name := range []string{"alpha", "stranger"} {
		w.awaitReplicas(name, 1)
		before = append(before, w.deployment(name))
	}
	events := w.events()
	send := func(how string, c badInput) *nats.Msg {
		subject := fmt.Sprintf("cortex.mcp.%s.%s.%s.%s", how, c.verb, w.namespace, c.name)
		m, err := w.nc.Request(subject, []byte(c.payload), wait.Patience)
		natstest.Check(t, err)
		return m
	}

	for _, c := range append(badCommands, badInput{
		"an unknown server", "start", "alhpa", ``, 404, []string{`"alhpa" not found`, "near it are: alpha"},
	}) {
		m := send("api", c)
		code, text := m.Header.Get(micro.ErrorCodeHeader), m.Header.Get(micro.ErrorHeader)
		if code != strconv.Itoa(c.code) || !containsAll(text, c.says...) || len(text) > 1024 {
			t.Errorf("%s: answered %s %q, want %d and %q", c.about, code, text, c.code, c.says)
		}
		var a wire.Answer
		natstest.Check(t, json.Unmarshal(m.Data, &a))
		if want := (wire.Error{Code: c.code, Text: text}); a.Error == nil || *a.Error != want {
			t.Errorf("%s: the body is %q", c.about, m.Data)
		}
	}
	if err := w.holds(commandStream, 0); err != nil {
		t.Errorf("a bad request is stored: %v", err)
	}

	for _, c := range badCommands {
		var stored jetstream.PubAck
		natstest.Check(t, json.Unmarshal(send("command", c).Data, &stored))
		e := events.find(c.about+" has an event", func(e scaler.Event) bool {
			return strings.HasPrefix(e.ID, fmt.Sprintf("command-%d@", stored.Sequence))
		})
		if e.Type != scaler.Rejected || e.Server != w.id(c.name) || e.From != e.To || !containsAll(e.Text, c.says...) {
			t.Errorf("%s: published %+v, want %q", c.about, e, c.says)
		}
	}

	for subject, payload := range map[string]string{ // of each subject the log keeps the last
		"activity." + w.namespace:                ``,
		"activity." + w.namespace + ".Alpha":     ``,
		"lease.a." + w.namespace + ".alpha":      `{"ttl":"25h"}`,
		"lease.b." + w.namespace + ".alpha":      `{"ttl":5}`,
		"lease.somebody." + w.namespace:          `{"ttl":"5m"}`,
		"lease.c." + w.namespace + ".alpha.beta": ``,
	} {
		natstest.Check(t, w.nc.Publish("cortex.mcp."+subject, []byte(payload)))
	}
	wait.Eventually(t, "all are counted", func() error {
		if n := d.counts("idle_scaler_malformed_total")[""]; n < 6 { // more when the log is read again
			return fmt.Errorf("%d are", n)
		}
		return nil
	})
	w.awaitPing("alpha") // without a payload
	s, err := w.status("alpha")
	natstest.Check(t, err)
	if len(s.Leases) != 2 { // what may have replaced a lease counts as the longest
		t.Errorf("its leases are %+v", s.Leases)
	}

	for _, was := range before {
		is := w.deployment(was.Name)
		if !equality.Semantic.DeepEqual(is.Spec, was.Spec) || is.Annotations["idle-scaler/command"] != "" {
			t.Errorf("%s was changed to %+v, %v", is.Name, is.Spec, is.Annotations)
		}
	}
	if a, err := w.Scale(t.Context(), w.id("alpha"), 2, time.Minute, wire.Sender{}); err != nil {
		t.Errorf("a good command is answered %+v, %v", a, err)
	}
	wait.Eventually(t, "no command is left", func() error { return w.holds(commandStream, 0) })
}
