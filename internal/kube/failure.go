package kube

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"idle-scaler/scaler"
)

// request is what was asked of the API server.
type request struct {
	verb      string // as RBAC knows it
	resource  string // with its group, as RBAC knows it: deployments.apps
	namespace string // empty: all, or the resource lies in none
	name      string // empty: not about one object
}

// deployments are what most requests are about, as RBAC knows them.
const deployments = "deployments.apps"

func (r request) String() string {
	text := r.verb + " " + r.resource
	switch {
	case r.name != "" && r.namespace == "":
		return text + " " + r.name
	case r.name != "":
		return text + " " + r.namespace + "/" + r.name
	case r.namespace != "":
		return text + " in " + r.namespace
	}
	return text
}

// failure turns an error of client-go into one of the scaler's: what it may do about it, and what people may.
func (r request) failure(err error) error {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return fmt.Errorf("%w: %s: %w", scaler.ErrUnsure, r, err)
	}
	s := status.Status()
	switch {
	case s.Reason == metav1.StatusReasonConflict:
		return fmt.Errorf("%w: %s: it was changed by somebody else meanwhile: see who writes it with kubectl -n %s get %s %s -o yaml --show-managed-fields, and try again",
			scaler.ErrConflict, r, r.namespace, r.resource, r.name)
	case s.Code == http.StatusNotFound && r.resource == deployments && r.name != "":
		return fmt.Errorf("%w: %s in %s: see which there are with idle-scaler list -n %[3]s", scaler.ErrUnknown, s.Message, r.namespace)
	case s.Code == http.StatusNotFound:
		return fmt.Errorf("%w: %s", scaler.ErrUnknown, s.Message)
	case s.Code == http.StatusForbidden && strings.Contains(s.Message, " cannot "+r.verb+" resource "):
		return r.forbidden()
	case s.Code == http.StatusUnauthorized: // while tokens or keys are changed: the next token may be taken
	case s.Code == http.StatusRequestTimeout, s.Code == http.StatusTooManyRequests, s.Code == http.StatusGone:
	case s.Code >= 400 && s.Code < 500: // admission says no with most of these
		return fmt.Errorf("%w: %s: %s", scaler.ErrRefused, r, s.Message)
	}
	return fmt.Errorf("%w: %s: %w", scaler.ErrUnsure, r, err)
}

func (r request) forbidden() error {
	if r.resource == "namespaces" {
		which := ""
		if r.name != "" {
			which = ", with resourceNames: [" + r.name + "]"
		}
		return fmt.Errorf("%w: the API server refuses to %s: add it to a ClusterRole of idle-scaler's ServiceAccount%s, bound by a ClusterRoleBinding; a Role can't grant it",
			scaler.ErrRefused, r, which)
	}
	if r.namespace == "" {
		return fmt.Errorf("%w: the API server refuses to %s %s in all namespaces: add it to the ClusterRole of idle-scaler's ServiceAccount",
			scaler.ErrRefused, r.verb, r.resource)
	}
	return fmt.Errorf("%w: the API server refuses to %s %s in %s: add it to the Role of idle-scaler's ServiceAccount",
		scaler.ErrRefused, r.verb, r.resource, r.namespace)
}

// relists reports whether an error of a watch only makes client-go list anew: the version that it knows is too old by now, or the
// API server is of before Kubernetes 1.32 and can't begin a watch with a list.
func relists(err error) bool {
	return apierrors.IsResourceExpired(err) || apierrors.IsGone(err) || apierrors.IsInvalid(err) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}
