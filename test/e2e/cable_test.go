package e2e

import (
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// cable is what connects one daemon with NATS, and can be cut.
type cable struct {
	url string // for the daemon

	mu    sync.Mutex
	cut   bool
	ends  map[net.Conn]bool // of all connections, both
	words string            // said to the daemon once on each connection, as if by NATS
}

// newCable returns a cable to the bench's NATS.
func (b *bench) newCable() *cable {
	b.t.Helper()
	in, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.t.Fatal(err)
	}
	c := &cable{url: "nats://" + in.Addr().String(), ends: make(map[net.Conn]bool)}
	b.t.Cleanup(func() { _ = in.Close(); c.setCut(true) })
	to := strings.TrimPrefix(b.nats.ClientURL(), "nats://")
	go func() {
		for {
			near, err := in.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", to)
			if err != nil || !c.plug(near, far) {
				_ = near.Close()
				continue
			}
			go c.forward(near, far, false)
			go c.forward(far, near, true)
		}
	}()
	return c
}

func (c *cable) plug(near, far net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cut {
		_ = far.Close()
		return false
	}
	c.ends[near], c.ends[far] = true, true
	return true
}

// setCut cuts the cable, or mends it.
func (c *cable) setCut(cut bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut = cut
	if cut {
		for end := range c.ends {
			_ = end.Close()
		}
		clear(c.ends)
	}
}

// say puts a line among what NATS says, when it says something next.
func (c *cable) say(line string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.words = line + "\r\n"
}

func (c *cable) forward(from, to net.Conn, toDaemon bool) {
	defer func() { _, _ = from.Close(), to.Close() }()
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		said := string(buffer[:n])
		c.mu.Lock()
		if toDaemon && c.words != "" && strings.HasSuffix(said, "\r\n") { // between two lines
			said, c.words = said+c.words, ""
		}
		c.mu.Unlock()
		if _, err := to.Write([]byte(said)); err != nil {
			return
		}
	}
}

// A connection that NATS has closed for good ends the daemon, which says why, so that Kubernetes starts it again: without it no request is answered and
// no command applied. Before that it gives up the lease: another leads at once.
func TestAConnectionClosedForGoodEndsTheDaemon(t *testing.T) {
	b := newBench(t)
	b.deploy("alpha")
	cable := b.newCable()
	d := b.start("--nats", cable.url, "--lease-duration", "30s")
	eventually(t, "it leads", func() error { return d.metric("idle_scaler_leader 1") })
	cable.say("-ERR 'Nobody Knows Why'")
	select {
	case <-d.ended:
	case <-time.After(patience):
		t.Fatal("the daemon goes on")
	}
	if code := d.process.ProcessState.ExitCode(); code != 1 {
		t.Errorf("it ended with %d", code)
	}
	if said := d.log.String(); !strings.Contains(said, "closed for good: nats: Nobody Knows Why") {
		t.Error("it does not say why")
	}
	b.run()
	within(t, 15*time.Second, "another leads", func() error {
		if !b.leader() {
			return fmt.Errorf("not yet")
		}
		return nil
	})
}
