package checkpoint_test

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/autotagd/autotagd/pkg/checkpoint"
	"github.com/autotagd/autotagd/pkg/event"
	"github.com/autotagd/autotagd/pkg/resource"
)

var t0 = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

func at(seconds int) time.Time { return t0.Add(time.Duration(seconds) * time.Second) }

func span(from, to int, names ...string) event.Span {
	return event.Span{Start: at(from), End: at(to), Names: names}
}

func job(id string, seconds, n int) resource.Job {
	return resource.Job{
		Event:    resource.EventRef{ID: id, Name: "RunInstances", Time: at(seconds), Scope: scope},
		Resource: resource.Resource{ID: fmt.Sprintf("i-%d", n), TagAPI: resource.EC2CreateTags, Scope: scope},
		Tags:     []resource.Tag{{Key: "Owner", Value: "alice"}},
	}
}

// waits has a deferred Job wait for action.
func waits(t *testing.T, l *checkpoint.Ledger, seconds int, action string) resource.Job {
	t.Helper()
	j := job("waits for "+action, seconds, 9)
	j.Resource.IAMAction = action
	begin(t, l, event.Live, j.Event.ID, seconds, event.New)
	l.Hold(j.Event.ID, []resource.Job{j})
	l.Defer(j)
	return j
}

