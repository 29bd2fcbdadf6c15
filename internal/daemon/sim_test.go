package daemon

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"go.uber.org/zap"

	"github.com/autotagd/autotagd/internal/awsclient"
	"github.com/autotagd/autotagd/internal/fakeaws"
	"github.com/autotagd/autotagd/pkg/checkpoint"
	"github.com/autotagd/autotagd/pkg/checkpoint/storetest"
	"github.com/autotagd/autotagd/pkg/event"
	"github.com/autotagd/autotagd/pkg/resource"
)

// The simulation: the whole daemon but its web port, an AWS, and a disk or a table, in a bubble of virtual time. One seed draws
// everything that befalls them: the traffic, the weather (sim_weather_test.go), and when lives of the daemon begin and end. The
// watch (sim_watch_test.go, with sim_saves_test.go and sim_reads_test.go) compares with the fake's truth, at each save and in the
// end. `make sim` builds it with a runtime where the seed decides everything (test/sim): there a seed that fails does so each time.
// Elsewhere a seed draws the same plan, but goroutines that are ready at once take turns as they like.

// AUTOTAGD_SIM is how many seeds of simHours are run, AUTOTAGD_SIM_WEEKS how many of seven days, AUTOTAGD_SIM_SEED the first of
// them. Without, it is a few short ones, always the same: `make sim` draws and prints its first seed.
const (
	simHours   = 2 * time.Hour
	simWeek    = 7 * 24 * time.Hour
	fewSeeds   = 4 // without AUTOTAGD_SIM
	manyHours  = 30 * time.Minute
	settleTime = 100 * time.Minute // at most, after the weather has cleared up: replays come an hour apart
)

func TestSimulation(t *testing.T) {
	if !alone() {
		t.Parallel()
	}
	seed := envNumber(t, "AUTOTAGD_SIM_SEED", 1)
	hours, weeks := envNumber(t, "AUTOTAGD_SIM", fewSeeds), envNumber(t, "AUTOTAGD_SIM_WEEKS", 0)
	length := simHours
	if os.Getenv("AUTOTAGD_SIM") == "" {
		length = manyHours
	}
	t.Logf("AUTOTAGD_SIM_SEED=%d: %d seeds of %s, %d of %s", seed, hours, length, weeks, simWeek)
	run := func(name, variable string, seed uint64, length time.Duration) {
		t.Run(name, func(t *testing.T) {
			if alone() {
				reseed(t, seed)
			} else {
				t.Parallel()
			}
			if !replays || alone() {
				simulate(t, seed, length)
			} else {
				inProcess(t, name, seed, variable)
			}
		})
	}
	for i := range hours {
		run(fmt.Sprintf("hours-%d", seed+i), "AUTOTAGD_SIM", seed+i, length)
	}
	for i := range weeks {
		run(fmt.Sprintf("week-%d", seed+i), "AUTOTAGD_SIM_WEEKS", seed+i, simWeek)
	}
}

func envNumber(t *testing.T, name string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 63)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

func simulate(t *testing.T, seed uint64, length time.Duration) {
	synctest.Test(t, func(t *testing.T) {
		s := newSim(t, seed, length)
		over := make(chan struct{})
		var all sync.WaitGroup
		all.Go(func() { collect(over) })
		s.run()
		close(over)
		all.Wait()
		if replays {
			t.Logf("%s: a scan every %s, a final pass every %s, %d Scopes, tabled %v, replicas %d, by name %v", s.watch.digest(), s.interval, s.sweep, len(s.regions)*max(1, s.accounts), s.tabled, s.replicas, len(s.only) > 0)
		}
	})
}

// shape is what stays the same through one simulation.
type shape struct {
	length                    time.Duration
	interval, sweep, lookback time.Duration
	past                      time.Duration // poll.start
	visibility, consistency   time.Duration
	clock                     time.Duration
	regions                   []string
	accounts                  int // with roles; 0: the credentials' own
	tabled                    bool
	replicas                  int // at most; 0: no others
	lease                     time.Duration
	creates, writes           float64
	only                      creations // by name: few names, so that they are read one by one
	rate                      float64   // poll.rate; 0: the default
}

