// Package e2e has no code: it is here so that `go mod tidy` keeps what upstream's end-to-end tests
// require. `go test -c k8s.io/kubernetes/test/e2e` makes a program of them.
package e2e

import _ "k8s.io/kubernetes/test/e2e"