func openLedger(t *testing.T, store checkpoint.Store) *checkpoint.Ledger {
	t.Helper()
	l, err := checkpoint.Open(t.Context(), store, scope, checkpoint.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// started returns a Ledger whose Floor and Watermark are at zero.
func started(t *testing.T, store checkpoint.Store) *checkpoint.Ledger {
	t.Helper()
	l := openLedger(t, store)
	if !l.Fresh() {
		t.Fatal("not fresh")
	}
	if err := l.Reset(event.Marks{Floor: at(0), Watermark: at(0)}); err != nil {
		t.Fatal(err)
	}
	return l
}

func save(t *testing.T, l *checkpoint.Ledger) {
	t.Helper()
	if err := l.Save(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func begin(t *testing.T, l *checkpoint.Ledger, s event.Stream, id string, seconds int, want event.Verdict) {
	t.Helper()
	if got := l.Begin(s, id, at(seconds)); got != want {
		t.Fatalf("Begin(%v, %s) = %v, want %v", s, id, got, want)
	}
}

func wantFloor(t *testing.T, l *checkpoint.Ledger, seconds int) {
	t.Helper()
	if got := l.Marks().Floor; !got.Equal(at(seconds)) {
		t.Fatalf("Floor = %v, want %v", got, at(seconds))
	}
}

func wantWatermark(t *testing.T, l *checkpoint.Ledger, seconds int) {
	t.Helper()
	if got := l.Marks().Watermark; !got.Equal(at(seconds)) {
		t.Fatalf("Watermark = %v, want %v", got, at(seconds))
	}
}

func wantBacklog(t *testing.T, l *checkpoint.Ledger, want ...event.Span) {
	t.Helper()
	if diff := cmp.Diff(want, l.Marks().Backlog); diff != "" {
		t.Fatalf("backlog (-want +got):\n%s", diff)
	}
}

func TestFloorWaitsForWhatIsNotSettled(t *testing.T) {
	l := started(t, checkpoint.NewMemory())
	begin(t, l, event.Live, "a", 10, event.New)
	begin(t, l, event.Live, "b", 20, event.New)
	begin(t, l, event.Live, "c", 40, event.New)
	l.FloorRead(at(30))
	wantFloor(t, l, 10)
	l.Hold("b", []resource.Job{job("b", 20, 1)})
	l.Hold("a", []resource.Job{job("a", 10, 1), job("a", 10, 2)})
	l.Finish(job("a", 10, 1))
	wantFloor(t, l, 10)
	l.Defer(job("a", 10, 2))
	wantFloor(t, l, 20)
	l.Finish(job("b", 20, 1))
	wantFloor(t, l, 30) // c lies after it
	l.FloorRead(at(25))
	wantFloor(t, l, 30)
	begin(t, l, event.Live, "a", 10, event.Settled)
	begin(t, l, event.Live, "c", 40, event.InHand)
	l.Done("c")
	begin(t, l, event.Live, "c", 40, event.Settled)
}

func TestFloorWaitsForWhatIsBegunAfterTheRead(t *testing.T) {
	l := started(t, checkpoint.NewMemory())
	begin(t, l, event.Live, "a", 10, event.New)
	l.FloorRead(at(30))
	begin(t, l, event.Live, "late", 15, event.New)
	l.Done("a")
	wantFloor(t, l, 15)
	l.Done("late")
	wantFloor(t, l, 30)
}

func TestWatermarkWaitsForWhatACompleteReadHasShown(t *testing.T) {
	l := started(t, checkpoint.NewMemory())
	begin(t, l, event.Live, "a", 10, event.New)
	l.HeadRead(at(30))
	wantWatermark(t, l, 9)
	begin(t, l, event.Live, "b", 20, event.New) // of a scan that is not complete
	l.Done("a")
	wantWatermark(t, l, 30)
	l.HeadRead(at(45))
	wantWatermark(t, l, 30)
	l.Done("b")
	wantWatermark(t, l, 45)
}

func TestBacklogAndLiveSettleApart(t *testing.T) {
	l := openLedger(t, checkpoint.NewMemory())
	if err := l.Reset(event.Marks{Floor: at(100), Backlog: []event.Span{span(0, 99)}}); err != nil {
		t.Fatal(err)
	}
	begin(t, l, event.Backlog, "old", 10, event.New)
	begin(t, l, event.Live, "new", 110, event.New)
	l.FloorRead(at(120))
	l.BacklogRead(span(0, 49))
	l.Done("new")
	wantFloor(t, l, 120)
	wantBacklog(t, l, span(0, 99))
	l.Done("old")
	wantBacklog(t, l, span(49, 99))
	begin(t, l, event.Backlog, "old", 10, event.New) // it keeps no ids
	begin(t, l, event.Live, "old", 10, event.InHand)
	l.Done("old")
	begin(t, l, event.Live, "old", 10, event.Settled)
}

func TestOneEventInBothStreamsHoldsBoth(t *testing.T) {
	l := openLedger(t, checkpoint.NewMemory())
	if err := l.Reset(event.Marks{Floor: at(100), Backlog: []event.Span{span(0, 200)}}); err != nil {
		t.Fatal(err)
	}
	begin(t, l, event.Backlog, "a", 150, event.New)
	begin(t, l, event.Live, "a", 150, event.InHand)
	begin(t, l, event.Live, "b", 160, event.New)
	begin(t, l, event.Backlog, "b", 160, event.InHand)
	l.FloorRead(at(200))
	l.BacklogRead(span(0, 200))
	wantFloor(t, l, 150)
	l.Done("a")
	wantFloor(t, l, 160)
	wantBacklog(t, l, span(0, 200))
	l.Done("b")
	wantFloor(t, l, 200)
	wantBacklog(t, l)
}

func TestCursorWaitsForEventsBegunBefore(t *testing.T) {
	l := started(t, checkpoint.NewMemory())
	c := func(name string) event.Cursor { return event.Cursor{Span: span(0, 100), Catalog: "x", Name: name} }
	begin(t, l, event.Live, "a", 10, event.New)
	begin(t, l, event.Live, "head", 500, event.New) // not in the pass
	l.NameRead(c("A"))
	begin(t, l, event.Live, "b", 20, event.New)
	l.NameRead(c("B"))
	if got := l.Marks().Cursor; got != nil {
		t.Fatalf("cursor = %v before a is settled", got)
	}
	l.Done("a")
	if got := l.Marks().Cursor; got == nil || got.Name != "A" {
		t.Fatalf("cursor = %v, want A", got)
	}
	l.Done("b")
	if got := l.Marks().Cursor; got == nil || got.Name != "B" {
		t.Fatalf("cursor = %v, want B", got)
	}
	l.FloorRead(at(100))
	if got := l.Marks().Cursor; got != nil {
		t.Fatalf("cursor = %v after the pass", got)
	}
}

func TestRestartKeepsWhatWasSaved(t *testing.T) {
	store := checkpoint.NewMemory()
	l := started(t, store)
	begin(t, l, event.Live, "a", 70, event.New)
	l.Hold("a", []resource.Job{job("a", 70, 1), job("a", 70, 2)})
	l.Finish(job("a", 70, 1))
	tried := job("a", 70, 2)
	tried.Attempts, tried.LastReason, tried.LastError = 3, resource.AccessDenied, "no \xff"
	l.Defer(tried)
	begin(t, l, event.Live, "open", 80, event.New)
	l.HeadRead(at(90))
	l.FloorRead(at(65))
	l.NameRead(event.Cursor{Span: span(60, 75), Catalog: "x", Name: "A"})
	l.AddBacklog(span(-500, -100, "B", "A", "B"))
	want := l.Marks()
	save(t, l)

	l = openLedger(t, store)
	if l.Fresh() {
		t.Error("fresh after a save")
	}
	if diff := cmp.Diff(want, l.Marks()); diff != "" {
		t.Errorf("marks (-saved +loaded):\n%s", diff)
	}
	begin(t, l, event.Live, "a", 70, event.Settled)
	begin(t, l, event.Live, "open", 80, event.New)
	tried.LastError = "no \ufffd"
	if diff := cmp.Diff([]resource.Job{tried}, l.Deferred()); diff != "" {
		t.Errorf("deferred (-want +got):\n%s", diff)
	}
	st, err := checkpoint.Read(t.Context(), store, scope)
	if err != nil || st.Seen != 1 || len(st.Deferred) != 1 {
		t.Errorf("Read = %+v, %v", st, err)
	}

	l.Finish(tried)
	save(t, l)
	if l = openLedger(t, store); l.DeferredCount() != 0 {
		t.Error("a finished Job came back")
	}
}

func TestUnstoredEventIsNeverSeenAgainHereButAfterARestart(t *testing.T) {
	store := checkpoint.NewMemory()
	l := started(t, store)
	waits(t, l, 60, "ec2:CreateTags")
	begin(t, l, event.Live, "a", 70, event.New)
	l.Hold("a", []resource.Job{job("a", 70, 1)})
	l.Unstored(job("a", 70, 1), resource.EC2CreateTags, "ec2:CreateTags")
	begin(t, l, event.Live, "a", 70, event.Settled) // or each head scan would handle it once more
	save(t, l)
	l = openLedger(t, store)
	begin(t, l, event.Live, "a", 70, event.New)
	l.Done("a")
	want := []checkpoint.Denial{{API: resource.EC2CreateTags, Action: "ec2:CreateTags", Since: at(70), Until: at(70), Names: []string{"RunInstances"}}}
	if diff := cmp.Diff(want, l.Denials()); diff != "" {
		t.Fatalf("denials (-want +got):\n%s", diff)
	}
	if l.Replay(resource.TagResources, "sqs:TagQueue", time.Now()) {
		t.Error("replayed what was never denied")
	}
	if !l.Replay(resource.EC2CreateTags, "ec2:CreateTags", time.Now()) {
		t.Error("not replayed")
	}
	wantBacklog(t, l, span(70, 70, "RunInstances"))
}

// Once no Job waits for the action any more, nobody can say that its cause is gone: the events are read again all the same.
func TestReplayWhenNobodyWaits(t *testing.T) {
	for _, restart := range []bool{false, true} {
		store := checkpoint.NewMemory()
		l := started(t, store)
		last := waits(t, l, 60, "ec2:CreateTags")
		waits(t, l, 61, "sqs:TagQueue")
		begin(t, l, event.Live, "a", 70, event.New)
		l.Hold("a", []resource.Job{job("a", 70, 1)})
		l.Unstored(job("a", 70, 1), resource.EC2CreateTags, "ec2:CreateTags")
		l.FloorRead(at(100))
		save(t, l)
		wantBacklog(t, l)
		if restart {
			l = openLedger(t, store)
		}
		l.Finish(last)
		save(t, l)
		wantBacklog(t, l, span(70, 70, "RunInstances"))
		save(t, l)
		wantBacklog(t, l, span(70, 70, "RunInstances"))
	}
}

func TestReplayAtMostOnceAnHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := started(t, checkpoint.NewMemory())
		deny := func(id string, seconds int) {
			begin(t, l, event.Live, id, seconds, event.New)
			l.Hold(id, []resource.Job{job(id, seconds, 1)})
			l.Unstored(job(id, seconds, 1), resource.EC2CreateTags, "ec2:CreateTags")
		}
		replay := func() bool {
			return l.Replay(resource.EC2CreateTags, "ec2:CreateTags", time.Now())
		}
		deny("a", 10)
		if !replay() {
			t.Fatal("not replayed")
		}
		l.BacklogRead(span(10, 10, "RunInstances"))
		wantBacklog(t, l)
		time.Sleep(10 * time.Minute)
		deny("b", 30)
		deny("c", 20)
		if replay() {
			t.Fatal("replayed twice in an hour")
		}
		save(t, l)
		if l.Due(time.Now().Add(49 * time.Minute)) {
			t.Error("due before the hour is over")
		}
		time.Sleep(50 * time.Minute)
		if !l.Due(time.Now()) {
			t.Error("not due when the hour is over")
		}
		save(t, l)
		wantBacklog(t, l, span(20, 30, "RunInstances"))
		time.Sleep(2 * time.Hour)
		l.AddBacklog(span(0, 1))
		save(t, l)
		if got := l.Denials(); len(got) != 0 {
			t.Errorf("denials = %+v, want none left", got)
		}
	})
}

// What was put back is read again by itself, once the flood is over, whoever has the Scope then.
func TestPutBackIsReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := checkpoint.NewMemory()
		l := started(t, store)
		putBack := func(id string, seconds int, name string) {
			begin(t, l, event.Live, id, seconds, event.New)
			j := job(id, seconds, 1)
			j.Event.Name = name
			l.Hold(id, []resource.Job{j})
			l.PutBack(j, "odd:Tag", "odd:Tag", time.Now())
		}
		// One that is denied has a record of its own: nothing is over for it.
		waits(t, l, 4, "odd:Tag")
		begin(t, l, event.Live, "denied", 5, event.New)
		l.Hold("denied", []resource.Job{job("denied", 5, 1)})
		l.Unstored(job("denied", 5, 1), "odd:Tag", "odd:Tag")
		putBack("a", 10, "CreateOdd")
		time.Sleep(time.Minute)
		putBack("b", 30, "CreateOther")
		l.FloorRead(at(100))
		wantFloor(t, l, 100)
		save(t, l)
		l = openLedger(t, store)
		time.Sleep(119 * time.Second)
		if l.Due(time.Now()) {
			t.Error("due while the flood may go on")
		}
		wantBacklog(t, l)
		time.Sleep(time.Second)
		if !l.Due(time.Now()) {
			t.Error("not due after the flood")
		}
		save(t, l)
		wantBacklog(t, l, span(10, 30, "CreateOdd", "CreateOther"))
		l.BacklogRead(span(10, 30, "CreateOdd", "CreateOther"))
		wantBacklog(t, l)
		putBack("c", 110, "CreateOdd")
		time.Sleep(9 * time.Minute)
		save(t, l)
		wantBacklog(t, l)
		time.Sleep(time.Minute)
		if !l.Due(time.Now()) {
			t.Error("not due after ten minutes")
		}
		save(t, l)
		wantBacklog(t, l, span(110, 110, "CreateOdd"))
		if got := l.Denials(); !slices.ContainsFunc(got, func(d checkpoint.Denial) bool { return d.Since.Equal(at(5)) && !d.Over }) {
			t.Errorf("denials %+v, want the denied one still there", got)
		}
	})
}

