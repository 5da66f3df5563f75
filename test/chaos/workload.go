package chaos

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
)

// workload uses and orders servers around: one goroutine for each, so that what is sent to one server has an order.
type workload struct {
	nc     *nats.Conn
	js     jetstream.JetStream
	client kubernetes.Interface
	record *recorder
}

// somebodyElse is the field manager that makes the foreign servers zero, and wakes the rivaled ones.
const somebodyElse = "somebody-else"

// tooMany replicas are refused: the daemon's limit is 10.
const tooMany = 99

// newServers says who the servers are.
func newServers(n int, random *rand.Rand) map[string]*Server {
	kinds := []struct {
		kind  Kind
		share int // of 100
	}{{Pinged, 26}, {Leased, 12}, {Ordered, 21}, {Asked, 12}, {Unused, 5}, {Paused, 4}, {Foreign, 6}, {Rivaled, 7}, {Remade, 7}}
	servers := make(map[string]*Server)
	for i := range n {
		at := random.IntN(100)
		for _, k := range kinds {
			if at -= k.share; at < 0 {
				name := fmt.Sprintf("%s-%03d", k.kind, i)
				servers[name] = &Server{Name: name, Kind: k.kind, IdleAfter: time.Duration(4+random.IntN(5)) * time.Second}
				break
			}
		}
	}
	return servers
}

// create makes the Deployment of a server.
func (w *workload) create(ctx context.Context, s *Server, random *rand.Rand) error {
	labels := map[string]string{"app": s.Name}
	replicas := int32(1 + random.IntN(3))
	d := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{
			Name: s.Name, Labels: map[string]string{"app.kubernetes.io/component": "mcp-server"},
			Annotations: map[string]string{prefix + "idle-after": s.IdleAfter.String()},
		},
		Spec: appsv1.DeploymentSpec{
			Replicas: &replicas, Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "mcp", Image: "example.com/mcp"}}},
			},
		},
	}
	if s.Kind == Paused {
		d.Annotations[prefix+"paused"] = "true"
	}
	_, err := w.client.AppsV1().Deployments(namespace).Create(ctx, d, metav1.CreateOptions{})
	if err == nil && s.Kind == Foreign && random.IntN(2) == 0 {
		err = w.zero(ctx, s) // the others later, while they are in use
		for apierrors.IsConflict(err) && ctx.Err() == nil {
			err = w.zero(ctx, s) // the cluster has written its status meanwhile
		}
	}
	return err
}

// zero makes a server zero by another field manager, unless it is so.
func (w *workload) zero(ctx context.Context, s *Server) error {
	deployments := w.client.AppsV1().Deployments(namespace)
	d, err := deployments.Get(ctx, s.Name, metav1.GetOptions{})
	if err != nil || *d.Spec.Replicas == 0 {
		return err
	}
	patch := fmt.Sprintf(`{"metadata":{"resourceVersion":%q},"spec":{"replicas":0}}`, d.ResourceVersion)
	_, err = deployments.Patch(ctx, s.Name, types.MergePatchType, []byte(patch), metav1.PatchOptions{FieldManager: somebodyElse})
	return err
}

// wake gives a server at zero replicas by another field manager, as "kubectl scale" does: whatever it is by then.
func (w *workload) wake(ctx context.Context, s *Server, replicas int) {
	patch := fmt.Appendf(nil, `{"spec":{"replicas":%d}}`, replicas)
	_, _ = w.client.AppsV1().Deployments(namespace).Patch(ctx, s.Name, types.MergePatchType, patch, metav1.PatchOptions{FieldManager: somebodyElse})
}

// remake deletes the Deployment of a server, and makes it again after a while.
func (w *workload) remake(ctx context.Context, s *Server, random *rand.Rand) {
	gap := time.Duration(random.Int64N(int64(2 * time.Second)))
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Minute) // to the end: the server is there when all is over
	defer cancel()
	m := &Remake{Server: s.Name, Deleting: time.Now()}
	defer w.record.remade(m)
	deployments := w.client.AppsV1().Deployments(namespace)
	for ctx.Err() == nil {
		if err := deployments.Delete(ctx, s.Name, metav1.DeleteOptions{}); err == nil || apierrors.IsNotFound(err) {
			break
		}
		pause(ctx, 100*time.Millisecond)
	}
	pause(ctx, gap)
	for ctx.Err() == nil {
		if err := w.create(ctx, s, random); err == nil || apierrors.IsAlreadyExists(err) {
			m.Made = time.Now()
			return
		}
		pause(ctx, 100*time.Millisecond)
	}
}

// run works until ctx is done. Each server has random numbers of its own, so that what it does hangs on nothing else.
func (w *workload) run(ctx context.Context) {
	var all sync.WaitGroup
	for name, s := range w.record.Servers {
		seed := w.record.Seed
		for _, b := range []byte(name) {
			seed = seed*31 + uint64(b)
		}
		random := rand.New(rand.NewPCG(seed, 1))
		all.Go(func() {
			upTo(ctx, random, 3*time.Second)
			for n := 0; ctx.Err() == nil; n++ {
				w.step(ctx, s, random, n)
			}
		})
	}
	all.Wait()
}

