package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"idle-scaler/policy"
	"idle-scaler/scaler"
)

// annotate writes a setting on the test's namespace; empty takes it away.
func (b *bench) annotate(key, value string) {
	b.t.Helper()
	text := fmt.Sprintf("%q", value)
	if value == "" {
		text = "null"
	}
	patch := fmt.Sprintf(`{"metadata":{"annotations":{"idle-scaler/%s":%s}}}`, key, text)
	if _, err := b.kube.CoreV1().Namespaces().Patch(b.t.Context(), b.namespace, types.MergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
		b.t.Fatal(err)
	}
}

// What is written on a server beats what is written on its namespace, and that beats the flags; each answer says where a setting comes
// from. A change on the namespace counts at once, and what can't be read there lets none of its servers sleep.
func TestSettingsComeFromThreePlaces(t *testing.T) {
	b := newBench(t)
	b.annotate("idle-after", "never")
	b.deploy("plain")
	b.deploy("own", annotation("idle-after", "2s"))
	events := b.events()
	b.run(append(idle, "--max-replicas", "7")...)
	b.ping("somebody-else")
	events.next(scaler.Slept, "own")
	plain := b.awaitReason("plain", policy.Awake)
	if plain.Settings["idle_after"] != "never" || plain.Settings["max_replicas"] != 7.0 ||
		plain.Sources["idle_after"] != "namespace" || plain.Sources["max_replicas"] != "configuration" || plain.Sources["paused"] != "default" {
		t.Errorf("settings %+v from %v", plain.Settings, plain.Sources)
	}
	if own, err := b.status("own"); err != nil || own.Sources["idle_after"] != "annotation" {
		t.Errorf("sources %v, %v", own.Sources, err)
	}
	if text := b.says(0, "explain", b.namespace+"/plain"); !containsAll(text, "idle-after", "never", "namespace") {
		t.Errorf("explained as\n%s", text)
	}

	b.annotate("idle-after", "soon")
	if s := b.awaitReason("plain", policy.Unreadable); !containsAll(s.Decision.Text, "namespace", `"soon"`) {
		t.Errorf("it says %q", s.Decision.Text)
	}
	events.next(scaler.Unreadable, "plain")
	consistently(t, 4*time.Second, "unreadable, and asleep", b.staysAt("plain", 1))
	b.annotate("idle-after", "")
	if e := events.next(scaler.Slept, "plain"); !strings.Contains(e.Text, "3s") {
		t.Errorf("told %+v, its idle-after is that of the flags again", e)
	}
}
