// Package poller reads the write events of one Scope with CloudTrail's LookupEvents, and hands the create events on.
//
// Events become visible minutes late and out of order, and AWS answers two calls a second. So there are three loops under
// one rate: the final pass reads every stretch of time once, when nothing can become visible there any more, and carries
// the promise; the head scan reads the last minutes again and again, for speed; the backlog reads spans of the past. Each
// reads all writes, or one event name after another, whichever is cheaper.
//
// Invariants: a mark is reported to the Ledger only when every page of its window was read and every event on it was
// begun there. No more than Config.Rate attempts a second are made, whatever fails. 'Now' is AWS's time.
//
// The layers: schedule.go decides what is read next (pure); reader.go and pass.go keep what is being read (no clock, no
// network); poller.go makes the calls.
package poller