func drawShape(rng *rand.Rand, length time.Duration) shape {
	s := shape{
		length:   length,
		interval: pickOf(rng, 30*time.Second, time.Minute, 2*time.Minute, 4*time.Minute, 4*time.Minute, 4*time.Minute),
		sweep:    pickOf(rng, time.Minute, 2*time.Minute, 5*time.Minute, 5*time.Minute),
		lookback: pickOf(rng, 5*time.Minute, 10*time.Minute, 30*time.Minute),
		past:     pickOf(rng, 5*time.Minute, time.Hour),
		regions:  pickOf(rng, []string{"us-east-1"}, []string{"eu-central-1", "us-east-1"}),
		creates:  pickOf(rng, 0.003, 0.003, 0.01, 0.03),
		lease:    30 * time.Second,
	}
	s.writes = s.creates * pickOf(rng, 0.5, 1, 3)
	s.visibility = s.lookback / pickOf[time.Duration](rng, 6, 6, 12, 24)          // the most is six times the mean
	s.consistency = pickOf(rng, 0, 5*time.Second, 20*time.Second, 90*time.Second) // less than tagging.consistency_wait
	if rng.Float64() < 0.3 {
		s.clock = time.Duration(rng.Int64N(int64(6*time.Hour))) - 3*time.Hour
	}
	switch rng.IntN(5) {
	case 0:
		s.tabled = true
	case 1:
		s.tabled, s.replicas = true, 3
	}
	if s.replicas > 0 || rng.IntN(5) == 0 {
		s.accounts = 2
	}
	switch scopes := len(s.regions) * max(s.accounts, 1); { // more of both would cost too much
	case scopes == 1 && rng.IntN(12) == 0:
		s.interval = 5 * time.Second
	case scopes > 2:
		s.interval, s.sweep, s.creates, s.writes = 4*time.Minute, 5*time.Minute, 0.003, 0.003
	}
	if length > 24*time.Hour { // so many hours cost as little as they can
		s.interval, s.sweep, s.creates, s.writes = 4*time.Minute, 10*time.Minute, 0.002, 0.004
		s.accounts, s.regions, s.replicas = 0, []string{"us-east-1"}, 0
		s.lease = 10 * time.Minute
	}
	return s
}

func pickOf[T any](rng *rand.Rand, of ...T) T { return of[rng.IntN(len(of))] }

func between(rng *rand.Rand, from, to time.Duration) time.Duration {
	return from + time.Duration(rng.Int64N(int64(to-from)))
}

// sim is one simulation.
type sim struct {
	*world
	shape
	seed  uint64
	watch *watch
	then  func(*rand.Rand) (what string, scopes []event.Scope) // the next weather, where it follows from this one

	mu     sync.Mutex // guards what follows
	lives  int
	broken func(op string) storetest.Fault // the weather's
	cut    func() storetest.Fault          // where a life is to end
}