// step does one thing to a server, and pauses.
func (w *workload) step(ctx context.Context, s *Server, random *rand.Rand, n int) {
	switch s.Kind {
	case Unused:
		pause(ctx, time.Second)
	case Leased:
		ttl := time.Duration(1+random.IntN(6)) * time.Second
		switch random.IntN(5) {
		case 0:
			ttl = 0
		case 1:
			ttl = wakeWithin + 5*time.Second // the shorter ones may be over before anybody has to have woken the server
		}
		w.lease(ctx, s, fmt.Sprintf("holder-%d", random.IntN(2)), ttl)
		upTo(ctx, random, ttl+s.IdleAfter)
	case Foreign:
		if n > 5 && random.IntN(5) == 0 {
			_ = w.zero(ctx, s) // as soon as it gets through
		}
		w.ping(ctx, s)
		upTo(ctx, random, s.IdleAfter/2)
	case Rivaled:
		switch asleep := w.record.now(s.Name).Replicas == 0; {
		case asleep && random.IntN(3) > 0:
			w.wake(ctx, s, 1+random.IntN(3))
			upTo(ctx, random, 2*s.IdleAfter)
		case random.IntN(3) == 0:
			w.order(ctx, s, random, n)
		default:
			w.ping(ctx, s)
		}
		upTo(ctx, random, 3*time.Second)
	case Ordered, Asked, Remade:
		if s.Kind == Remade && n > 0 && random.IntN(5) == 0 {
			w.remake(ctx, s, random)
			return
		}
		if random.IntN(5) < 2 {
			w.ping(ctx, s)
		} else {
			w.order(ctx, s, random, n)
		}
		upTo(ctx, random, 3*time.Second)
	case Paused, Pinged:
		w.ping(ctx, s)
		switch random.IntN(3) {
		case 0:
			upTo(ctx, random, 3*s.IdleAfter)
		case 1:
			upTo(ctx, random, s.IdleAfter)
		case 2: // at the moment at which it is put to sleep
			pause(ctx, s.IdleAfter)
			upTo(ctx, random, sweepEvery+100*time.Millisecond)
		}
	}
}

// sweepEvery is how often the daemons look for unused servers.
const sweepEvery = time.Second

// upTo pauses for a random time.
func upTo(ctx context.Context, random *rand.Rand, most time.Duration) {
	pause(ctx, time.Duration(random.Int64N(int64(most)+1)))
}

// within is how long the stream may take to acknowledge.
const within = 5 * time.Second

// ping says that a server is used.
func (w *workload) ping(ctx context.Context, s *Server) {
	w.store(ctx, &Use{Server: s.Name}, "cortex.mcp.activity."+namespace+"."+s.Name, nil)
}

// lease says that a holder uses a server for a while.
func (w *workload) lease(ctx context.Context, s *Server, holder string, ttl time.Duration) {
	w.store(ctx, &Use{Server: s.Name, Holder: holder, TTL: ttl},
		fmt.Sprintf("cortex.mcp.lease.%s.%s.%s", holder, namespace, s.Name), fmt.Appendf(nil, `{"ttl":%q}`, ttl))
}

func (w *workload) store(ctx context.Context, u *Use, subject string, payload []byte) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), within)
	defer cancel()
	u.Sent = time.Now()
	stored, err := w.js.Publish(ctx, subject, payload)
	if err == nil {
		u.Acked, u.Sequence = time.Now(), stored.Sequence
	}
	w.record.use(u)
}

// order sends a command.
func (w *workload) order(ctx context.Context, s *Server, random *rand.Rand, n int) {
	o := &Order{ID: s.Name + "-" + strconv.Itoa(n), Server: s.Name, Request: s.Kind == Asked}
	payload := map[string]any{"id": o.ID, "actor": "chaos"}
	switch at := random.IntN(100); {
	case at < 35:
		o.Verb = "start"
		payload["wait"] = "0s"
		if at < 10 {
			payload["wait"] = "5s"
		}
	case at < 65:
		o.Verb = "stop"
		payload["force"] = at < 45
	default:
		o.Verb, o.Replicas = "scale", random.IntN(5)
		if at >= 95 {
			o.Replicas, o.Invalid = tooMany, true
		}
		payload["replicas"] = o.Replicas
	}
	data, _ := json.Marshal(payload) // strings and numbers
	m := nats.NewMsg("cortex.mcp.command." + o.Verb + "." + namespace + "." + s.Name)
	if o.Request {
		m.Subject = "cortex.mcp.api." + o.Verb + "." + namespace + "." + s.Name
	}
	m.Data = data
	careful, doubts := random.IntN(2) == 0, random.IntN(3) == 0
	if careful {
		m.Header.Set(nats.MsgIdHdr, o.ID)
	}
	ctx = context.WithoutCancel(ctx)
	o.Sent = time.Now()
	w.send(ctx, o, m)
	// Who gives a command an id may send it again: because no answer came, or because he does not know that it did.
	for careful && len(o.Again) < 3 && (o.Acked.IsZero() || doubts) {
		doubts = false
		upTo(ctx, random, time.Second)
		o.Again = append(o.Again, time.Now())
		w.send(ctx, o, m)
	}
	w.record.order(o)
}

// send sends a command, for the first time or again.
func (w *workload) send(ctx context.Context, o *Order, m *nats.Msg) {
	ctx, cancel := context.WithTimeout(ctx, 2*within)
	defer cancel()
	if o.Request {
		w.ask(ctx, o, m)
	} else if stored, err := w.js.PublishMsg(ctx, m); err == nil && o.Acked.IsZero() {
		o.Acked, o.Sequence = time.Now(), stored.Sequence
	}
}

// ask sends a command as a request.
func (w *workload) ask(ctx context.Context, o *Order, m *nats.Msg) {
	reply, err := w.nc.RequestMsgWithContext(ctx, m)
	if err != nil || !o.Acked.IsZero() {
		return
	}
	var answer struct{ Command struct{ Sequence uint64 } }
	_ = json.Unmarshal(reply.Data, &answer) // an error may have none
	o.Acked, o.Sequence = time.Now(), answer.Command.Sequence
	o.Code, _ = strconv.Atoi(reply.Header.Get("Nats-Service-Error-Code"))
}
