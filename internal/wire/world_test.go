package wire

import "testing"

var (
	web   = ID{Namespace: "team-a", Name: "web"}
	files = ID{Namespace: "team-b", Name: "files.v2"}
)

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
