package chaos

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// proxy hands TCP connections on, and can be told to do that badly. It is our own and not toxiproxy, whose library brings a dozen modules
// (an HTTP server, a logger, metrics) and whose black hole loses bytes that TCP would deliver once the cable is mended: a sleep that
// was on its way has to arrive late, not never.
type proxy struct {
	target string
	net.Listener

	mu    sync.Mutex
	cond  sync.Cond // of mu: held has changed, or a link has ended
	links map[*link]bool
	cut   bool          // every connection is refused
	shut  bool          // the same, for another reason
	held  bool          // nothing is handed on, nothing is lost
	mute  bool          // the same, but only of what the server says: what is asked for is done, and nobody learns of it
	delay time.Duration // of everything, each way
}

// link is one connection through the proxy.
type link struct {
	client, server net.Conn
	halves         int // how many directions have come to their end
	ended          bool
}

// newProxy returns a proxy that runs until it is closed.
func newProxy(target string) (*proxy, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &proxy{target: target, Listener: listener, links: make(map[*link]bool)}
	p.cond.L = &p.mu
	go p.accept()
	return p, nil
}

func (p *proxy) accept() {
	for {
		client, err := p.Accept()
		if err != nil {
			return
		}
		go p.connect(client)
	}
}

func (p *proxy) connect(client net.Conn) {
	server, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(context.Background(), "tcp", p.target)
	if err != nil {
		abort(client)
		return
	}
	l := &link{client: client, server: server}
	p.mu.Lock()
	refused := p.cut || p.shut
	if !refused {
		p.links[l] = true
	}
	p.mu.Unlock()
	if refused {
		abort(client)
		abort(server)
		return
	}
	go p.pump(l, client, server, false)
	go p.pump(l, server, client, true)
}

// chunk is what was read at once, and when it is to be handed on.
type chunk struct {
	data []byte
	due  time.Time
}

// pump hands on what comes from one side to the other, late by the delay, which does not make it slower.
func (p *proxy) pump(l *link, from, to net.Conn, answers bool) {
	chunks := make(chan chunk, 64)
	farewell := false // the end came in order
	go func() {
		defer close(chunks)
		for {
			buf := make([]byte, 16<<10)
			n, err := from.Read(buf)
			p.mu.Lock()
			due := time.Now().Add(p.delay)
			p.mu.Unlock()
			if n > 0 {
				chunks <- chunk{buf[:n], due}
			}
			if err != nil {
				farewell = errors.Is(err, io.EOF)
				return
			}
		}
	}()
	passed := true
	for c := range chunks {
		time.Sleep(time.Until(c.due))
		if passed = p.mayPass(l, answers); !passed {
			break
		}
		if _, err := to.Write(c.data); err != nil {
			passed = false
			break
		}
	}
	if passed && farewell && p.mayPass(l, answers) {
		p.half(l, to)
		return
	}
	p.end(l)
	for range chunks { // lets the reader end
	}
}

// half ends one direction, and the link after both.
func (p *proxy) half(l *link, to net.Conn) {
	p.mu.Lock()
	l.halves++
	both := l.halves == 2
	p.mu.Unlock()
	if tcp, ok := to.(*net.TCPConn); ok && !both {
		_ = tcp.CloseWrite()
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	l.ended = true
	delete(p.links, l)
	_ = l.client.Close()
	_ = l.server.Close()
}

// mayPass waits while what is to be handed on is held; it reports whether the link still is.
func (p *proxy) mayPass(l *link, answers bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for (p.held || p.mute && answers) && !l.ended {
		p.cond.Wait()
	}
	return !l.ended
}

func (p *proxy) end(l *link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l.ended = true
	delete(p.links, l)
	abort(l.client)
	abort(l.server)
	p.cond.Broadcast()
}

// reset ends all connections that there are, without a farewell.
func (p *proxy) reset() {
	p.mu.Lock()
	var all []*link
	for l := range p.links {
		all = append(all, l)
	}
	p.mu.Unlock()
	for _, l := range all {
		p.end(l)
	}
}

// set changes how the proxy behaves.
func (p *proxy) set(change func(p *proxy)) {
	p.mu.Lock()
	change(p)
	p.cond.Broadcast()
	cut := p.cut || p.shut
	p.mu.Unlock()
	if cut {
		p.reset()
	}
}

// abort closes a connection by RST, so that what was not read is lost.
func abort(c io.Closer) {
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = c.Close()
}
