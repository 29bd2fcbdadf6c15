package fakeaws

import (
	"context"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/autotagd/autotagd/pkg/event"
)

// Traffic says how busy an account is, in events a second in each Scope.
type Traffic struct {
	// Creates are create calls: a launch of ten instances is one. About one in twenty fails, and one in eight is a service's.
	Creates float64
	// Writes are other writing calls, Reads reading ones.
	Writes, Reads float64
	// Only restricts the creates to these event names.
	Only []string
	// Plain restricts the other writing calls to those that share their names with no create event: whoever reads by name pays
	// for kms's CreateGrant too.
	Plain bool
	// Quiet leaves out what happens to resources afterwards: deletions, tags by hand, upserts said again.
	Quiet bool
	// Beat is the time between two moments at which something happens; 0 means 100 ms. More is cheaper where little happens.
	Beat time.Duration
	// Level, if set, is what the rates are multiplied by at a time after the work began: nights, bursts.
	Level func(since time.Duration) float64
}

// traffic is an account at work. It belongs to one goroutine.
type traffic struct {
	Traffic
	aws     *AWS
	rng     *rand.Rand
	later   map[int64][]func()        // by Unix second: what happens to a resource after it was made
	alive   map[event.Scope][]Created // launches that images and snapshots are made of
	creates []choice
	writes  [][2]string
	people  []Who
	second  int64
	began   time.Time
}

type choice struct {
	name   string
	weight int
}

const defaultBeat = 100 * time.Millisecond

// Live lets the account's people, pipelines and services work until ctx ends, and returns nil then. The same seed gives the
// same work.
func (a *AWS) Live(ctx context.Context, t Traffic) error {
	w := a.newTraffic(t)
	beat := time.NewTicker(w.Beat)
	defer beat.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-beat.C:
			w.step(w.Beat, time.Time{})
		}
	}
}

// Past fills the time from start to end with events as Live would have made them, without what happens to resources
// afterwards. Each became visible as late as it would have.
func (a *AWS) Past(start, end time.Time, t Traffic) {
	t.Quiet = true
	w := a.newTraffic(t)
	for at := start; at.Before(end); at = at.Add(w.Beat) {
		w.step(w.Beat, at)
	}
}

func (a *AWS) newTraffic(t Traffic) *traffic {
	if t.Beat == 0 {
		t.Beat = defaultBeat
	}
	w := &traffic{
		Traffic: t, aws: a, began: time.Now(), rng: rand.New(rand.NewPCG(a.cfg.Seed, 0x7472616666696321)),
		later: make(map[int64][]func()), alive: make(map[event.Scope][]Created), people: staff(), second: time.Now().Unix(),
		writes: writes(),
	}
	if t.Plain {
		w.writes = slices.DeleteFunc(w.writes, func(call [2]string) bool { return slices.Contains(namesakes(), call[1]) })
	}
	for _, c := range [...]choice{
		{"RunInstances", 18},
		{"CreateVolume", 8},
		{"CreateFunction20150331", 8},
		{"CreateSecurityGroup", 7},
		{"CreateSnapshot", 6},
		{"CreateBucket", 6},
		{"CreateLogGroup", 6},
		{"CreateQueue", 5},
		{"CreateTopic", 4},
		{"CreateTable", 4},
		{"CreateSecret", 4},
		{"CreateRole", 4},
		{"PutMetricAlarm", 4},
		{"PutParameter", 4},
		{"CreateImage", 3},
		{"CreateLaunchTemplate", 3},
		{"PutRule", 3},
		{"CreateNetworkInterface", 2},
		{"CreateKeyPair", 2},
		{"AllocateAddress", 2},
		{"CreateSubnet", 2},
		{"CreateDBInstance", 2},
		{"CreateRepository", 2},
		{"CreateStateMachine", 2},
		{"CreateVpc", 1},
		{"CreateNatGateway", 1},
		{"CreateSnapshots", 1},
		{"CreateKey", 1},
		{"CreateStream", 1},
		{"CreateFileSystem", 1},
		{"CreateRestApi", 2},
		{"CreateStack", 1},
	} {
		if len(t.Only) == 0 {
			w.creates = append(w.creates, c)
		}
	}
	for _, name := range t.Only {
		w.creates = append(w.creates, choice{name, 1})
	}
	return w
}

