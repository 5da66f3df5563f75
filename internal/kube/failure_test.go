package kube

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"idle-scaler/scaler"
)

// Every answer of the API server is one of five: the scaler decides by them whether to try again, and people what to change.
func TestFailure(t *testing.T) {
	deployments := schema.GroupResource{Group: "apps", Resource: "deployments"}
	cannot := errors.New(`User "system:serviceaccount:ops:idle-scaler" cannot patch resource "deployments" in API group "apps" in the namespace "team-a"`)
	kinds := []error{scaler.ErrConflict, scaler.ErrUnknown, scaler.ErrUnmanaged, scaler.ErrRefused, scaler.ErrUnsure}
	for _, c := range []struct {
		name string
		err  error
		kind error
		says string
	}{
		{
			"another version", apierrors.NewConflict(deployments, "search", errors.New("modified")), scaler.ErrConflict,
			"patch deployments.apps team-a/search: it was changed by somebody else meanwhile: see who writes it with kubectl -n team-a get deployments.apps search -o yaml --show-managed-fields, and try again",
		},
		{
			"gone", apierrors.NewNotFound(deployments, "search"), scaler.ErrUnknown,
			`deployments.apps "search" not found in team-a: see which there are with idle-scaler list -n team-a`,
		},
		{
			"no right", apierrors.NewForbidden(deployments, "search", cannot), scaler.ErrRefused,
			"the API server refuses to patch deployments.apps in team-a: add it to the Role of idle-scaler's ServiceAccount",
		},
		{"a webhook says no", apierrors.NewForbidden(deployments, "search", errors.New(`admission webhook "freeze" denied the request: change freeze`)), scaler.ErrRefused, "change freeze"},
		{"a token that is not taken, yet or any more", apierrors.NewUnauthorized("token expired"), scaler.ErrUnsure, "token expired"},
		{"invalid", apierrors.NewInvalid(schema.GroupKind{Group: "apps", Kind: "Deployment"}, "search", nil), scaler.ErrRefused, "invalid"},
		{"bad request", apierrors.NewBadRequest("what?"), scaler.ErrRefused, "what?"},
		{"too large", apierrors.NewRequestEntityTooLargeError("limit is 3145728"), scaler.ErrRefused, "limit is 3145728"},
		{"too many requests", apierrors.NewTooManyRequests("later", 1), scaler.ErrUnsure, "later"},
		{"the API server's own fault", apierrors.NewInternalError(errors.New(`failed calling webhook "freeze": timeout`)), scaler.ErrUnsure, "failed calling webhook"},
		{"its time is up", apierrors.NewTimeoutError("etcd", 1), scaler.ErrUnsure, "etcd"},
		{"etcd away", apierrors.NewServiceUnavailable("no leader"), scaler.ErrUnsure, "no leader"},
		{"no network", errors.New("dial tcp: connection refused"), scaler.ErrUnsure, "connection refused"},
		{"no answer in time", fmt.Errorf("do: %w", context.DeadlineExceeded), scaler.ErrUnsure, "deadline"},
	} {
		err := request{"patch", "deployments.apps", "team-a", "search"}.failure(c.err)
		for _, kind := range kinds {
			if is, want := errors.Is(err, kind), errors.Is(c.kind, kind); is != want {
				t.Errorf("%s: is %q: %v (%v)", c.name, kind, is, err)
			}
		}
		if !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %q does not say %q", c.name, err, c.says)
		}
	}
	everywhere := request{"list", "deployments.apps", "", ""}.failure(apierrors.NewForbidden(deployments, "",
		errors.New(`User "x" cannot list resource "deployments" in API group "apps" at the cluster scope`)))
	if !strings.Contains(everywhere.Error(), "in all namespaces: add it to the ClusterRole") {
		t.Errorf("forbidden everywhere: %v", everywhere)
	}
	// A Role can't grant what lies in no namespace: who is sent there would search in vain.
	for name, says := range map[string]string{
		"":       "refuses to list namespaces: add it to a ClusterRole of idle-scaler's ServiceAccount, bound by a ClusterRoleBinding; a Role can't grant it",
		"team-a": "refuses to list namespaces team-a: add it to a ClusterRole of idle-scaler's ServiceAccount, with resourceNames: [team-a], bound by",
	} {
		err := request{"list", "namespaces", "", name}.failure(apierrors.NewForbidden(schema.GroupResource{Resource: "namespaces"}, name,
			errors.New(`User "x" cannot list resource "namespaces" in API group "" at the cluster scope`)))
		if !errors.Is(err, scaler.ErrRefused) || !strings.Contains(err.Error(), says) {
			t.Errorf("forbidden to list namespaces %s: %v", name, err)
		}
	}
}