func TestReplayWaitsForAReadingUnderWay(t *testing.T) {
	l := openLedger(t, checkpoint.NewMemory())
	if err := l.Reset(event.Marks{Floor: at(100), Backlog: []event.Span{span(0, 99), span(0, 99, "RunInstances")}}); err != nil {
		t.Fatal(err)
	}
	begin(t, l, event.Backlog, "a", 10, event.New) // the reading of 0 to 49 by name has begun
	l.Hold("a", []resource.Job{job("a", 10, 1)})
	l.Unstored(job("a", 10, 1), resource.EC2CreateTags, "ec2:CreateTags")
	l.Replay(resource.EC2CreateTags, "ec2:CreateTags", time.Now())
	wantBacklog(t, l, span(0, 99), span(0, 99, "RunInstances"))
	l.BacklogRead(span(0, 49, "RunInstances")) // and ends: it does not count for the replay
	wantBacklog(t, l, span(0, 99), span(49, 99, "RunInstances"))
	wantBacklog(t, l, span(0, 99), span(10, 10, "RunInstances"), span(49, 99, "RunInstances"))
}

func TestBacklogPartsTakeEffectInOrder(t *testing.T) {
	l := openLedger(t, checkpoint.NewMemory())
	if err := l.Reset(event.Marks{Floor: at(100), Backlog: []event.Span{span(0, 99)}}); err != nil {
		t.Fatal(err)
	}
	begin(t, l, event.Backlog, "a", 10, event.New)
	l.BacklogRead(span(0, 40))
	l.BacklogRead(span(40, 80))
	wantBacklog(t, l, span(0, 99))
	l.Done("a")
	wantBacklog(t, l, span(80, 99))
	l.BacklogRead(span(80, 99))
	wantBacklog(t, l)
}

