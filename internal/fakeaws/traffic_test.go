package fakeaws_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/cloudtrail"
	cttypes "github.com/aws/aws-sdk-go-v2/service/cloudtrail/types"

	"github.com/autotagd/autotagd/internal/fakeaws"
	"github.com/autotagd/autotagd/pkg/event"
)

func live(t *testing.T, f *fakeaws.AWS, d time.Duration, traffic fakeaws.Traffic) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	if err := f.Live(ctx, traffic); err != nil {
		t.Fatal(err)
	}
}

func TestAnAccountAtWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fakeaws.New(fakeaws.Config{Seed: 1, Regions: []string{"eu-central-1", "us-east-1"}})
		live(t, f, 20*time.Minute, fakeaws.Traffic{Creates: 0.5, Writes: 1, Reads: 2})
		kinds := f.Counts()
		for _, k := range []fakeaws.Kind{fakeaws.Person, fakeaws.Workload, fakeaws.Service, fakeaws.Nobody} {
			if kinds[k] == 0 {
				t.Errorf("nothing made by a %s: %v", k, kinds)
			}
		}
		deleted, owned, repeated, byHand := 0, 0, 0, 0
		names := make(map[string]bool)
		for _, r := range f.Resources() {
			names[r.EventName] = true
			if !r.DeletedAt.IsZero() {
				deleted++
			}
			if _, ok := r.AtCreation["Owner"]; ok {
				owned++
			}
			if len(r.Repeats) > 0 {
				repeated++
			}
			byHand += len(r.Writes)
			if _, err := event.ParseARN(r.ARN); err != nil {
				t.Error(err)
			}
		}
		if deleted == 0 || owned == 0 || repeated == 0 || byHand == 0 || len(names) < 25 {
			t.Errorf("%d deleted, %d with an Owner, %d repeated, %d tags by hand, %d event names", deleted, owned, repeated, byHand, len(names))
		}
		var reads, failed, writes int
		for _, s := range f.Scopes() {
			for _, e := range f.Events(s) {
				r, err := event.Parse([]byte(e.Raw))
				if err != nil {
					t.Fatalf("%v: %s", err, e.Raw)
				}
				switch {
				case r.ReadOnly:
					reads++
				case r.ErrorCode != "":
					failed++
				default:
					writes++
				}
				if r.EventID != e.ID || !r.EventTime.Equal(e.Time) || r.RecipientAccountID != s.AccountID || r.AWSRegion != s.Region {
					t.Errorf("record and event differ: %+v", e)
				}
			}
		}
		if reads < 4000 || failed < 20 || writes < 3000 {
			t.Errorf("%d reads, %d failed, %d writes", reads, failed, writes)
		}
		for _, p := range f.Audit(0) {
			if p.What != "untagged" {
				t.Errorf("%s", p)
			}
		}
	})
}

// TestEveryRecordNamesWhatItMade holds the makers together: what Create says it made is in the record, but for volumes of a
// launch and snapshots of an image, which CloudTrail does not name either.
func TestEveryRecordNamesWhatItMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fakeaws.New(fakeaws.Config{Visibility: -1, Regions: []string{"eu-central-1", "us-east-1"}})
		for _, name := range f.Creates() {
			made := f.Create(f.Scope(), name, maria, fakeaws.Spec{Count: 2, Volumes: 1, Tags: map[string]string{"Cost": "007"}})
			if len(made.Resources) == 0 {
				t.Errorf("%s made nothing", name)
			}
			if failed := f.Create(f.Scope(), name, maria, fakeaws.Spec{Error: "AccessDenied"}); len(failed.Resources) != 0 {
				t.Errorf("a failed %s made %v", name, failed.IDs(""))
			}
			for _, r := range made.Resources {
				var raw string
				for _, e := range f.Events(r.Scope) {
					if e.ID == made.EventID {
						raw = e.Raw
					}
				}
				hidden := r.Type == "volume" && name == "RunInstances" || r.Type == "snapshot" && name == "CreateImage"
				if strings.Contains(raw, r.ID) == hidden {
					t.Errorf("%s: %s in the record: %v, want %v", name, r.ID, !hidden, hidden)
				}
			}
		}
	})
}

func TestVisibilityIsAsInLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fakeaws.New(fakeaws.Config{Seed: 5})
		var sum, most time.Duration
		late := 0
		const n = 3000
		for range n {
			made := f.Create(f.Scope(), "CreateVolume", maria)
			d := made.Visible.Sub(made.Time)
			sum += d
			most = max(most, d)
			if d > 10*time.Minute {
				late++
			}
		}
		if mean := sum / n; mean < 140*time.Second || mean > 160*time.Second || most > 15*time.Minute || late == 0 || late > n/50 {
			t.Errorf("mean %v, most %v, %d of %d later than 10 minutes", mean, most, late, n)
		}
	})
}

func TestPastIsThereToLookUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := connect(t, fakeaws.Config{EmptyPages: 0.3, Duplicates: 0.1})
		c.aws.Past(time.Now().Add(-6*time.Hour), time.Now().Add(-time.Hour), fakeaws.Traffic{Creates: 0.05, Writes: 0.05})
		want := 0
		for _, e := range c.aws.Events(c.aws.Scope()) {
			if !e.ReadOnly {
				want++
			}
		}
		seen := make(map[string]bool)
		shown := 0
		pages := cloudtrail.NewLookupEventsPaginator(c.trail, &cloudtrail.LookupEventsInput{
			LookupAttributes: []cttypes.LookupAttribute{{AttributeKey: "ReadOnly", AttributeValue: aws.String("false")}},
			StartTime:        aws.Time(time.Now().Add(-6 * time.Hour)), EndTime: aws.Time(time.Now()),
		})
		for pages.HasMorePages() {
			time.Sleep(time.Second)
			out, err := pages.NextPage(c.ctx)
			if err != nil {
				t.Fatal(err)
			}
			shown += len(out.Events)
			for _, e := range out.Events {
				seen[*e.EventId] = true
			}
		}
		if len(seen) != want || want < 1000 || shown == want {
			t.Errorf("%d events and %d of them, want %d and some twice", shown, len(seen), want)
		}
	})
}

func TestTheSameSeedIsTheSameAccount(t *testing.T) {
	run := func() (arns []string) {
		synctest.Test(t, func(t *testing.T) {
			f := fakeaws.New(fakeaws.Config{Seed: 9})
			live(t, f, 5*time.Minute, fakeaws.Traffic{Creates: 1})
			for _, r := range f.Resources() {
				arns = append(arns, r.ARN+r.EventID+r.CreatedAt.String())
			}
		})
		return arns
	}
	one, two := run(), run()
	if len(one) < 100 || strings.Join(one, "\n") != strings.Join(two, "\n") {
		t.Errorf("%d and %d resources, or other ones", len(one), len(two))
	}
}