func newSim(t *testing.T, seed uint64, length time.Duration) *sim {
	t.Helper()
	sh := drawShape(rand.New(rand.NewPCG(seed, 1)), length)
	sh.drawOnly(rand.New(rand.NewPCG(seed, 5)))
	cloud := fakeaws.Config{
		Regions: sh.regions, Visibility: sh.visibility, Consistency: sh.consistency, ClockOffset: sh.clock,
		Duplicates: 0.02, EmptyPages: 0.02, Showings: true, Retention: 30 * time.Hour, TableTime: -1,
	}
	yaml := []string{
		"regions: [" + strings.Join(sh.regions, ", ") + "]",
		fmt.Sprintf("poll: {interval: %s, sweep_interval: %s, lookback: %s, start: %s}", sh.interval, sh.sweep, sh.lookback, sh.past),
	}
	var roles []string
	for i := range sh.accounts {
		id := fmt.Sprintf("%012d", 200000000000+i)
		if i == 0 {
			id = fakeaws.DefaultAccount
		}
		cloud.Accounts = append(cloud.Accounts, id)
		cloud.Roles = append(cloud.Roles, fakeaws.Role{ARN: roleIn(id)})
		roles = append(roles, `{role_arn: "`+roleIn(id)+`"}`)
	}
	if sh.accounts > 0 {
		yaml = append(yaml, "accounts: ["+strings.Join(roles, ", ")+"]")
	}
	if len(sh.only) > 0 {
		yaml = append(yaml, "services: ["+strings.Join(sh.only.services(), ", ")+"]")
		yaml[1] = strings.Replace(yaml[1], "{", fmt.Sprintf("{rate: %g, ", sh.rate), 1)
	}
	if sh.tabled {
		yaml = append(yaml, fmt.Sprintf("checkpoint: {dynamodb: {table: autotagd, lease: %s}}", sh.lease))
	}
	w := newWorld(t, seed, "{"+strings.Join(yaml, ", ")+"}", cloud)
	s := &sim{world: w, shape: sh, seed: seed, watch: newWatch(w, sh)}
	w.disk.Inject = s.diskFault
	if sh.tabled {
		if err := w.table(w.cloud.HTTPClient()).Create(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// run lets everything happen, waits until all is settled, and has the watch judge.
func (s *sim) run() {
	traffic := fakeaws.Traffic{Creates: s.creates, Writes: s.writes, Beat: time.Second, Only: s.only.names()}
	s.cloud.Past(s.cloud.Now().Add(-max(s.lookback, s.past)), s.cloud.Now(), traffic)
	traffic.Level = s.level()
	ctx, cancel := context.WithTimeout(s.t.Context(), s.length)
	defer cancel()
	var all sync.WaitGroup
	all.Go(func() { _ = s.cloud.Live(ctx, traffic) }) // it returns nil
	all.Go(func() { s.weather(ctx, rand.New(rand.NewPCG(s.seed, 2))) })
	last := s.lead(ctx, rand.New(rand.NewPCG(s.seed, 3)))
	all.Wait()
	s.watch.note("the weather has cleared up for good")
	for began := time.Now(); ; time.Sleep(s.lookback/2 + s.sweep) {
		took := time.Since(began)
		if took > s.lookback+3*s.sweep && s.watch.settled() || took > settleTime+time.Duration(min(1, len(s.only)))*byNameStride {
			break
		}
	}
	for _, l := range last {
		l.end("is asked to end", true)
	}
	s.watch.judge()
}

// level makes quiet hours and bursts out of the seed.
func (s *sim) level() func(time.Duration) float64 {
	rng := rand.New(rand.NewPCG(s.seed, 4))
	level, until := 1.0, time.Duration(0)
	return func(since time.Duration) float64 {
		for since >= until {
			level = pickOf(rng, 0, 0.3, 1, 1, 2, 20)
			most := 20 * time.Minute
			if level > 2 {
				most = 90 * time.Second
			}
			until += between(rng, 20*time.Second, most)
			if s.length > simHours && level <= 1 {
				until += between(rng, time.Hour, 8*time.Hour)
			}
		}
		return level
	}
}

// life is one life of the daemon: a process from its start until it ends.
type life struct {
	*running
	sim  *sim
	name string
	plug *plug
	over bool
	dead atomic.Bool // nothing that it does is heard any more
}

// begin starts a life.
func (s *sim) begin() *life {
	s.mu.Lock()
	s.lives++
	l := &life{sim: s, name: fmt.Sprint("life-", s.lives)}
	l.plug = &plug{client: s.cloud.HTTPClient(), key: "AKIA" + l.name, heard: s.watch.hears(l.name)}
	unlucky := s.replicas > 0 && rand.New(rand.NewPCG(s.seed, 100+uint64(s.lives))).IntN(4) == 0
	s.mu.Unlock()
	if unlucky {
		s.cloud.Fail("UpdateItem", 1, fakeaws.ServerError) // likely its first beat
	}
	clients, err := awsclient.FromConfig(aws.Config{
		Region: s.cloud.Scope().Region, Credentials: credentials.NewStaticCredentialsProvider("AKIATEST", "secret", ""),
	}, awsclient.Options{Version: "test", Log: zap.New(s.core), HTTP: l.plug})
	if err != nil {
		s.t.Fatal(err)
	}
	s.watch.note(l.name + " begins")
	l.running = s.start(func(o *Options) {
		o.Clients = clients
		o.OnOutcome = func(out resource.Outcome) {
			if !l.dead.Load() {
				s.watch.outcome(l.name, out)
			}
		}
		if s.tabled {
			store := checkpoint.NewDynamoDBStore(s.table(l.plug), l.name)
			o.Store, o.Leases, o.Replica = store, store, l.name
		}
		o.Store = watchedStore{o.Store, s.watch, l}
	})
	return l
}

// end ends a life: as SIGTERM does, or as a power cut does, where nothing more reaches AWS or the disk.
func (l *life) end(how string, gently bool) {
	if l.over {
		return
	}
	l.over = true
	l.sim.watch.note(l.name + " " + how)
	if !gently {
		l.dead.Store(true)
		l.plug.pulled.Store(true)
		l.sim.disk.Stop()
	}
	l.cancel()
	if err := <-l.done; err != nil && gently {
		l.sim.watch.note(fmt.Sprintf("%s ended with: %v", l.name, err))
	}
	if !gently {
		l.sim.disk.Reboot(l.sim.rng)
	}
}

// lead begins and ends lives until ctx ends. It returns those that are to see the end.
func (s *sim) lead(ctx context.Context, rng *rand.Rand) []*life {
	if s.replicas > 0 {
		return s.leadReplicas(ctx, rng)
	}
	for {
		l := s.begin()
		died := s.live(ctx, l, rng)
		if ctx.Err() != nil && !died {
			return []*life{l}
		}
		from := s.cloud.Now()
		down := between(rng, time.Second, 30*time.Second)
		if rng.IntN(4) == 0 {
			down = between(rng, time.Minute, min(s.length/4, 20*time.Hour)) // and what was denied before is mended within tagging.give_up_after
		}
		pause(ctx, down)
		s.watch.trouble(nil, from, s.cloud.Now())
	}
}

// live is one life from its start to its end, or to the end of ctx: then it goes on, unless it has ended by itself.
func (s *sim) live(ctx context.Context, l *life, rng *rand.Rand) (died bool) {
	most := pickOf(rng, time.Minute, 5*time.Minute, s.length/4, s.length/2)
	select {
	case err := <-l.done:
		s.watch.note(fmt.Sprintf("%s ended by itself: %v", l.name, err)) // systemd starts it again
		l.over = true
		return true
	case <-ctx.Done():
		return false
	case <-time.After(between(rng, time.Second, most)):
	}
	switch rng.IntN(6) {
	case 0, 1:
		l.end("is asked to end", true)
	case 2, 3:
		if !s.tabled { // the machine stops between two steps on the disk
			n, cut := 1+rng.IntN(30), make(chan struct{})
			s.mu.Lock()
			s.cut = func() storetest.Fault {
				switch n--; {
				case n > 0:
					return storetest.None
				case n == 0:
					l.dead.Store(true)
					l.plug.pulled.Store(true)
					close(cut)
				}
				return storetest.Cut
			}
			s.mu.Unlock()
			select {
			case <-cut:
			case <-time.After(3 * time.Minute):
			}
			l.end("is cut off", false)
			s.mu.Lock()
			s.cut = nil
			s.mu.Unlock()
			return true
		}
		fallthrough
	default:
		l.end("is killed", false)
	}
	return true
}

// leadReplicas has several lives at a time, which share the Scopes.
func (s *sim) leadReplicas(ctx context.Context, rng *rand.Rand) []*life {
	lives := []*life{s.begin(), s.begin()}
	for ctx.Err() == nil {
		since := s.cloud.Now()
		pause(ctx, between(rng, 20*time.Second, s.length/12))
		if len(lives) == 0 {
			s.watch.trouble(nil, since, s.cloud.Now())
		}
		var alive []*life
		for _, l := range lives {
			select {
			case err := <-l.done:
				s.watch.note(fmt.Sprintf("%s ended by itself: %v", l.name, err))
				l.over = true
			default:
				alive = append(alive, l)
			}
		}
		lives = alive
		from, n := s.cloud.Now(), 0
		if len(lives) > 0 {
			n = rng.IntN(len(lives))
		}
		switch x := rng.IntN(7); {
		case len(lives) == 0, x == 0 && len(lives) < s.replicas:
			lives = append(lives, s.begin())
		case x == 1:
			lives[n].end("is asked to end", true)
			lives = append(lives[:n], lives[n+1:]...)
		case x == 2:
			lives[n].end("is killed", false)
			lives = append(lives[:n], lives[n+1:]...)
		case x == 3:
			from = lives[n].cutOff(ctx, "AWS", &lives[n].plug.pulled, rng)
		case x == 4:
			from = lives[n].cutOff(ctx, "DynamoDB", &lives[n].plug.apart, rng)
		}
		s.watch.trouble(nil, from, s.cloud.Now().Add(time.Minute)) // two leases
	}
	if len(lives) == 0 {
		lives = append(lives, s.begin())
	}
	return lives
}

// cutOff has nothing get through for less than a lease, or for more, often from the moment that a state is to be saved. What was sent
// to DynamoDB meanwhile may arrive afterwards, when the Scopes are another's.
func (l *life) cutOff(ctx context.Context, from string, off *atomic.Bool, rng *rand.Rand) (began time.Time) {
	if rng.IntN(2) == 0 {
		saves := make(chan struct{})
		var once sync.Once
		sees := func(sent []byte) {
			if savesState(sent) {
				once.Do(func() { off.Store(true); close(saves) })
			}
		}
		l.plug.sees.Store(&sees)
		select {
		case <-saves:
		case <-time.After(2 * l.sim.interval):
		case <-ctx.Done():
		}
		l.plug.sees.Store(nil)
	}
	l.plug.hole.Store(rng.IntN(2) == 0)
	defer l.plug.hole.Store(false)
	began = l.sim.cloud.Now()
	l.sim.watch.note(l.name + " is cut off from " + from)
	off.Store(true)
	pause(ctx, between(rng, time.Second, 100*time.Second))
	l.sim.watch.note(fmt.Sprintf("%s reaches %s again, and so do %d calls of DynamoDB that it made meanwhile", l.name, from, l.plug.arrive(rng)))
	off.Store(false)
	return began
}

// diskFault is what an operation on the disk meets.
func (s *sim) diskFault(op, _ string) storetest.Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cut != nil {
		if f := s.cut(); f != storetest.None {
			return f
		}
	}
	if s.broken != nil {
		return s.broken(op)
	}
	return storetest.None
}

// pause waits, less when ctx ends.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
