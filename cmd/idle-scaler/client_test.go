package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"idle-scaler/scaler"
)

// answering is a daemon that knows three servers, and refuses to start one of them.
func answering(t *testing.T, url string) {
	t.Helper()
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	_, err = nc.Subscribe("cortex.mcp.api.>", func(m *nats.Msg) {
		answer := nats.NewMsg(m.Reply)
		summary := `{"namespace":"%s","name":"%s","status":"running","replicas":1,"ready_replicas":1,"endpoints":[]}`
		switch verb := strings.Split(m.Subject, ".")[3:]; {
		case len(verb) == 3 && verb[2] == "broken":
			answer.Header.Set("Nats-Service-Error-Code", "503")
			answer.Header.Set("Nats-Service-Error", "failed: ImagePullBackOff")
			answer.Data = []byte(`{"error":{"code":503,"text":"failed: ImagePullBackOff"}}`)
		case verb[0] == "list":
			var servers []string
			for _, id := range [][2]string{{"team-a", "files"}, {"team-a", "web"}, {"team-b", "web"}} {
				if len(verb) == 1 || verb[1] == id[0] {
					servers = append(servers, fmt.Sprintf(summary, id[0], id[1]))
				}
			}
			answer.Data = fmt.Appendf(nil, `{"servers":[%s]}`, strings.Join(servers, ","))
		case verb[0] == "status":
			answer.Data = fmt.Appendf(nil, summary, verb[1], verb[2])
		default:
			answer.Data = fmt.Appendf(nil, `{"server":`+summary+`,"event":{"type":"woken","from":0,"to":1}}`, verb[1], verb[2])
		}
		_ = nc.PublishMsg(answer)
	})
	if err == nil {
		err = nc.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A server is NS/NAME, or NAME with -n; the namespace that is written with the name counts.
func TestNames(t *testing.T) {
	for _, test := range []struct {
		namespace, text string
		want            scaler.ID
		wrong           string
	}{
		{"", "team-a/web", scaler.ID{Namespace: "team-a", Name: "web"}, ""},
		{"team-a", "web", scaler.ID{Namespace: "team-a", Name: "web"}, ""},
		{"team-a", "team-b/web", scaler.ID{Namespace: "team-b", Name: "web"}, ""},
		{"team-a", "web.v2", scaler.ID{Namespace: "team-a", Name: "web.v2"}, ""},
		{"", "web", scaler.ID{}, "name its namespace too: NAMESPACE/web"},
		{"", "/web", scaler.ID{}, "name its namespace too"},
		{"", "team-a/", scaler.ID{}, `name ""`},
		{"", "team-a/web/x", scaler.ID{}, `name "web/x"`},
		{"team.a", "web", scaler.ID{}, `namespace "team.a"`},
		{"team-a", "*", scaler.ID{}, `name "*"`},
	} {
		id, err := (&client{namespace: test.namespace}).server(test.text)
		if test.wrong == "" && (err != nil || id != test.want) || test.wrong != "" && (err == nil || !strings.Contains(err.Error(), test.wrong)) {
			t.Errorf("-n %q %q: got %v, %v", test.namespace, test.text, id, err)
		}
	}
}

// Several servers are asked at once and told in the order in which they were named; that one is refused changes nothing for the others.
func TestSeveralServers(t *testing.T) {
	url := startNATS(t)
	answering(t, url)
	code, out, errs := execute("start", "--nats", url, "-n", "team-a", "web", "broken", "files")
	want := "team-a/web woken: 0 → 1 replicas, 1 ready\nteam-a/files woken: 0 → 1 replicas, 1 ready\n"
	if code != exitFailed || out != want || !strings.Contains(errs, "team-a/broken: failed: ImagePullBackOff (code 503)") {
		t.Errorf("ended with %d and said\n%s%s", code, out, errs)
	}
	code, out, errs = execute("status", "--nats", url, "-o", "yaml", "team-a/web", "team-b/web")
	if code != 0 || strings.Count(out, "---\n") != 2 || strings.Count(out, "\nname: web\n") != 2 {
		t.Errorf("the documents should be told apart: ended with %d and said\n%s%s", code, out, errs)
	}
}

// The shell is offered the servers that fit, and nothing when nobody answers: no error, no file names.
func TestCompletion(t *testing.T) {
	url := startNATS(t)
	answering(t, url)
	for _, test := range []struct {
		name string
		env  string // NATS_URL
		args []string
		want []string
	}{
		{"all", url, []string{"status", ""}, []string{"team-a/files", "team-a/web", "team-b/web"}},
		{"by NATS flag", "", []string{"status", "--nats", url, "team-b"}, []string{"team-b/web"}},
		{"of a namespace", url, []string{"start", "-n", "team-a", ""}, []string{"files", "web"}},
		{"not one that is there already", url, []string{"stop", "team-a/web", "team-a/"}, []string{"team-a/files"}},
		{"scale: a number first", url, []string{"scale", ""}, nil},
		{"scale: then names", url, []string{"scale", "3", "team-b"}, []string{"team-b/web"}},
		{"list takes no name", url, []string{"list", ""}, nil},
		{"no NATS", "", []string{"status", ""}, nil},
		{"NATS away", nowhere, []string{"status", ""}, nil},
		{"NATS of the daemon", "embedded", []string{"status", ""}, nil},
		{"another prefix", url, []string{"status", "--prefix", "other", ""}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv("NATS_URL", test.env)
			code, out, _ := execute(append([]string{"__complete"}, test.args...)...)
			want := strings.Join(append(test.want, ":4\n"), "\n") // 4: no file names
			if code != 0 || out != want {
				t.Errorf("ended with %d and offered\n%s\nwant\n%s", code, out, want)
			}
		})
	}
}
