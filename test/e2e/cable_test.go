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

// A leader that alone has lost NATS gives up after twice the duration of the lease, and another does what is ordered. When NATS is away for all, one of them goes
// on leading, for what needs no NATS, and says what is missing; when it is back, one leads and the other does not.
func TestALeaderWithoutNATSLetsAnotherLead(t *testing.T) {
	const lease = 4 * time.Second
	b := newBench(t)
	b.deploy("alpha")
	var cables [2]*cable
	var daemons [2]*daemon
	for i := range daemons {
		cables[i] = b.newCable()
		daemons[i] = b.run("--nats", cables[i].url, "--lease-duration", lease.String())
	}
	leader := func() int {
		for i, d := range daemons {
			if d.leader() {
				return i
			}
		}
		return -1
	}
	eventually(t, "one leads", func() error {
		if leader() < 0 {
			return fmt.Errorf("none does")
		}
		return nil
	})
	first := leader()
	cables[first].setCut(true)
	b.order("scale", "alpha", `{"replicas":2}`)
	within(t, 2*lease+10*time.Second+lease+10*time.Second, "the other has scaled it", b.staysAt("alpha", 2)) // 10s to end the term, the rest for a busy machine
	if leader() != 1-first {
		t.Error("the other does not lead")
	}
	eventually(t, "it says what is missing", func() error {
		if code, body, err := daemons[first].get("/readyz"); err != nil || code != 503 || !strings.Contains(body, "nats") {
			return fmt.Errorf("%d %s %w", code, body, err)
		}
		return nil
	})

	cables[1-first].setCut(true)
	was, changes, without := leader(), 0, time.Duration(0)
	for began, last := time.Now(), time.Now(); time.Since(began) < 10*lease; time.Sleep(100 * time.Millisecond) {
		now := leader()
		if now < 0 {
			without += time.Since(last)
		} else if now != was {
			was, changes = now, changes+1
		}
		last = time.Now()
	}
	if changes > 1 || without > 4*lease {
		t.Errorf("while NATS is away for all, the lead changes %d times, and nobody leads for %s", changes, without)
	}
	for _, c := range cables {
		c.setCut(false)
	}
	b.order("scale", "alpha", `{"replicas":3}`)
	b.awaitReplicas("alpha", 3)
	consistently(t, 2*lease, "one leads", func() error {
		if one, two := daemons[0].leader(), daemons[1].leader(); one == two {
			return fmt.Errorf("the first leads: %v, the second: %v", one, two)
		}
		return nil
	})
}
