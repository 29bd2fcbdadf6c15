package daemon

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"

	"github.com/autotagd/autotagd/internal/awsclient"
	"github.com/autotagd/autotagd/pkg/catalog"
	"github.com/autotagd/autotagd/pkg/config"
	"github.com/autotagd/autotagd/pkg/event"
	"github.com/autotagd/autotagd/pkg/resource"
	"github.com/autotagd/autotagd/pkg/tagger"
	"github.com/autotagd/autotagd/test/moto"
)

const (
	motoOwner     = "maria.lopez@example.com"
	motoPrincipal = "AROAEXAMPLEEXAMPLE123:maria.lopez@example.com"

	// motoPatience is for how long a Job is tried: TagResources has to fail twice before a service's own call is made.
	motoPatience = 8 * time.Second
	provenFile   = "../../docs/tag-calls-moto.txt"
)

// attempt is one call that tagged a kind of resource at moto, or could not.
type attempt struct{ service, event, api string }

// names are what lacking may call it, from all of a service to this call for this kind alone.
func (a attempt) names() []string {
	return []string{a.service, a.service + " " + a.event, a.service + " " + a.api, a.service + " " + a.event + " " + a.api}
}

// motoRound is what create.py made under one name, and a Job for each.
type motoRound struct {
	name string
	// choose says which call is to tag a resource; "" leaves it to the plan, NoTagAPI the resource out.
	choose    func(resource.Resource) resource.TagAPI
	overwrite bool // existing_tags: overwrite
	jobs      []*motoJob
}

type motoJob struct {
	made moto.Made
	job  resource.Job
	api  resource.TagAPI // that is to tag it
	got  tagger.Result
}

// An AWS that we did not write takes the services' own calls as we make them, and TagResources, for as many services as it
// has: boto3 makes the resources, and says afterwards which tags they have.
func TestTagCallsAtMoto(t *testing.T) {
	if os.Getenv("AUTOTAGD_SLOW") == "" && !*update {
		t.Skip("takes half a minute: AUTOTAGD_SLOW=1 runs it, as make check does")
	}
	t.Parallel()
	m := newMotoTest(t)
	planned := &motoRound{name: "planned", choose: func(resource.Resource) resource.TagAPI { return "" }}
	first := &motoRound{name: "first", choose: func(r resource.Resource) resource.TagAPI { return ownAPI(r, 0) }}
	second := &motoRound{name: "second", choose: func(r resource.Resource) resource.TagAPI { return ownAPI(r, 1) }}
	over := &motoRound{name: "over", choose: first.choose, overwrite: true}
	m.plan(planned)
	m.plan(first)
	m.plan(over, "iam", "s3", "sqs")
	var twice []string // services with two calls
	for _, j := range planned.jobs {
		if len(j.job.Resource.Own) > 1 {
			twice = append(twice, j.made.Service)
		}
	}
	m.plan(second, slices.Compact(twice)...)

	// A tagger each, since one learns which call a kind needs.
	var tagging sync.WaitGroup
	rounds := []*motoRound{planned, first, second, over}
	for _, r := range rounds {
		tagging.Go(func() { m.tag(r) })
	}
	tagging.Wait()
	tags := m.creator.Tags()
	for _, r := range rounds {
		for _, j := range r.jobs {
			m.judge(r, j, tags[j.made.ID])
		}
	}
	m.checkLacking()
	m.writeProven()
}

// ownAPI is the nth of the service's own calls, or none.
func ownAPI(r resource.Resource, n int) resource.TagAPI {
	if n >= len(r.Own) {
		return resource.NoTagAPI
	}
	return r.Own[n].API
}

type motoTest struct {
	*testing.T
	daemon  *Daemon // its account and its planner
	creator *moto.Creator
	works   map[attempt]bool
	fails   map[attempt]string
}

