package chaos

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"k8s.io/client-go/tools/clientcmd"
)

// What all daemons are told: everything is short, so that much happens in a run.
const (
	namespace     = "chaos"
	leaseDuration = 3 * time.Second
	settle        = time.Second
	commandMaxAge = 90 * time.Second // longer than what keeps commands waiting in a run, so that an expired one is a finding
)

// daemon is one replica of idle-scaler, with its own ways to NATS and to the API server. It is started again whenever it has ended, as
// Kubernetes would do it.
type daemon struct {
	name       string
	program    string
	dir        string
	record     *recorder
	nats, kube *proxy

	mu      sync.Mutex
	process *process
	lives   int
	down    bool          // killed by us, and to stay so
	ahead   time.Duration // of the clock of this life and the following; negative: behind
	frozen  bool
}

// newDaemon returns a daemon that is not started, and its proxies.
func newDaemon(number int, program, dir string, record *recorder, nats, api, kubeconfig string) (*daemon, error) {
	d := &daemon{name: fmt.Sprintf("daemon-%d", number), program: program, dir: dir, record: record}
	var err error
	if d.nats, err = newProxy(nats); err != nil {
		return nil, err
	}
	if d.kube, err = newProxy(api); err != nil {
		return nil, err
	}
	config, err := clientcmd.LoadFromFile(kubeconfig)
	if err != nil {
		return nil, err
	}
	for _, cluster := range config.Clusters {
		cluster.Server = "https://" + d.kube.Addr().String()
	}
	return d, clientcmd.WriteToFile(*config, d.kubeconfig())
}

func (d *daemon) kubeconfig() string { return filepath.Join(d.dir, d.name+".kubeconfig") }

// run keeps the daemon running until ctx is done.
func (d *daemon) run(ctx context.Context) {
	for ctx.Err() == nil {
		d.mu.Lock()
		down := d.down
		d.mu.Unlock()
		if down {
			pause(ctx, 20*time.Millisecond)
			continue
		}
		p, err := d.start()
		if err != nil {
			d.record.exit(Exit{d.name, time.Now(), -1, err.Error()})
			pause(ctx, time.Second)
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-p.ended:
		}
		d.mu.Lock()
		stopped := d.down
		d.mu.Unlock()
		if !stopped && !p.killed.Load() && ctx.Err() == nil {
			d.record.exit(Exit{d.name, time.Now(), p.ProcessState.ExitCode(), lastLines(p.log)})
			pause(ctx, 300*time.Millisecond)
		}
	}
}

func (d *daemon) start() (*process, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.lives++
	d.record.live(d.name, d.ahead)
	clock := []string{"CHAOS_CLOCK_AHEAD=" + strconv.Itoa(int(d.ahead/time.Second))}
	p, _, err := startProcess(filepath.Join(d.dir, fmt.Sprintf("%s.%d.log", d.name, d.lives)), 0, clock, d.program, "run",
		"--kubeconfig", d.kubeconfig(), "--nats", "nats://"+d.nats.Addr().String(),
		"--namespaces", namespace, "--lease-namespace", namespace, "--lease-duration", leaseDuration.String(),
		"--listen", "127.0.0.1:0", "--log-level", "debug", "--log-format", "json",
		"--idle-after", "6s", "--schedule", "@every 1s", "--settle", settle.String(), "--min-awake", "0s",
		"--command-max-age", commandMaxAge.String(), "--start-deadline", "60s")
	if err == nil {
		d.process = p
	}
	return p, err
}

// kill ends the daemon, which stays so until up is called.
func (d *daemon) kill() {
	d.mu.Lock()
	d.down = true
	p := d.process
	d.mu.Unlock()
	if p != nil {
		p.kill()
	}
}

func (d *daemon) up() { d.mu.Lock(); defer d.mu.Unlock(); d.down = false }

// setClock makes the clock of the next life so much ahead, or behind when negative.
func (d *daemon) setClock(ahead time.Duration) { d.mu.Lock(); defer d.mu.Unlock(); d.ahead = ahead }

// clock is by how much the clock is ahead.
func (d *daemon) clock() time.Duration { d.mu.Lock(); defer d.mu.Unlock(); return d.ahead }

// freeze makes the daemon stand still where it is, until thaw.
func (d *daemon) freeze() { d.signal(syscall.SIGSTOP, true) }
func (d *daemon) thaw()   { d.signal(syscall.SIGCONT, false) }

func (d *daemon) signal(s syscall.Signal, frozen bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.frozen = frozen
	if d.process != nil {
		_ = d.process.Process.Signal(s)
	}
}

// stop asks the daemon to end, as Kubernetes does. It returns the exit code, -1 when it did not end in time.
func (d *daemon) stop() int {
	d.mu.Lock()
	d.down = true
	p := d.process
	d.mu.Unlock()
	// It may have ended a moment ago, its lease lost on a busy machine. A process that was only just started does not listen to signals yet.
	for limit := time.Now().Add(10 * time.Second); p.address() == "" && time.Now().Before(limit); {
		time.Sleep(20 * time.Millisecond)
	}
	_ = p.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.ended:
		return p.ProcessState.ExitCode()
	case <-time.After(30 * time.Second):
		_ = p.Process.Signal(syscall.SIGQUIT) // says where it hangs
		time.Sleep(time.Second)
		p.kill()
		return -1
	}
}

// watch samples the daemon's metrics until ctx is done.
func (d *daemon) watch(ctx context.Context) {
	for ctx.Err() == nil {
		if s, err := d.scrape(ctx); err == nil {
			d.record.sample(s)
		}
		pause(ctx, time.Second)
	}
}

// scrape reads the daemon's metrics.
func (d *daemon) scrape(ctx context.Context) (Sample, error) {
	d.mu.Lock()
	p, frozen := d.process, d.frozen
	d.mu.Unlock()
	if p == nil || frozen {
		return Sample{}, fmt.Errorf("%s is not there", d.name)
	}
	address := p.address()
	if address == "" {
		return Sample{}, fmt.Errorf("%s does not serve metrics yet", d.name)
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/metrics", nil)
	if err != nil {
		return Sample{}, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return Sample{}, err
	}
	defer func() { _ = response.Body.Close() }()
	s := Sample{Daemon: d.name, PID: p.Process.Pid, At: time.Now()}
	lines := bufio.NewScanner(response.Body)
	for lines.Scan() {
		name, text, _ := strings.Cut(lines.Text(), " ")
		value, _ := strconv.ParseFloat(text, 64)
		switch name {
		case "go_goroutines":
			s.Goroutines = int(value)
		case "process_resident_memory_bytes":
			s.Memory = int(value)
		case "idle_scaler_panics_total":
			s.Panics = int(value)
		case "idle_scaler_leader":
			s.Leads = value == 1
		}
	}
	return s, lines.Err()
}

// leads reports whether the daemon says that it leads.
func (d *daemon) leads(ctx context.Context) bool {
	s, err := d.scrape(ctx)
	return err == nil && s.Leads
}

// address is where a daemon serves its metrics, as its log says; empty before it does.
func (p *process) address() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.serves != "" {
		return p.serves
	}
	text, _ := os.ReadFile(p.log)
	for line := range bytes.Lines(text) {
		var entry struct{ Msg, Address string }
		if json.Unmarshal(line, &entry) == nil && entry.Msg == "serving health and metrics" {
			p.serves = entry.Address
		}
	}
	return p.serves
}

// lastLines are some: what is still logged while a process ends may come after why it ends.
func lastLines(log string) string {
	text, _ := os.ReadFile(log)
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-5):], "\n")
}

// pause waits for d, or until ctx is done.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}
