package daemon

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/autotagd/autotagd/internal/awsclient"
	"github.com/autotagd/autotagd/internal/fakeaws"
	"github.com/autotagd/autotagd/pkg/resource"
)

// hostileWorld is a world that watches what leaves the daemon: requests, log lines, Outcomes.
type hostileWorld struct {
	*world
	json, console syncBuffer

	mu       sync.Mutex
	hosts    map[string]bool
	outcomes map[string][]resource.Outcome // by event id
}

type syncBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

func newHostileWorld(t *testing.T, yaml string) *hostileWorld {
	t.Helper()
	h := &hostileWorld{world: newWorld(t, 1, yaml, fakeaws.Config{}), hosts: map[string]bool{}, outcomes: map[string][]resource.Outcome{}}
	enc := zap.NewProductionEncoderConfig() // as `run` has it, where it matters
	h.core = zapcore.NewTee(h.core,
		zapcore.NewCore(zapcore.NewJSONEncoder(enc), zapcore.AddSync(&h.json), zapcore.DebugLevel),
		zapcore.NewCore(zapcore.NewConsoleEncoder(enc), zapcore.AddSync(&h.console), zapcore.DebugLevel))
	return h
}

// Do implements aws.HTTPClient.
func (h *hostileWorld) Do(r *http.Request) (*http.Response, error) {
	h.mu.Lock()
	h.hosts[r.URL.Host] = true
	h.mu.Unlock()
	return h.cloud.HTTPClient().Do(r)
}

func (h *hostileWorld) start() *running {
	h.t.Helper()
	clients, err := awsclient.FromConfig(aws.Config{
		Region: h.cloud.Scope().Region, Credentials: credentials.NewStaticCredentialsProvider("AKIATEST", "secret", ""),
	}, awsclient.Options{Version: "test", Log: zap.New(h.core), HTTP: h})
	if err != nil {
		h.t.Fatal(err)
	}
	return h.world.start(func(o *Options) {
		o.Clients = clients
		o.OnOutcome = func(out resource.Outcome) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.outcomes[out.Job.Event.ID] = append(h.outcomes[out.Job.Event.ID], out)
		}
	})
}

// check looks at all that left the daemon but for the tags.
func (h *hostileWorld) check(r *running) {
	h.t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	amazon := regexp.MustCompile(`^[a-z0-9-]+(\.[a-z0-9-]+)*\.amazonaws\.com$`)
	for host := range h.hosts {
		if !amazon.MatchString(host) {
			h.t.Errorf("a request went to %q", host)
		}
	}
	for name, log := range map[string]*syncBuffer{"json": &h.json, "console": &h.console} {
		n := 0
		for line := range strings.Lines(log.String()) {
			n++
			if strings.ContainsFunc(strings.TrimSuffix(line, "\n"), func(r rune) bool { return r != '\t' && !unicode.IsPrint(r) }) || len(line) > 8<<10 {
				h.t.Errorf("%s log: %.200q", name, line)
			}
			if name == "json" && !json.Valid([]byte(line)) {
				h.t.Errorf("a log line is no JSON: %.200q", line)
			}
		}
		if n < 10 {
			h.t.Errorf("%d lines in the %s log: the test shows little", n, name)
		}
	}
	for _, path := range h.disk.Files() {
		if strings.ContainsFunc(path, func(r rune) bool { return r > 'z' || r < '#' }) {
			h.t.Errorf("file %q", path)
		}
	}
	answer := httptest.NewRecorder()
	promhttp.HandlerFor(r.daemon.registry, promhttp.HandlerOpts{}).ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(answer.Body)
	if err != nil || answer.Code != http.StatusOK || len(families) < 20 {
		h.t.Fatalf("/metrics: %d, %d families: %v", answer.Code, len(families), err)
	}
	for name, f := range families {
		values := map[string]map[string]bool{}
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if values[l.GetName()] == nil {
					values[l.GetName()] = map[string]bool{}
				}
				values[l.GetName()][l.GetValue()] = true
				if v := l.GetValue(); len(v) > 128 || strings.ContainsFunc(v, func(r rune) bool { return !unicode.IsPrint(r) }) {
					h.t.Errorf("%s: label %.200q", name, v)
				}
			}
		}
		for label, v := range values {
			if len(v) > maxLabelValues+1 {
				h.t.Errorf("%s: %d values of %s", name, len(v), label)
			}
		}
	}
	for _, s := range r.daemon.fleet.all() {
		if n, oldest := s.ledger.Unsettled(); n != 0 {
			h.t.Errorf("%d events are unsettled, the oldest of %s", n, oldest)
		}
	}
}

// seldom keeps a test short that is not about polling.
const seldom = "poll: {interval: 1m, lookback: 5m, sweep_interval: 2m}"