// step does d's worth of work, at a time in the past or, for the zero time, now.
func (w *traffic) step(d time.Duration, at time.Time) {
	seconds := d.Seconds()
	if w.Level != nil {
		seconds *= w.Level(time.Since(w.began))
	}
	for _, s := range w.aws.Scopes() {
		for range w.poisson(w.Creates * seconds) {
			w.create(s, at)
		}
		for range w.poisson(w.Writes * seconds) {
			e := pick(w.rng, w.writes)
			w.aws.Other(s, e[0], e[1], false, w.who(), Spec{At: at, Name: w.word()})
		}
		for range w.poisson(w.Reads * seconds) {
			e := pick(w.rng, reads())
			w.aws.Other(s, e[0], e[1], true, w.who(), Spec{At: at, Name: w.word()})
		}
	}
	for now := time.Now().Unix(); w.second < now; {
		w.second++
		for _, do := range w.later[w.second] {
			do()
		}
		delete(w.later, w.second)
	}
}

// poisson draws how many of the events with a mean happen.
func (w *traffic) poisson(mean float64) int {
	n := -1
	for p, limit := 1.0, math.Exp(-mean); p > limit || n < 0; n++ {
		p *= w.rng.Float64()
	}
	return n
}

func (w *traffic) chance(p float64) bool { return w.rng.Float64() < p }

// between draws a time.
func (w *traffic) between(from, to time.Duration) time.Duration {
	return from + time.Duration(w.rng.Int64N(int64(to-from)))
}

func (w *traffic) after(d time.Duration, do func()) {
	second := time.Now().Add(d).Unix()
	w.later[max(second, w.second+1)] = append(w.later[max(second, w.second+1)], do)
}

// create makes one create call.
func (w *traffic) create(s event.Scope, at time.Time) {
	if len(w.Only) == 0 && w.chance(0.12) {
		w.service(s, at)
		return
	}
	who, name := w.who(), w.what()
	spec := w.spec(name, who)
	spec.At = at
	switch name {
	case "RunInstances":
		if spec.Count == 1 && spec.Error == "" && w.chance(0.15) {
			spec.Interface = w.aws.Create(s, "CreateNetworkInterface", who, Spec{At: at}).IDs("network-interface")[0]
		}
	case "CreateImage", "CreateSnapshots":
		if l := w.launch(s); l != nil {
			spec.Of = l.IDs("instance")[0]
		}
	case "CreateSnapshot":
		if l := w.launch(s); l != nil {
			spec.Of = l.IDs("volume")[0]
		}
	}
	made := w.aws.Create(s, name, who, spec)
	if len(made.Resources) == 0 {
		return
	}
	if name == "RunInstances" {
		w.alive[s] = append(w.alive[s], made)
		if n := len(w.alive[s]); n > 50 {
			w.alive[s] = w.alive[s][n-50:]
		}
	}
	if !w.Quiet {
		w.fate(s, name, who, made)
	}
}

// fate decides what happens to a resource afterwards.
func (w *traffic) fate(s event.Scope, name string, who Who, made Created) {
	main := made.Resources[0]
	switch {
	case w.chance(0.10): // a try: gone before anybody can tag it, or soon after
		w.after(w.between(2*time.Second, 3*time.Minute), func() { w.remove(s, main, who) })
	case w.chance(0.30):
		w.after(w.between(10*time.Minute, 3*time.Hour), func() { w.remove(s, main, who) })
	case w.chance(0.06): // the creator tags it by hand
		owner := w.handwritten(who)
		w.after(w.between(2*time.Second, 10*time.Minute), func() { w.aws.Tag(main.ARN, who, map[string]string{"Owner": owner}) })
	case w.aws.makers[name].upsert && w.chance(0.4): // said again, by the same or by another
		again := who
		if w.chance(0.5) {
			again = w.who()
		}
		spec := Spec{Name: main.ID}
		w.after(w.between(5*time.Second, 10*time.Minute), func() { w.aws.Create(s, name, again, spec) })
	}
}