func TestBacklogIsBounded(t *testing.T) {
	l := started(t, checkpoint.NewMemory())
	begin(t, l, event.Backlog, "a", -500, event.New) // reading has begun
	for i := range 20 {
		l.AddBacklog(span(-100*i*i-10, -100*i*i, fmt.Sprint(i%3)))
		if n := len(l.Marks().Backlog); n > 8 {
			t.Fatalf("%d spans", n)
		}
	}
	l.AddBacklog(span(-100*24*3600, -95*24*3600)) // CloudTrail has no such events any more
	store := checkpoint.NewMemory()
	l = started(t, store)
	for i := range 20 {
		l.AddBacklog(span(-1000*i-10, -1000*i, fmt.Sprint(i%3)))
	}
	l.AddBacklog(span(-100*24*3600, -95*24*3600))
	save(t, l)
	spans := openLedger(t, store).Marks().Backlog
	if len(spans) > 8 || spans[0].Start.Before(at(-20000)) {
		t.Fatalf("saved %v", spans)
	}
	for i := range 20 {
		covered := false
		for _, s := range spans {
			covered = covered || !s.Start.After(at(-1000*i-10)) && !s.End.Before(at(-1000*i)) && slices.Contains(s.Names, fmt.Sprint(i%3))
		}
		if !covered {
			t.Errorf("span %d is lost: %v", i, spans)
		}
	}
}

