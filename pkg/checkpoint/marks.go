package checkpoint

import "time"

// Marks are whole seconds: CloudTrail's times are, and LookupEvents takes no finer ones.
func wholeSecond(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }

// Floor is the mark that the promise hangs on: every event before it is settled, or in a backlog span. It never goes
// back. The zero Floor stands at no time at all. It is a value; its user does the locking.
type Floor struct {
	at   time.Time // where it stands
	read time.Time // how far final passes have read; never before at
}

// Time returns where the Floor stands.
func (f Floor) Time() time.Time { return f.at }

// Read notes that a final pass has read everything before end. The Floor itself moves with Advance.
func (f *Floor) Read(end time.Time) {
	if end = wholeSecond(end); end.After(f.read) {
		f.read = end
	}
}

// Advance moves the Floor as far as what was read is settled: not past oldest, the time of the oldest event that isn't
// settled (any holds the Floor, also one that was begun after the pass was read). Zero: everything is settled.
func (f *Floor) Advance(oldest time.Time) {
	to := f.read
	if !oldest.IsZero() && oldest.Before(to) {
		to = wholeSecond(oldest)
	}
	if to.After(f.at) {
		f.at = to
	}
}

// put places the Floor, when a State is loaded or reset.
func (f *Floor) put(at time.Time) { f.at = wholeSecond(at); f.read = f.at }

// Watermark is the mark that people look at: everything that head scans read up to and including it is settled. It
// never goes back. It is a value; its user does the locking.
type Watermark struct {
	at   time.Time
	read time.Time
}

// Time returns where the Watermark stands.
func (w Watermark) Time() time.Time { return w.at }

// Read notes that a head scan has read everything up to end.
func (w *Watermark) Read(end time.Time) {
	if end = wholeSecond(end); end.After(w.read) {
		w.read = end
	}
}

// Advance moves the Watermark as far as what was read is settled: to the last second before oldest, the time of the
// oldest event that a complete read has shown and that isn't settled. Zero: everything is settled.
func (w *Watermark) Advance(oldest time.Time) {
	to := w.read
	if !oldest.IsZero() && !oldest.After(to) {
		to = wholeSecond(oldest).Add(-time.Second)
	}
	if to.After(w.at) {
		w.at = to
	}
}

func (w *Watermark) put(at time.Time) { w.at = wholeSecond(at); w.read = w.at }