func (w *traffic) remove(s event.Scope, r Resource, who Who) {
	w.aws.Delete(r.ARN, who)
	kept := w.alive[s][:0]
	for _, l := range w.alive[s] {
		if l.EventID != r.EventID {
			kept = append(kept, l)
		}
	}
	w.alive[s] = kept
}

func (w *traffic) launch(s event.Scope) *Created {
	if len(w.alive[s]) == 0 {
		return nil
	}
	return &w.alive[s][w.rng.IntN(len(w.alive[s]))]
}

// spec is how somebody says a call: with tags or without, right or not.
func (w *traffic) spec(name string, who Who) Spec {
	s := Spec{Count: 1}
	if name == "RunInstances" {
		s.Volumes = w.rng.IntN(3)
		if w.chance(0.3) {
			s.Count = 2 + w.rng.IntN(3)
		} else if w.chance(0.05) {
			s.Count = 10 + w.rng.IntN(15)
		}
	}
	switch {
	case w.chance(0.05):
		s.Error = "AccessDenied"
		if w.aws.makers[name].service == "ec2" {
			s.Error = pick(w.rng, []string{"Client.UnauthorizedOperation", "Client.UnauthorizedOperation", "Client.DryRunOperation", "Client.InstanceLimitExceeded"})
		}
	case w.chance(0.06):
		s.Tags = map[string]string{"Owner": w.handwritten(who)}
	case w.chance(0.02):
		s.HiddenTags = map[string]string{"Owner": w.handwritten(who)}
	case w.chance(0.25):
		s.Tags = map[string]string{"Name": w.word(), "Project": pick(w.rng, []string{"atlas", "borealis", "cobalt"})}
	}
	return s
}

// handwritten is what a person writes into an Owner tag.
func (w *traffic) handwritten(who Who) string {
	first, _, _ := strings.Cut(who.Owner, "@")
	return pick(w.rng, []string{"team-data", "platform", first, strings.ReplaceAll(first, ".", " ")})
}

func (w *traffic) word() string {
	return pick(w.rng, []string{"web", "worker", "api", "cache", "bastion", "etl", "notebook", "gateway"})
}

// what draws the name of a create call.
func (w *traffic) what() string {
	total := 0
	for _, c := range w.creates {
		total += c.weight
	}
	n := w.rng.IntN(total)
	for _, c := range w.creates {
		if n -= c.weight; n < 0 {
			return c.name
		}
	}
	panic("unreachable: n is below the sum of the weights")
}

// staff are the people; the first eight come in through Identity Center.
func staff() []Who {
	return []Who{
		SSO("maria.lopez@example.com", "Developer"), SSO("john.smith@example.com", "Developer"), SSO("aisha.khan@example.com", "DataScientist"),
		SSO("wei.chen@example.com", "PowerUser"), SSO("olga.petrova@example.com", "Developer"), SSO("tom.becker@example.com", "Administrator"),
		SSO("priya.nair@example.com", "DataScientist"), SSO("lucas.martin@example.com", "Developer"), RoleSession("Engineer", "nina.rossi"),
		RoleSession("Engineer", "sven.larsen"), IAMUser("david.okafor"),
	}
}

// who draws a caller that is credited.
func (w *traffic) who() Who {
	switch x := w.rng.Float64(); {
	case x < 0.68:
		return pick(w.rng, w.people)
	case x < 0.74:
		return IAMUser("jenkins")
	case x < 0.84:
		return Machine("github-deploy", "GitHubActions")
	case x < 0.88:
		return Machine("terraform-ci", "aws-go-sdk-1763846400000000000")
	case x < 0.91:
		return Machine("etl-pipeline", "botocore-session-1763846400")
	case x < 0.93:
		return Machine("batch-worker", "i-0d3adb33f00c0ffee")
	case x < 0.96:
		return pick(w.rng, w.people[:8]).On("cloudformation.amazonaws.com")
	case x < 0.98:
		return Machine("break-glass", "aws-sdk-js-1763846400000").WithSourceIdentity("sam.wright@example.com")
	case x < 0.99:
		return Federated("carol.diaz")
	default:
		return Root()
	}
}