func TestResetRefusesToLoseTime(t *testing.T) {
	store := checkpoint.NewMemory()
	l := started(t, store)
	l.AddBacklog(span(-100, -50))
	for _, m := range []event.Marks{
		{Floor: at(-1)},
		{Floor: at(100)},
		{Floor: at(100), Backlog: []event.Span{span(0, 98)}},
		{Floor: at(100), Backlog: []event.Span{span(1, 99)}},
		{Floor: at(100), Backlog: []event.Span{span(0, 40), span(42, 99)}},
		{Floor: at(100), Backlog: []event.Span{span(0, 99, "RunInstances")}},
	} {
		if err := l.Reset(m); err == nil {
			t.Errorf("Reset(%+v) worked", m)
		}
	}
	if err := l.Reset(event.Marks{Floor: at(100), Backlog: []event.Span{span(0, 99)}}); err != nil {
		t.Error(err)
	}
	wantBacklog(t, l, span(-100, -50), span(0, 99))
	year := 365 * 24 * 3600
	if err := l.Reset(event.Marks{Floor: at(year), Backlog: []event.Span{span(year-90*24*3600, year-1)}}); err != nil {
		t.Errorf("an outage of a year: %v", err)
	}
	wantBacklog(t, l, span(year-90*24*3600, year-1))
}

