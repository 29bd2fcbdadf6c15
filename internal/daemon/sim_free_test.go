//go:build !simreplay

package daemon

import "testing"

// replays says whether a seed has one history. Here the scheduler, select, map iterations and math/rand have their say too.
const replays = false

func alone() bool { return false }

func reseed(*testing.T, uint64) {}

func inProcess(*testing.T, string, uint64, string) string { return "" }

func collect(<-chan struct{}) {}
