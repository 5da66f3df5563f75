package chaos

import (
	"context"
	"math"
	"math/rand/v2"
	"sync"
	"time"
)

// A run is storms, and calms after each. A calm is long enough for a leader to be found and for everything to be heard again, and for what
// has to happen within wakeWithin of that.
const (
	storm = 25 * time.Second
	calm  = recovery + wakeWithin + 5*time.Second
)

// faults breaks things, and mends all of them before it returns.
type faults struct {
	*stage
	seed   uint64
	failed chan error // what could not be mended
}

// run lets storms pass until ctx is done.
func (f *faults) run(ctx context.Context) {
	for n := uint64(0); ctx.Err() == nil; n++ {
		f.storm(ctx, n)
		pause(ctx, calm)
	}
}

// storm breaks each thing independently of the others, so that they are broken together, too.
func (f *faults) storm(ctx context.Context, n uint64) {
	ctx, cancel := context.WithTimeout(ctx, storm)
	defer cancel()
	var all sync.WaitGroup
	strike := func(number uint64, every time.Duration, fault func(random *rand.Rand)) {
		random := rand.New(rand.NewPCG(f.seed, n<<8|number))
		all.Go(func() {
			for {
				upTo(ctx, random, 2*every)
				if ctx.Err() != nil {
					return
				}
				fault(random)
			}
		})
	}
	for i, d := range f.daemons {
		strike(uint64(i), 6*time.Second, func(random *rand.Rand) { f.process(ctx, d, random) })
		strike(uint64(10+i), 5*time.Second, func(random *rand.Rand) { f.link(ctx, d, "NATS", d.nats, random) })
		strike(uint64(20+i), 4*time.Second, func(random *rand.Rand) { f.link(ctx, d, "API", d.kube, random) })
	}
	strike(30, 10*time.Second, func(random *rand.Rand) { f.restartNATS(ctx, random) })
	strike(31, 18*time.Second, func(random *rand.Rand) { f.restartAPI(ctx) })
	all.Wait()
}

// note records a fault, and returns what to call when it is mended.
func (f *faults) note(kind, target string) (mended func()) {
	fault := &Fault{Kind: kind, Target: target, From: time.Now()}
	return func() {
		fault.To = time.Now()
		f.record.faulted(fault)
	}
}

// spared reports whether a daemon is to be left alone: every other time those that do not lead are.
func spared(ctx context.Context, d *daemon, random *rand.Rand) bool {
	return random.IntN(2) == 0 && !d.leads(ctx)
}

// process kills or freezes a daemon.
func (f *faults) process(ctx context.Context, d *daemon, random *rand.Rand) {
	if spared(ctx, d, random) {
		return
	}
	kill := random.IntN(5) < 3
	long := time.Duration(random.Int64N(int64(3 * time.Second)))
	clock, kind := wrongClock(random)
	if kill {
		atSweep(ctx, random)
		defer f.note(kind, d.name)()
		d.kill()
		d.setClock(clock)
		pause(ctx, long)
		d.up()
		return
	}
	defer f.note("SIGSTOP", d.name)()
	d.freeze()
	pause(context.WithoutCancel(ctx), leaseDuration/2+long) // shorter than its lease, or longer
	d.thaw()
}

// How wrong the clocks of daemons are at most, and at least when they are.
const (
	clockMost  = 5 * time.Minute
	clockLeast = 2 * time.Second
)

// wrongClock draws by how much the clock of a daemon is ahead when it is started again, and the kind of fault that this is. A small difference
// counts for more than a large one, which keeps everything awake or is noticed at once.
func wrongClock(random *rand.Rand) (ahead time.Duration, kind string) {
	way := random.IntN(10)
	by := float64(clockLeast) * math.Pow(float64(clockMost/clockLeast), random.Float64())
	ahead = time.Duration(by).Truncate(time.Second)
	switch {
	case way < 4:
		return 0, "SIGKILL"
	case way < 8:
		return ahead, "clock-ahead " + ahead.String()
	}
	return -ahead, "clock-behind " + ahead.String()
}

// link spoils a daemon's way to NATS or to the API server.
func (f *faults) link(ctx context.Context, d *daemon, name string, p *proxy, random *rand.Rand) {
	if spared(ctx, d, random) {
		return
	}
	target := d.name + " to " + name
	long := time.Duration(random.Int64N(int64(6 * time.Second)))
	delay := time.Duration(10+random.IntN(400)) * time.Millisecond
	switch random.IntN(5) {
	case 0:
		atSweep(ctx, random)
		defer f.note("reset", target)()
		p.reset()
	case 1:
		defer f.note("cut", target)()
		p.set(func(p *proxy) { p.cut = true })
		pause(ctx, long/2)
		p.set(func(p *proxy) { p.cut = false })
	case 2:
		defer f.note("delay "+delay.String(), target)()
		p.set(func(p *proxy) { p.delay = delay })
		pause(ctx, long)
		p.set(func(p *proxy) { p.delay = 0 })
	case 3:
		defer f.note("black hole", target)()
		p.set(func(p *proxy) { p.held = true })
		pause(ctx, long)
		p.set(func(p *proxy) { p.held = false })
	case 4: // what is on its way is done, and its answer is lost
		atSweep(ctx, random)
		defer f.note("mute", target)()
		p.set(func(p *proxy) { p.mute = true })
		pause(ctx, long/4)
		p.reset()
		p.set(func(p *proxy) { p.mute = false })
	}
}

// atSweep waits, every other time, for a moment just after the daemons have begun to look for unused servers, which they do at whole
// seconds: when there are writes on their way, and events not told.
func atSweep(ctx context.Context, random *rand.Rand) {
	if random.IntN(2) == 0 {
		return
	}
	pause(ctx, time.Until(time.Now().Truncate(sweepEvery).Add(sweepEvery)))
	upTo(ctx, random, 100*time.Millisecond)
}

// restartNATS kills NATS and starts it with its store.
func (f *faults) restartNATS(ctx context.Context, random *rand.Rand) {
	defer f.note("SIGKILL", "NATS")()
	f.broker.kill()
	upTo(ctx, random, 2*time.Second)
	if err := f.broker.start(); err != nil {
		f.failed <- err
	}
}

// restartAPI kills the control plane and starts it with its store. The daemons reach it again once the history is watched again, or
// much could happen unseen.
func (f *faults) restartAPI(ctx context.Context) {
	defer f.note("SIGKILL", "API")()
	watched := f.history.sessions.Load()
	f.control.kill()
	for _, d := range f.daemons {
		d.kube.set(func(p *proxy) { p.shut = true })
	}
	if err := f.control.start(); err != nil {
		f.failed <- err
	}
	for limit := time.Now().Add(time.Minute); f.history.sessions.Load() == watched && time.Now().Before(limit); {
		pause(context.WithoutCancel(ctx), 5*time.Millisecond)
	}
	for _, d := range f.daemons {
		d.kube.set(func(p *proxy) { p.shut = false })
	}
}
