package chaos

import (
	"slices"
	"sync"
	"time"
)

// Record is all that is known of a run. All times are by the clock of the harness, which is that of NATS and of the API
// server: one machine. Only the daemons may have a wrong one, and what they write down must be by that of NATS.
type Record struct {
	Seed    uint64
	Servers map[string]*Server // by name

	Orders   []*Order
	Uses     []*Use
	Versions map[string][]*Version // by server, in order
	Told     []*Told               // in the order of the event stream
	Faults   []*Fault
	Stalls   []Stall
	Remakes  []*Remake
	Lives    []*Life // in the order of their beginnings
	Exits    []Exit
	Samples  []Sample
	Panics   []string // lines of the daemons' logs

	Quiet time.Time // when everything unused was asleep and every command finished, or it was not waited for it any longer
	Left  uint64    // commands in the stream at that moment
	Rest  time.Time // until when nothing was asked for any more
	End   time.Time // when the last word on everything was read
}

// Kind says how a server is treated by the workload.
type Kind string

// The kinds of servers.
const (
	Pinged  Kind = "pinged"
	Leased  Kind = "leased"
	Ordered Kind = "ordered" // by published commands, and pinged
	Asked   Kind = "asked"   // by requests, and pinged
	Unused  Kind = "unused"
	Paused  Kind = "paused"  // must never sleep
	Foreign Kind = "foreign" // somebody else makes it zero; pinged
	Rivaled Kind = "rivaled" // somebody else wakes it when it is at zero; pinged and stopped
	Remade  Kind = "remade"  // its Deployment is deleted and made again; pinged and ordered
)

// Server is one Deployment as the harness made it.
type Server struct {
	Name      string
	Kind      Kind
	IdleAfter time.Duration
}

// Order is one command that was sent.
type Order struct {
	ID       string // unique
	Server   string
	Verb     string // start, stop, scale
	Replicas int    // of a scale
	Invalid  bool   // it has to be rejected
	Request  bool   // sent by request, not published

	Sent     time.Time   // for the first time
	Again    []time.Time // when it was sent again, with the same Nats-Msg-Id
	Acked    time.Time   // when the stream's word came that it has it, or the answer to the request; zero: it may have been taken or not
	Sequence uint64      // in the stream; 0: not known
	Code     int         // of the answer to a request
}

// Use is one ping, or one word about a lease.
type Use struct {
	Server string
	Holder string // of the lease; empty: a ping
	TTL    time.Duration

	Sent     time.Time
	Acked    time.Time // when the stream's word came that it has it; zero: it may have been taken or not
	Sequence uint64
}

// Version is one state of a Deployment, as the API server told it.
type Version struct {
	Seen     time.Time // it was written before
	Gap      bool      // there may have been others between this and the one before
	Deleted  bool      // it is the last of its Deployment
	UID      string
	Made     time.Time // in whole seconds
	RV       uint64
	Replicas int // wanted
	Ready    int
	Marks    map[string]string // the annotations idle-scaler/*, without the prefix
	Writer   string            // the field manager that last wrote the wanted replicas
	WriterAt time.Time         // in whole seconds
}

// Told is one event of the stream.
type Told struct {
	Server   string
	ID       string
	Type     string
	Cause    string
	Command  string
	Text     string
	From, To int
	At       time.Time // as it says
	Stored   time.Time // by the stream
}

// Fault is something that was broken for a while.
type Fault struct {
	Kind, Target string
	From, To     time.Time
}

// Stall is a time in which the machine stood still: the harness could do nothing, and hardly anybody else.
type Stall struct{ From, To time.Time }

// Remake is the replacement of a Deployment by another one of the same name.
type Remake struct {
	Server   string
	Deleting time.Time // when that was asked for; it was done later
	Made     time.Time // when the new one was known to be there; zero: never
}

// Life is one process of a daemon.
type Life struct {
	Daemon string
	Ahead  time.Duration // of its clock; negative when it is behind
	From   time.Time
}

// Exit is the end of a daemon that was not killed by the harness.
type Exit struct {
	Daemon string
	At     time.Time
	Code   int
	Said   string // last
}

// Sample is what a daemon's metrics said.
type Sample struct {
	Daemon     string
	PID        int
	At         time.Time
	Goroutines int
	Memory     int // resident bytes
	Panics     int
	Leads      bool
}

// recorder is a Record that many goroutines write.
type recorder struct {
	mu sync.Mutex
	Record
}

func (r *recorder) order(o *Order) { r.mu.Lock(); defer r.mu.Unlock(); r.Orders = append(r.Orders, o) }

func (r *recorder) use(u *Use) { r.mu.Lock(); defer r.mu.Unlock(); r.Uses = append(r.Uses, u) }

func (r *recorder) exit(e Exit) { r.mu.Lock(); defer r.mu.Unlock(); r.Exits = append(r.Exits, e) }

func (r *recorder) stalled(s Stall) { r.mu.Lock(); defer r.mu.Unlock(); r.Stalls = append(r.Stalls, s) }

func (r *recorder) sample(s Sample) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Samples = append(r.Samples, s)
}

func (r *recorder) remade(m *Remake) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Remakes = append(r.Remakes, m)
}

// live records that a daemon is started with a clock that is so much ahead.
func (r *recorder) live(daemon string, ahead time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Lives = append(r.Lives, &Life{Daemon: daemon, Ahead: ahead, From: time.Now()})
}

func (r *recorder) faulted(f *Fault) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Faults = append(r.Faults, f)
}

// version keeps a version unless nothing that matters differs from the one before.
func (r *recorder) version(server string, v *Version) {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := r.Versions[server]
	if len(all) > 0 && all[len(all)-1].RV == v.RV {
		return
	}
	r.Versions[server] = append(all, v)
}

// now returns the last version of a server.
func (r *recorder) now(server string) *Version {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := r.Versions[server]
	if len(all) == 0 {
		return nil
	}
	return all[len(all)-1]
}

// finish puts in order what was written by many, and returns the Record.
func (r *recorder) finish() *Record {
	r.mu.Lock()
	defer r.mu.Unlock()
	slices.SortFunc(r.Orders, func(a, b *Order) int { return a.Sent.Compare(b.Sent) })
	slices.SortFunc(r.Uses, func(a, b *Use) int { return a.Sent.Compare(b.Sent) })
	slices.SortFunc(r.Remakes, func(a, b *Remake) int { return a.Deleting.Compare(b.Deleting) })
	slices.SortFunc(r.Faults, func(a, b *Fault) int { return a.From.Compare(b.From) })
	return &r.Record
}