func TestExpandedJobKeepsItsPartUntilItsChildrenAreSafe(t *testing.T) {
	store := checkpoint.NewMemory()
	l := started(t, store)
	parent, child := job("a", 70, 0), job("a", 70, 1)
	parent.Expand = resource.ExpandInstanceVolumes
	begin(t, l, event.Live, "a", 70, event.New)
	l.Hold("a", []resource.Job{parent})
	l.Defer(parent)
	save(t, l)
	l.FloorRead(at(600)) // it holds no mark any more
	wantFloor(t, l, 600)

	l.Expand(parent, []resource.Job{child})
	save(t, l)
	if got := openLedger(t, store).Deferred(); len(got) != 1 || got[0].Expand == "" {
		t.Fatalf("a crash leaves %+v, want the parent", got)
	}
	if n, _ := l.Unsettled(); n != 0 || l.DeferredCount() != 0 {
		t.Errorf("unsettled %d, deferred %d, want none", n, l.DeferredCount())
	}
	l.Defer(child)
	save(t, l)
	if got := openLedger(t, store).Deferred(); len(got) != 1 || got[0].Expand != "" {
		t.Fatalf("a crash leaves %+v, want the child", got)
	}
	l.Finish(child)
	save(t, l)
	if got := openLedger(t, store).Deferred(); len(got) != 0 {
		t.Fatalf("a crash leaves %+v, want nothing", got)
	}
}

// After a crash between job# and seen# parts a deferred Job is there, and its event is read again. What becomes of the Job
// says nothing of the event's others.
func TestRestoredJobDoesNotSettleItsEvent(t *testing.T) {
	store := checkpoint.NewMemory()
	l := started(t, store)
	save(t, l)
	parent := job("a", 70, 0)
	parent.Expand = resource.ExpandInstanceVolumes
	other := openLedger(t, store)
	begin(t, other, event.Live, "a", 70, event.New)
	other.Hold("a", []resource.Job{parent, job("a", 70, 1)})
	other.Defer(parent)
	save(t, other)

	l = openLedger(t, store)
	begin(t, l, event.Live, "a", 70, event.New)
	l.Expand(parent, nil)
	if n, _ := l.Unsettled(); n != 1 {
		t.Fatal("settled before its Jobs are known")
	}
	l.Hold("a", []resource.Job{job("a", 70, 1)})
	l.Finish(job("a", 70, 1))
	begin(t, l, event.Live, "a", 70, event.Settled)
}

func TestDue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := openLedger(t, checkpoint.NewMemory())
		due := func(want bool, why string) {
			t.Helper()
			if got := l.Due(time.Now()); got != want {
				t.Fatalf("%s: Due = %v", why, got)
			}
		}
		due(false, "fresh")
		save(t, l) // writes nothing
		if err := l.Reset(event.Marks{Floor: at(0)}); err != nil {
			t.Fatal(err)
		}
		due(true, "after Reset")
		save(t, l)
		due(false, "just saved")
		begin(t, l, event.Live, "a", 1, event.New)
		l.Done("a")
		time.Sleep(14 * time.Second)
		due(false, "settled, before the interval")
		time.Sleep(time.Second)
		due(true, "settled")
		save(t, l)
		l.HeadRead(at(1000))
		time.Sleep(4 * time.Minute)
		due(false, "a quiet Scope")
		time.Sleep(time.Minute)
		due(true, "a quiet Scope after five minutes")
		save(t, l)
		l.NameRead(event.Cursor{Span: span(0, 100), Name: "A"})
		time.Sleep(59 * time.Second)
		due(false, "a name")
		time.Sleep(time.Second)
		due(true, "a name after a minute")
		save(t, l)
		time.Sleep(time.Hour)
		due(false, "nothing happened")
	})
}