func newMotoTest(t *testing.T) *motoTest {
	url := moto.Start(t)
	clients, err := awsclient.FromConfig(aws.Config{
		Region: "eu-west-1", BaseEndpoint: &url, Credentials: credentials.NewStaticCredentialsProvider("AKIATEST", "secret", ""),
	}, awsclient.Options{Version: "test", Log: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	account, err := clients.Account(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	cfg, err := config.Load("test", []byte("{}"))
	if err != nil {
		t.Fatal(err)
	}
	cat, err := catalog.Load()
	if err != nil {
		t.Fatal(err)
	}
	planner, err := NewPlanner(cfg, cat, nil)
	if err != nil {
		t.Fatal(err)
	}
	return &motoTest{
		T: t, daemon: &Daemon{accounts: &accounts{own: account, byID: map[string]*awsclient.Account{account.ID: account}}, planner: planner}, creator: moto.NewCreator(t, url),
		works: map[attempt]bool{}, fails: map[attempt]string{},
	}
}

// plan has the resources of a round made, of all services or of some, and decides about their events as the daemon does.
func (m *motoTest) plan(round *motoRound, services ...string) {
	m.Helper()
	for _, made := range m.creator.Make(round.name, services...) {
		this := attempt{made.Service, made.Event, ""}
		if made.Error != "" {
			m.fails[this] = "boto3: " + made.Error
			continue
		}
		record := m.record(made)
		plan := m.daemon.planner.Plan(record, resource.EventRef{
			ID: record.EventID, Source: record.EventSource, Name: record.EventName, Time: record.EventTime,
			Scope: event.Scope{AccountID: moto.AccountID, Region: made.Region},
		})
		if len(plan.Jobs) != 1 || len(plan.Problems) > 0 {
			m.fails[this] = fmt.Sprintf("%d jobs, %q, outcomes %v, problems %q; want one job", len(plan.Jobs), plan.Why, plan.Outcomes, plan.Problems)
			continue
		}
		j := &motoJob{made: made, job: plan.Jobs[0]}
		r := &j.job.Resource
		if len(made.Before) > 0 && strings.Contains(string(made.Request), `"team"`) && !maps.Equal(r.Tags, made.Before) {
			m.Errorf("%s %s: the catalog finds the tags %v in %s; boto3 has %v", made.Service, made.Event, r.Tags, made.Request, made.Before)
		}
		if api := round.choose(*r); api == resource.NoTagAPI {
			continue
		} else if api != "" {
			r.TagAPI = api
			r.Own = slices.DeleteFunc(slices.Clone(r.Own), func(c resource.Call) bool { return c.API != api })
		}
		j.api = r.TagAPI
		r.Tags = nil // what it has is to be read
		round.jobs = append(round.jobs, j)
	}
}

// record is what CloudTrail would have written.
func (m *motoTest) record(made moto.Made) *event.Record {
	m.Helper()
	const role = "AWSReservedSSO_Dev_0123456789abcdef"
	b, err := json.Marshal(map[string]any{
		"eventVersion": "1.11", "eventID": fmt.Sprintf("6f1c0e9a-7d53-4d0c-9d1f-%012d", made.ID),
		"eventTime": time.Now().Add(-time.Minute).UTC().Format(time.RFC3339), "eventSource": made.Source, "eventName": made.Event,
		"awsRegion": made.Region, "readOnly": false, "eventType": "AwsApiCall", "managementEvent": true, "eventCategory": "Management",
		"recipientAccountId": moto.AccountID,
		"userIdentity": map[string]any{
			"type": "AssumedRole", "principalId": motoPrincipal, "accountId": moto.AccountID,
			"arn": "arn:aws:sts::" + moto.AccountID + ":assumed-role/" + role + "/" + motoOwner,
			"sessionContext": map[string]any{"sessionIssuer": map[string]any{
				"type": "Role", "userName": role, "accountId": moto.AccountID,
				"arn": "arn:aws:iam::" + moto.AccountID + ":role/aws-reserved/sso.amazonaws.com/" + role,
			}},
		},
		"requestParameters": made.Request, "responseElements": made.Answer,
	})
	if err != nil {
		m.Fatal(err)
	}
	r, err := event.Parse(b)
	if err != nil {
		m.Fatal(err)
	}
	return r
}

// tag runs a tagger over a round, by the calls that the daemon makes.
func (m *motoTest) tag(round *motoRound) {
	var mu sync.Mutex
	byID := map[string]*motoJob{}
	var jobs []resource.Job
	for _, j := range round.jobs {
		byID[j.job.Event.ID] = j
		jobs = append(jobs, j.job)
	}
	tg := tagger.New(tagger.Options{
		API: m.daemon.api, Now: m.daemon.accounts.own.Now, OneShot: motoPatience, Rate: 1000, BatchWait: 10 * time.Millisecond,
		Overwrite: func(string) bool { return round.overwrite },
		Report: func(r tagger.Result) {
			mu.Lock()
			defer mu.Unlock()
			if j := byID[r.Job.Event.ID]; j != nil {
				j.got = r
			}
		},
	})
	ran := make(chan error, 1)
	go func() { ran <- tg.Run(m.Context()) }()
	err := tg.Submit(m.Context(), jobs)
	tg.Close()
	if err := errors.Join(err, <-ran); err != nil {
		m.Error(err)
	}
}

// judge compares the tags that boto3 reads with those that are to be there, and with what our own read finds.
func (m *motoTest) judge(round *motoRound, j *motoJob, got map[string]string) {
	m.Helper()
	ended := j.got.Job
	if j.got.Kind == tagger.Ended {
		ended = j.got.Outcome.Job
	}
	this := attempt{j.made.Service, j.made.Event, string(ended.Resource.TagAPI)} // the last call that was tried
	if ended.Resource.TagAPI != j.api {
		m.fails[attempt{j.made.Service, j.made.Event, string(j.api)}] = "another call had to tag it: " + this.api
	}
	call := ended.Resource.OwnCall()
	want, kind := wantTags(j, round.overwrite)
	diff := cmp.Diff(want, got)
	switch {
	case j.got.Kind != tagger.Ended && call != nil && strings.HasPrefix(ended.LastError, string(call.Read)+" in "):
		this.api = string(call.Read)
		fallthrough
	case j.got.Kind != tagger.Ended, j.got.Outcome.Kind != kind:
		o := j.got.Outcome
		m.fails[this] = fmt.Sprintf("%v, want it %s: %s %s %s; last error: %s", j.got.Kind, kind, o.Kind, o.Reason, o.Detail, ended.LastError)
		return
	case diff != "":
		m.fails[this] = "tags as boto3 reads them (-want +got):\n" + diff
		return
	}
	m.works[this] = true
	if call == nil || call.Read == "" {
		return
	}
	api, err := m.daemon.api(j.job.Resource.Scope)
	if err != nil {
		m.Fatal(err)
	}
	ours, err := api.OwnTags(m.Context(), j.job.Resource.Service, *call)
	this.api = string(call.Read)
	if diff := cmp.Diff(got, ours); err != nil || diff != "" {
		m.fails[this] = fmt.Sprintf("%v; tags by our read, compared with boto3's (-want +got):\n%s", err, diff)
		return
	}
	m.works[this] = true
}

// wantTags are those that the resource is to have in the end, and what is to become of the Job.
func wantTags(j *motoJob, overwrite bool) (map[string]string, resource.OutcomeKind) {
	want, kind := maps.Clone(j.made.Before), resource.Tagged
	if want == nil {
		want = map[string]string{}
	}
	for _, tag := range []resource.Tag{{Key: "Owner", Value: motoOwner}, {Key: "PrincipalId", Value: motoPrincipal}} {
		if _, ok := j.made.Before[tag.Key]; ok && (!overwrite || j.job.Upsert) {
			kind = resource.Kept
		} else {
			want[tag.Key] = tag.Value
		}
	}
	if kind == resource.Kept && j.job.Upsert {
		want = j.made.Before // the event need not have made it
	}
	return want, kind
}

// checkLacking compares what failed with what moto is known to lack.
func (m *motoTest) checkLacking() {
	m.Helper()
	used, lacking := map[string]bool{}, lacking()
	for this, why := range m.fails {
		found := false
		for _, name := range this.names() {
			if _, ok := lacking[name]; ok {
				found, used[name] = true, true
			}
		}
		if !found {
			m.Errorf("%s %s by %q: %s", this.service, this.event, this.api, why)
		}
	}
	for this := range m.works {
		for _, name := range this.names() {
			if why, ok := lacking[name]; ok {
				m.Errorf("%s %s by %s works, though moto is said to lack it (%q: %s): take that out of lacking", this.service, this.event, this.api, name, why)
			}
		}
	}
	for name := range lacking {
		if !used[name] {
			m.Errorf("lacking has %q, which nothing here tries", name)
		}
	}
}

// writeProven compares the list of what works with the one in docs, or writes that.
func (m *motoTest) writeProven() {
	m.Helper()
	proven := map[string]bool{}
	for this := range m.works {
		if call := m.daemon.planner.Catalog.Calls().Lookup(this.service, this.api); call != nil || this.api == string(resource.TagResources) {
			proven[this.service+" "+this.api] = true
		}
	}
	text := strings.Join(slices.Sorted(maps.Keys(proven)), "\n") + "\n"
	if *update && !m.Failed() {
		if err := errors.Join(os.MkdirAll(filepath.Dir(provenFile), 0o755), os.WriteFile(provenFile, []byte(text), 0o644)); err != nil {
			m.Fatal(err)
		}
		return
	}
	old, err := os.ReadFile(provenFile)
	if err != nil {
		m.Fatal(err)
	}
	if diff := cmp.Diff(string(old), text); diff != "" {
		m.Errorf("%s is out of date, run this test with -update (-have +want):\n%s", provenFile, diff)
	}
}