// Whatever somebody calls himself reaches AWS as a tag that AWS takes, and nothing else as more than text.
func TestHostileNames(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHostileWorld(t, `{global_region: off, `+seldom+`, services: [ec2, sqs], filters: ["owner.name != 'x' && event.user_agent != 'x'"],
			tags: {Owner: "${owner.name}", PrincipalId: "${identity.principal_id}", Agent: "${event.user_agent.lowerAscii()}"}}`)
		callers := map[string]string{
			"user":    `{"type":"IAMUser","principalId":"@NAME@","userName":"@NAME@"}`,
			"session": `{"type":"AssumedRole","principalId":"AROA:@NAME@","arn":"arn:aws:sts::111122223333:assumed-role/Admin/@NAME@"}`,
			"source":  `{"type":"AssumedRole","principalId":"AROA:bob","arn":"arn:aws:sts::111122223333:assumed-role/Admin/bob","sessionContext":{"sourceIdentity":"@NAME@"}}`,
			"behalf":  `{"type":"IdentityCenterUser","onBehalfOf":{"userId":"@NAME@"}}`,
			"role":    `{"type":"AssumedRole","principalId":"AROA:i-0123456789abcdef0","sessionContext":{"sessionIssuer":{"type":"Role","userName":"@NAME@"}}}`,
		}
		type made struct {
			name                 fakeaws.HostileName
			caller, id, resource string
		}
		var all []made
		for i, name := range fakeaws.HostileNames() {
			for caller := range callers {
				call := []string{"CreateVolume", "CreateQueue"}[i%2]
				m := h.cloud.Create(h.cloud.Scope(), call, fakeaws.IAMUser("bob"), fakeaws.Spec{Delay: 1000 * time.Hour}) // its own record is not shown
				all = append(all, made{name, caller, m.EventID, m.Resources[0].ARN})
			}
		}
		raw := map[string]string{}
		for _, e := range h.cloud.Events(h.cloud.Scope()) {
			raw[e.ID] = e.Raw
		}
		for i, m := range all {
			var record map[string]any
			if err := json.Unmarshal([]byte(raw[m.id]), &record); err != nil {
				t.Fatal(err)
			}
			record["eventID"], record["userIdentity"], record["userAgent"] = fmt.Sprint("hostile ", i), json.RawMessage(callers[m.caller]), "@NAME@"
			text, err := json.Marshal(record)
			if err != nil {
				t.Fatal(err)
			}
			all[i].id = h.cloud.PutRecord(h.cloud.Scope(), m.name.InRecord(string(text)), time.Now())
		}
		r := h.start()
		time.Sleep(12 * time.Minute) // beyond the lookback, and a final pass
		r.stop()
		for _, m := range all {
			got := h.outcomes[m.id]
			if m.caller == "session" && strings.Contains(m.name.Name, "/") {
				continue // what follows a slash is the session's name, what is before it the role's path
			}
			thing, _ := h.cloud.Resource(m.resource)
			if len(got) != 1 || got[0].Kind != resource.Tagged && m.name.Tag != "" {
				t.Errorf("%s as %s: Outcomes %+v, want one, tagged", m.name.What, m.caller, got)
			}
			if thing.Tags["Owner"] != m.name.Tag {
				t.Errorf("%s as %s: Owner %.100q, want %.100q", m.name.What, m.caller, thing.Tags["Owner"], m.name.Tag)
			}
		}
		for _, c := range h.cloud.Calls("") {
			if c.Error != "" && c.Error != "ThrottledException" {
				t.Errorf("%s was refused: %s", c.Op, c.Error)
			}
		}
		h.check(r)
	})
}