func TestTwoHolders(t *testing.T) {
	store := checkpoint.NewMemory()
	reg := prometheus.NewPedanticRegistry()
	metrics := checkpoint.NewMetrics(reg)
	first, err := checkpoint.Open(t.Context(), store, scope, checkpoint.Options{Metrics: metrics})
	if err != nil {
		t.Fatal(err)
	}
	second := started(t, store)
	save(t, second)
	if err := first.Reset(event.Marks{Floor: at(5)}); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := first.Save(t.Context()); !errors.Is(err, checkpoint.ErrFenced) {
			t.Fatalf("Save: %v, want ErrFenced", err)
		}
	}
	if got := openLedger(t, store).Marks().Floor; !got.Equal(at(0)) {
		t.Errorf("Floor = %v: the loser moved it", got)
	}
	want := `
# HELP autotagd_lease_held Whether this process holds the Scope: 1 or 0, of every Scope of the configuration. A process without a table holds all that it could begin.
# TYPE autotagd_lease_held gauge
autotagd_lease_held{account_id="123456789012",region="eu-west-1"} 0
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "autotagd_lease_held"); err != nil {
		t.Error(err)
	}
}

func TestMetrics(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	store := checkpoint.NewMemory()
	l, err := checkpoint.Open(t.Context(), store, scope, checkpoint.Options{Metrics: checkpoint.NewMetrics(reg)})
	if err != nil {
		t.Fatal(err)
	}
	problems, err := testutil.GatherAndLint(reg)
	if err != nil || len(problems) > 0 {
		t.Errorf("lint: %v, %v", problems, err)
	}
	if n, err := testutil.GatherAndCount(reg, "autotagd_checkpoint_saves_total"); err != nil || n != 3 {
		t.Errorf("saves_total has %d series at the start, %v; want 3", n, err)
	}
	if err := l.Reset(event.Marks{Floor: at(0), Watermark: at(60)}); err != nil {
		t.Fatal(err)
	}
	begin(t, l, event.Live, "a", 1, event.New)
	l.Hold("a", []resource.Job{job("a", 1, 1), job("a", 1, 2)})
	tried := job("a", 1, 1)
	tried.FirstTried = at(2)
	l.Defer(tried)
	done := job("a", 1, 2)
	done.FirstTried = at(1)
	l.Defer(done)
	l.Finish(done)
	l.AddBacklog(event.Span{Start: at(-7200), End: at(-3600)})
	l.AddBacklog(event.Span{Start: at(-1800), End: at(-1200)})
	save(t, l)
	want := fmt.Sprintf(`
