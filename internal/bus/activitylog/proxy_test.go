package activitylog

import (
	"bytes"
	"io"
	"net"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"idle-scaler/internal/natsconn"
	"idle-scaler/test/natstest"
)

// proxy stands between a client and a NATS server.
type proxy struct {
	url   string
	hole  atomic.Bool                // it forwards nothing
	clock atomic.Pointer[wrongClock] // nil: all clocks are right
}

// wrongClock is the clock of the server that leads one stream.
type wrongClock struct {
	stream string
	behind time.Duration
}

var timestamp = regexp.MustCompile(`"ts":"[^"]+"`)

// falsify puts the time of the wrong clock into an answer about the state of its stream. The answer
// keeps its length.
func (c *wrongClock) falsify(answer []byte) []byte {
	if c == nil || !bytes.Contains(answer, []byte(`"name":"`+c.stream+`"`)) {
		return answer
	}
	return timestamp.ReplaceAllFunc(answer, func(ts []byte) []byte {
		text := strings.Trim(strings.TrimPrefix(string(ts), `"ts":`), `"`)
		at, err := time.Parse(time.RFC3339Nano, text)
		if err != nil {
			return ts
		}
		day, fraction, _ := strings.Cut(text, ".")
		return []byte(`"ts":"` + at.Add(-c.behind).Format(time.RFC3339[:len(day)]) + "." + fraction + `"`)
	})
}

// newProxy returns a proxy in front of a server, and a connection through it.
func newProxy(t *testing.T, to string) (*proxy, *nats.Conn) {
	in, err := net.Listen("tcp", "127.0.0.1:0")
	natstest.Check(t, err)
	t.Cleanup(func() { in.Close() })
	p := &proxy{url: "nats://" + in.Addr().String()}
	go p.serve(in, strings.TrimPrefix(to, "nats://"))
	nc, err := natsconn.Connect(natsconn.Options{URLs: []string{p.url}}, natstest.Quiet)
	natstest.Check(t, err)
	t.Cleanup(nc.Close)
	return p, nc
}

func (p *proxy) serve(in net.Listener, to string) {
	for {
		near, err := in.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", to)
		if err != nil {
			return
		}
		go p.forward(near, far)
		go p.forward(far, near)
	}
}

func (p *proxy) forward(from, to net.Conn) {
	buffer := make([]byte, 4096)
	for n, err := 0, error(nil); err == nil; n, err = from.Read(buffer) {
		for p.hole.Load() {
			time.Sleep(time.Millisecond)
		}
		if _, err := to.Write(p.clock.Load().falsify(buffer[:n])); err != nil {
			return
		}
	}
	_ = to.(io.Closer).Close()
}
