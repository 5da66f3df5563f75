package e2e

import (
	"net"
	"strings"
	"sync"

	"idle-scaler/test/natstest"
)

// cable is what connects one daemon with NATS. The test can say something on it.
type cable struct {
	url string // for the daemon

	mu    sync.Mutex
	words string // for the daemon, as if by NATS
}

// newCable returns a cable to the NATS of the world.
func (w *world) newCable() *cable {
	w.t.Helper()
	in, err := net.Listen("tcp", "127.0.0.1:0")
	natstest.Check(w.t, err)
	w.t.Cleanup(func() { _ = in.Close() })
	c := &cable{url: "nats://" + in.Addr().String()}
	to := strings.TrimPrefix(w.nats.ClientURL(), "nats://")
	go func() {
		for {
			near, err := in.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", to)
			if err != nil {
				_ = near.Close()
				continue
			}
			go c.forward(near, far, false)
			go c.forward(far, near, true)
		}
	}()
	return c
}

// say puts a line among what NATS says, when it says something next.
func (c *cable) say(line string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.words = line + "\r\n"
}

// forward goes on until one of the two ends the connection.
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
		if toDaemon && strings.HasSuffix(said, "\r\n") { // between two lines
			said, c.words = said+c.words, ""
		}
		c.mu.Unlock()
		if _, err := to.Write([]byte(said)); err != nil {
			return
		}
	}
}