# HELP autotagd_backlog_seconds Time of the past that is still to be read, its spans added up.
# TYPE autotagd_backlog_seconds gauge
autotagd_backlog_seconds{account_id="123456789012",region="eu-west-1"} 4200
# HELP autotagd_checkpoint_floor_timestamp_seconds Every event before this event time is settled or in the backlog. Zero until known.
# TYPE autotagd_checkpoint_floor_timestamp_seconds gauge
autotagd_checkpoint_floor_timestamp_seconds{account_id="123456789012",region="eu-west-1"} %d
# HELP autotagd_checkpoint_saves_total Saves of a Scope's state, by outcome: ok, error (tried again), fenced (another holder has it).
# TYPE autotagd_checkpoint_saves_total counter
autotagd_checkpoint_saves_total{account_id="123456789012",outcome="error",region="eu-west-1"} 0
autotagd_checkpoint_saves_total{account_id="123456789012",outcome="fenced",region="eu-west-1"} 0
autotagd_checkpoint_saves_total{account_id="123456789012",outcome="ok",region="eu-west-1"} 1
# HELP autotagd_checkpoint_watermark_timestamp_seconds Everything that head scans read up to this event time is settled. Zero until known.
# TYPE autotagd_checkpoint_watermark_timestamp_seconds gauge
autotagd_checkpoint_watermark_timestamp_seconds{account_id="123456789012",region="eu-west-1"} %d
# HELP autotagd_lease_held Whether this process holds the Scope: 1 or 0, of every Scope of the configuration. A process without a table holds all that it could begin.
# TYPE autotagd_lease_held gauge
autotagd_lease_held{account_id="123456789012",region="eu-west-1"} 1
# HELP autotagd_resources_deferred Resources whose tagging was put off and is tried again later.
# TYPE autotagd_resources_deferred gauge
autotagd_resources_deferred{account_id="123456789012",region="eu-west-1"} 1
# HELP autotagd_resources_deferred_since_timestamp_seconds When the deferred resource that waits longest was first tried. Zero where none waits.
# TYPE autotagd_resources_deferred_since_timestamp_seconds gauge
autotagd_resources_deferred_since_timestamp_seconds{account_id="123456789012",region="eu-west-1"} %d
`, at(0).Unix(), at(60).Unix(), at(2).Unix())
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
}

func TestNewerAndBadStatesAreRefused(t *testing.T) {
	good := `{"format":1,"scope":{"account_id":"123456789012","region":"eu-west-1"},"marks":{"floor":"2026-11-22T12:00:00Z"}}`
	seen := func(n int) []checkpoint.Part { return []checkpoint.Part{{Name: seenPart, Data: make([]byte, n)}} }
	var newer *checkpoint.NewerError
	var damaged *checkpoint.DamagedError
	for name, tt := range map[string]struct {
		state string
		parts []checkpoint.Part
		want  any
	}{
		"good":          {good, seen(32), nil},
		"newer":         {strings.Replace(good, ":1", `:2,"marks":7`, 1), nil, &newer},
		"not JSON":      {"x", nil, &damaged},
		"no Floor":      {strings.Replace(good, "floor", "flour", 1), nil, &damaged},
		"wrong types":   {strings.Replace(good, `"2026-11-22T12:00:00Z"`, "7", 1), nil, &damaged},
		"another Scope": {strings.Replace(good, "eu-west-1", "us-east-1", 1), nil, &damaged},
		"half an id":    {good, seen(24), &damaged},
		"unknown part":  {good, []checkpoint.Part{{Name: "seen#soon"}}, &damaged},
		"another Job":   {good, []checkpoint.Part{{Name: "job#00112233445566778899aabbccddeeff#ffeeddccbbaa99887766554433221100", Data: []byte("{}")}}, &damaged},
		"no Job":        {good, []checkpoint.Part{{Name: "job#00112233445566778899aabbccddeeff#ffeeddccbbaa99887766554433221100", Data: []byte("[")}}, &damaged},
	} {
		store := checkpoint.NewMemory()
		if err := store.Put(t.Context(), scope, tt.parts); err != nil {
			t.Fatal(err)
		}
		if _, err := store.Swap(t.Context(), scope, "", []byte(tt.state)); err != nil {
			t.Fatal(err)
		}
		_, err := checkpoint.Open(t.Context(), store, scope, checkpoint.Options{})
		switch {
		case tt.want == nil && err != nil, tt.want != nil && !errors.As(err, tt.want):
			t.Errorf("%s: Open: %v, want %v", name, err, reflect.TypeOf(tt.want))
		case err != nil && !strings.Contains(err.Error(), "memory:123456789012/eu-west-1/"):
			t.Errorf("%s: message %q names no part", name, err)
		}
	}
}
