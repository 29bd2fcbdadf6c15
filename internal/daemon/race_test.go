//go:build race

package daemon

import "time"

// wholeDay is less of it under the race detector, which takes five times as long.
const wholeDay = 2 * time.Hour