// Invariant 6: nothing in a record crashes the daemon, and each create event has an Outcome.
func TestHostileRecords(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := newHostileWorld(t, "{global_region: off, "+seldom+"}")
		head := func(source, name, region string) string {
			where, err := json.Marshal(region)
			if err != nil {
				t.Fatal(err)
			}
			return fmt.Sprintf(`{"eventSource":"%s.amazonaws.com","eventName":"%s","awsRegion":%s,"recipientAccountId":"111122223333","eventTime":"%s",`,
				source, name, where, time.Now().UTC().Format(time.RFC3339))
		}
		volume := head("ec2", "CreateVolume", "eu-central-1")
		const alice = `"userIdentity":{"type":"IAMUser","userName":"alice"},`
		records := map[string]string{
			"long":    volume + `"userIdentity":{"type":"IAMUser","userName":"` + strings.Repeat("x", 1<<20) + `"},"responseElements":{"volumeId":"vol-0123"}`,
			"control": volume + `"userIdentity":{"type":"IAMUser","userName":"\u001b[31m\u0000\u202eevil\n"},"responseElements":{"volumeId":"vol-0\u001b[2J"}`,
			"deep":    volume + `"userIdentity":{"type":"IAMUser","userName":"a"},"responseElements":` + strings.Repeat(`{"a":`, 5000) + `1` + strings.Repeat(`}`, 5000),
			"types":   volume + `"userIdentity":[1,2],"responseElements":"no","requestParameters":7,"readOnly":"x"`,
			"tags":    volume + `"userIdentity":{"type":"IAMUser","principalId":"aws:x","userName":"aws:alice"},"responseElements":{"volumeId":"vol-0124","tagSet":{"items":5}}`,
			"ids":     volume + alice + `"responseElements":{"volumeId":["vol-1",{"x":1},null,"` + strings.Repeat("v", 3000) + `"]}`,
			"id":      volume + alice + `"responseElements":{"volumeId":"vol-1&Action=DeleteVolume&ResourceId.2=vol-2\r\nHost: evil"}`,
			"account": strings.Replace(volume, "111122223333", `../\u001b[31m`, 1) + alice + `"responseElements":{"volumeId":"vol-1"}`,
			"arn":     head("sns", "CreateTopic", "eu-central-1") + alice + `"responseElements":{"topicArn":"arn:aws:sns:evil.example.com/:111122223333:\u001b[31m\nx"}`,
			"queue":   head("sqs", "CreateQueue", "eu-central-1") + alice + `"responseElements":{"queueUrl":"http://169.254.169.254/111122223333/x?a=b#\u202e"}`,
			"role":    head("iam", "CreateRole", "us-east-1") + alice + `"responseElements":{"role":{"roleName":"../../x?\u0000","arn":"arn:aws:iam::111122223333:role/../../x?\u0000"}}`,
			"bucket":  head("s3", "CreateBucket", "eu-central-1") + alice + `"requestParameters":{"bucketName":"evil.example.com/#","CreateBucketConfiguration":{"LocationConstraint":"evil.example.com/#a-b-1"}}`,
			"api":     head("apigateway", "CreateRestApi", "eu-central-1") + alice + `"responseElements":{"id":"../../../x?y=z\r\n","self":{"restApiId":"../x"}}`,
		}
		for i, region := range []string{"evil.example.com/#", "x@evil.example.com:80/", "../..", "eu-central-1\x00", "eu-central-1.evil.example.com?", " ", "\u202e", strings.Repeat("r", 5000)} {
			records[fmt.Sprint("region", i)] = head("ec2", "CreateVolume", region) + alice + `"responseElements":{"volumeId":"vol-1"}`
			records[fmt.Sprint("queue's region", i)] = head("sqs", "CreateQueue", region) + alice + `"requestParameters":{"queueName":"q"}`
			records[fmt.Sprint("role's region", i)] = head("glue", "CreateJob", region) + alice + `"requestParameters":{"name":"j"},"responseElements":{"name":"j"}`
		}
		for id, raw := range records {
			records[id] = h.cloud.PutRecord(h.cloud.Scope(), raw+`,"eventID":"`+id+`"}`, time.Now())
		}
		for _, name := range fakeaws.HostileNames() { // what the catalog doesn't know may be called anything
			raw, err := json.Marshal(map[string]any{"eventID": "@NAME@", "eventSource": "@NAME@.amazonaws.com", "eventName": "Create@NAME@", "responseElements": map[string]string{"@NAME@Arn": "arn:aws:x:eu-central-1:111122223333:@NAME@"}})
			if err != nil {
				t.Fatal(err)
			}
			h.cloud.PutRecord(h.cloud.Scope(), name.InRecord(string(raw)), time.Now())
		}
		r := h.start()
		time.Sleep(12 * time.Minute)
		r.stop()
		for name, id := range records {
			if len(h.outcomes[id]) == 0 {
				t.Errorf("%s: no Outcome", name)
				continue
			}
		}
		if n := len(h.outcomes["long"][0].Job.Owner); n != maxOwner {
			t.Errorf("a Job carries %d bytes of a name, want %d", n, maxOwner)
		}
		for _, c := range h.cloud.Calls("") {
			if strings.Contains(c.Op, "Delete") {
				t.Errorf("%s was called", c.Op)
			}
		}
		h.check(r)
		h.audit()
	})
}

// Who may choose the name of a role's sessions can choose a colleague's. A source identity tells who it was all the same, and
// owners.session_names says whose session names are taken for people's at all; the principal says which role it was in any case.
func TestAColleaguesName(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, 1, `{global_region: off, owners: {session_names: [{role: "AWSReservedSSO_*", trust: true}, {role: Admin, trust: true}]}}`, fakeaws.Config{})
		contractor := fakeaws.RoleSession("Contractor", "alice")
		for _, c := range []struct {
			name, owner string
			who         fakeaws.Who
		}{
			{"herself, by single sign-on", "alice@example.com", fakeaws.SSO("alice@example.com", "Developer")},
			{"a role whose sessions may be called anything", "Contractor", contractor},
			{"with a source identity", "mallory", contractor.WithSourceIdentity("mallory")},
			{"a trusted role with a source identity", "mallory", fakeaws.RoleSession("Admin", "alice").WithSourceIdentity("mallory")},
			{"a trusted role", "alice", fakeaws.RoleSession("Admin", "alice")},
		} {
			made := w.cloud.Create(w.cloud.Scope(), "CreateVolume", c.who, fakeaws.Spec{Delay: -1})
			r := w.start()
			time.Sleep(2 * time.Minute)
			r.stop()
			got, _ := w.cloud.Resource(made.Resources[0].ARN)
			if want := c.who.PrincipalID(fakeaws.DefaultAccount); got.Tags["Owner"] != c.owner || got.Tags["PrincipalId"] != want {
				t.Errorf("%s: tags %v, want Owner %s and PrincipalId %s", c.name, got.Tags, c.owner, want)
			}
		}
	})
}