// service makes what nobody is to be credited for.
func (w *traffic) service(s event.Scope, at time.Time) {
	switch x := w.rng.Float64(); {
	case x < 0.7:
		tags := map[string]string{"aws:autoscaling:groupName": w.word() + "-asg", "Name": w.word()}
		spec := Spec{Count: 1 + w.rng.IntN(3), Tags: tags, At: at}
		made := w.aws.Create(s, "RunInstances", AutoScaling(), spec)
		if !w.Quiet {
			w.after(w.between(time.Minute, time.Hour), func() { w.aws.Delete(made.Resources[0].ARN, AutoScaling()) })
		}
	case x < 0.85:
		w.aws.Create(s, "CreateNetworkInterface", ServiceRole("eks", "AWSServiceRoleForAmazonEKS"), Spec{At: at})
	case x < 0.95:
		w.aws.Create(s, "CreateLogGroup", AWSService("codebuild"), Spec{At: at})
	default:
		w.aws.Create(s, "CreateBucket", OtherAccount("999988887777"), Spec{At: at})
	}
}

// writes are calls that change something and make nothing that takes tags; some sound as if they did.
func writes() [][2]string {
	return [][2]string{
		{"ec2.amazonaws.com", "AuthorizeSecurityGroupIngress"},
		{"ec2.amazonaws.com", "ModifyInstanceAttribute"},
		{"ec2.amazonaws.com", "StartInstances"},
		{"ec2.amazonaws.com", "StopInstances"},
		{"ec2.amazonaws.com", "AttachVolume"},
		{"ec2.amazonaws.com", "CreateRoute"},
		{"ec2.amazonaws.com", "CreateTags"},
		{"lambda.amazonaws.com", "UpdateFunctionCode20150331v2"},
		{"logs.amazonaws.com", "CreateLogStream"},
		{"kms.amazonaws.com", "CreateGrant"},
		{"iam.amazonaws.com", "AttachRolePolicy"},
		{"iam.amazonaws.com", "CreateAccessKey"},
		{"iam.amazonaws.com", "PutRolePolicy"},
		{"s3.amazonaws.com", "PutBucketPolicy"},
		{"ecs.amazonaws.com", "UpdateService"},
		{"ssm.amazonaws.com", "SendCommand"},
		{"elasticloadbalancing.amazonaws.com", "RegisterTargets"},
		{"autoscaling.amazonaws.com", "SetDesiredCapacity"},
		{"signin.amazonaws.com", "ConsoleLogin"},
	}
}

// namesakes are those of writes whose name is also that of a create event: of another service, or of the same with another
// response.
func namesakes() []string {
	return []string{"AuthorizeSecurityGroupIngress", "CreateRoute", "CreateGrant"}
}

func reads() [][2]string {
	return [][2]string{
		{"ec2.amazonaws.com", "DescribeInstances"},
		{"ec2.amazonaws.com", "DescribeVolumes"},
		{"s3.amazonaws.com", "ListBuckets"},
		{"s3.amazonaws.com", "GetBucketAcl"},
		{"sts.amazonaws.com", "AssumeRole"},
		{"iam.amazonaws.com", "ListRoles"},
		{"lambda.amazonaws.com", "ListFunctions20150331"},
		{"monitoring.amazonaws.com", "DescribeAlarms"},
	}
}

// Counts is how many resources there ever were, by whose they are.
func (a *AWS) Counts() map[Kind]int {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := make(map[Kind]int)
	for _, r := range a.order {
		out[r.Who.Kind]++
	}
	return out
}
