package tagapi

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/encoding/cbor"

	"github.com/autotagd/autotagd/pkg/event"
	"github.com/autotagd/autotagd/pkg/resource"
)

// task is a line to testdata/botocore.py.
type task struct {
	Kind     string            `json:"kind"`
	Service  string            `json:"service"`
	Op       string            `json:"op"`
	Ops      []string          `json:"ops"`
	Protocol string            `json:"protocol"`
	Params   map[string]string `json:"params"`
	Members  []place           `json:"members"`
	Tags     [][2]string       `json:"tags"`
	Token    string            `json:"token"`
	Status   int               `json:"status"`
	Headers  map[string]string `json:"headers"`
	Body     []byte            `json:"body"`

	check func(*testing.T, result)
	name  string
}

// place is a value in a read's request, under its name on the wire.
type place struct {
	Name  string `json:"name"`
	At    string `json:"at"`
	Value string `json:"value"`
}

// result is a line from it.
type result struct {
	Error   string `json:"error"`
	Missing bool   `json:"missing"` // this botocore doesn't have the service

	Method     string            `json:"method"`
	Path       string            `json:"path"`
	Query      [][2]string       `json:"query"`
	Headers    map[string]string `json:"headers"`
	HostPrefix string            `json:"host_prefix"`
	MD5        bool              `json:"md5"`
	Form       map[string]string `json:"form"`
	Body       []byte            `json:"body"`
	Paged      string            `json:"paged"`

	Code    string `json:"code"`
	Message string `json:"message"`

	Hosts map[string]map[string][2]string `json:"hosts"`
	Names []string                        `json:"names"`
	ID    string                          `json:"id"`

	Partitions []struct {
		ID      string              `json:"id"`
		Regions map[string]struct{} `json:"regions"`
		Outputs struct {
			DNS  string `json:"dnsSuffix"`
			Dual string `json:"dualStackDnsSuffix"`
		} `json:"outputs"`
	} `json:"partitions"`
}

const script = "testdata/botocore.py"

const testAccount = "111122223333"

// awkward has what must be escaped in a path, a query, a form, JSON or XML. A header can't have all of it.
const awkward = `/a b+:c+d%2F..e?f#g=h&i"j'k<l>{m}~_-.é日本`

// testTags must arrive as they are: none trimmed, none cut.
var testTags = []resource.Tag{{Key: `&<>"'/+%=:{}`, Value: "é 日本\t<x/>&amp;"}, {Key: "a Key", Value: ""}, {Key: "Key é日本", Value: "a space at the end "}}

// TestAgainstBotocore has botocore, which is not ours, write every request, and read every answer, that the tables describe.
func TestAgainstBotocore(t *testing.T) {
	var tasks []task
	for _, c := range testTable.All() {
		tasks = append(tasks, requestTasks(c)...)
		tasks = append(tasks, answerTasks(c)...)
	}
	tasks = append(tasks, errorTasks()...)
	tasks = append(tasks, hostTasks()...)
	tasks = append(tasks, task{Kind: "list_partitions", name: "partitions", check: checkPartitions})

	missing := map[string]bool{}
	for i, r := range askBotocore(t, tasks) {
		k := tasks[i]
		switch {
		case r.Missing:
			missing[k.Service] = true
		case r.Error != "":
			t.Errorf("%s: botocore.py: %s", k.name, r.Error)
		default:
			t.Run(k.name, func(t *testing.T) { k.check(t, r) })
		}
	}
	// calls.py says what these are.
	if got := slices.Sorted(maps.Keys(missing)); !slices.Equal(got, []string{"finspace", "tnb"}) {
		t.Errorf("botocore lacks %q", got)
	}
	t.Logf("%d comparisons; not in this botocore: %v", len(tasks), slices.Sorted(maps.Keys(missing)))
}

// askBotocore gives the tasks to a Python of the virtual environment that test/moto/setup makes.
func askBotocore(t *testing.T, tasks []task) []result {
	t.Helper()
	python, err := filepath.Abs("../../test/moto/.venv/bin/python")
	if err == nil {
		_, err = os.Stat(python)
	}
	if err != nil {
		err = fmt.Errorf("botocore is not installed: run `test/moto/setup`, or `make test`: %w", err)
		if os.Getenv("AUTOTAGD_REQUIRE_MOTO") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	// So that `go test` doesn't take an earlier result for this one when they change.
	for _, file := range []string{script, "../../test/moto/requirements.txt"} {
		if _, err := os.Stat(file); err != nil {
			t.Fatal(err)
		}
	}
	var in bytes.Buffer
	e := json.NewEncoder(&in)
	for _, k := range tasks {
		if err := e.Encode(k); err != nil {
			t.Fatal(err)
		}
	}
	// -P: else the script, by its name, would be the package that it imports.
	cmd := exec.CommandContext(t.Context(), python, "-P", script)
	cmd.Env = append(os.Environ(), "AWS_EC2_METADATA_DISABLED=true")
	cmd.Stdin = &in
	out, err := cmd.Output()
	if failed := (*exec.ExitError)(nil); errors.As(err, &failed) {
		t.Fatalf("botocore.py: %v\n%s", err, failed.Stderr)
	}
	if err != nil {
		t.Fatal(err)
	}
	results := make([]result, 0, len(tasks))
	for d := json.NewDecoder(bytes.NewReader(out)); d.More(); {
		var r result
		if err := d.Decode(&r); err != nil {
			t.Fatal(err)
		}
		results = append(results, r)
	}
	if len(results) != len(tasks) {
		t.Fatalf("botocore.py answered %d of %d", len(results), len(tasks))
	}
	return results
}

func (c *Call) task(kind, op string) task {
	name := strings.Join([]string{c.Service, c.API, kind, op}, " ")
	return task{Kind: kind, Service: cmp.Or(c.Via, c.Service), Op: op, Protocol: c.service.Protocol, name: name}
}

// sampleParams has a value for each of the call's parameters.
func sampleParams(c *Call) (all, required map[string]string) {
	all, required = map[string]string{}, map[string]string{}
	ops := []*Op{&c.Write}
	if c.Read != nil {
		ops = append(ops, c.Read)
	}
	names, optional := c.Params()
	for _, name := range append(names, optional...) {
		value := "arn:aws:x:eu-west-1:111122223333:" + name + awkward
		for _, op := range ops {
			for _, m := range op.In {
				switch {
				case m.From != name:
				case m.Type == "boolean":
					value = "true"
				case m.Type == "long" || m.Type == "integer":
					value = "4200000000"
				case m.At == "header" || strings.Contains(op.HostPrefix, "{"+name+"}"):
					value = testAccount
				}
			}
		}
		all[name] = value
		if slices.Contains(names, name) {
			required[name] = value
		}
	}
	return all, required
}

// requestTasks are for the write and the read: with and without what is optional, and for a second page.
func requestTasks(c *Call) []task {
	all, required := sampleParams(c)
	variants := []map[string]string{all}
	if len(all) > len(required) {
		variants = append(variants, required)
	}
	var tasks []task
	for _, params := range variants {
		tasks = append(tasks, writeTask(c, params))
		if c.Read == nil {
			continue
		}
		tasks = append(tasks, readTask(c, params, ""))
		if c.Read.More != nil {
			tasks = append(tasks, readTask(c, params, "token="+awkward))
		}
	}
	return tasks
}

func writeTask(c *Call, params map[string]string) task {
	k := c.task("write", c.Write.Name)
	k.Params, k.Tags = params, pairs(testTags)
	k.check = func(t *testing.T, r result) {
		req, err := c.NewWrite(context.Background(), "https://host.example", params, testTags)
		compareRequest(t, c, &c.Write, req, err, r)
	}
	return k
}

func readTask(c *Call, params map[string]string, more string) task {
	k := c.task("read", c.Read.Name)
	for _, m := range c.Read.In {
		if value := cmp.Or(m.Value, params[m.From]); value != "" {
			k.Members = append(k.Members, place{m.Name, m.At, value})
		}
	}
	if more != "" {
		k.Members = append(k.Members, place{c.Read.More.In.Name, c.Read.More.In.At, more})
	}
	k.check = func(t *testing.T, r result) {
		req, err := c.NewRead(context.Background(), "https://host.example", params, more)
		compareRequest(t, c, c.Read, req, err, r)
	}
	return k
}

func pairs(tags []resource.Tag) [][2]string {
	all := make([][2]string, len(tags))
	for i, tag := range tags {
		all[i] = [2]string{tag.Key, tag.Value}
	}
	return all
}

// answerTasks are of a read's answer with all that the model has, and of one without tags.
func answerTasks(c *Call) []task {
	if c.Read == nil {
		return nil
	}
	var tasks []task
	for _, tags := range [][]resource.Tag{testTags, {}} {
		token, wantTags := "", map[string]string{}
		for _, tag := range tags {
			token = "token=" + awkward
			wantTags[tag.Key] = tag.Value
		}
		k := c.task("answer", c.Read.Name)
		k.Tags, k.Token = pairs(tags), token
		k.check = func(t *testing.T, r result) {
			want := token
			paged := ""
			switch more := c.Read.More; {
			case more == nil:
				want = ""
			case more.Flag != "":
				paged = "flag"
				if token != "" {
					want = tags[len(tags)-1].Key
				}
			default:
				paged = "token"
			}
			if paged != r.Paged {
				t.Errorf("the table says that pages go by %q, botocore by %q", paged, r.Paged)
			}
			got, more, err := c.Page(http.StatusOK, http.Header{}, r.Body)
			if err != nil || !maps.Equal(got, wantTags) || more != want {
				t.Errorf("tags %q, more %q, %v of\n%s\nwant %q, %q", got, more, err, r.Body, wantTags, want)
			}
		}
		tasks = append(tasks, k)
	}
	return tasks
}

// errorTasks are of every form that errors have.
func errorTasks() []task {
	const xmlError = `<ErrorResponse xmlns="http://example.com/"><Error><Type>Sender</Type><Code>Throttling</Code><Message>Rate &lt;é&gt;</Message></Error><RequestId>r</RequestId></ErrorResponse>`
	object := []string{
		`{"__type":"ThrottlingException","message":"Rate <é>"}`,
		`{"__type":"com.amazonaws.x#ThrottlingException","Message":"Rate"}`,
		`{"__type":"com.amazonaws.x#ThrottlingException:http://internal.amazon.com/","message":"Rate"}`,
		`{"__type":"ThrottlingException"}`,
	}
	bodies := map[string][]string{
		json10: object, json11: object,
		restJSON: append(object, `{"code":"ThrottlingException","message":"Rate"}`, `{"Code":"a.b#ThrottlingException","Message":"Rate"}`),
		query:    {xmlError},
		restXML:  {xmlError, `<?xml version="1.0" encoding="UTF-8"?>` + "\n" + `<Error><Code>AccessDenied</Code><Message>No &amp; no</Message><RequestId>r</RequestId></Error>`},
		cborRPC: {
			string(cbor.Encode(cbor.Map{"__type": cbor.String("a.b#ThrottlingException"), "message": cbor.String("Rate")})),
			string(cbor.Encode(cbor.Map{"__type": cbor.String("ThrottlingException"), "Message": cbor.String("Rate")})),
		},
	}
	var tasks []task
	for _, protocol := range slices.Sorted(maps.Keys(bodies)) {
		all := testTable.All()
		c := all[slices.IndexFunc(all, func(c *Call) bool { return c.service.Protocol == protocol && c.Read != nil })]
		for _, body := range bodies[protocol] {
			tasks = append(tasks, errorTask(c, nil, body))
		}
		if protocol == restJSON {
			for _, kind := range []string{"ThrottlingException", "ThrottlingException:http://internal.amazon.com/", "a.b#ThrottlingException"} {
				tasks = append(tasks, errorTask(c, map[string]string{"x-amzn-errortype": kind}, `{"message":"Rate"}`))
			}
		}
	}
	return tasks
}

func errorTask(c *Call, headers map[string]string, body string) task {
	k := c.task("error", fmt.Sprintf("%s %+q %q", c.service.Protocol, body, headers["x-amzn-errortype"]))
	k.Status, k.Headers, k.Body = http.StatusBadRequest, headers, []byte(body)
	k.check = func(t *testing.T, r result) {
		header := http.Header{}
		for name, value := range headers {
			header.Set(name, value)
		}
		_, _, err := c.Page(k.Status, header, k.Body)
		for _, err := range []error{err, c.Answered(k.Status, header, k.Body)} {
			var api *smithy.GenericAPIError
			if !errors.As(err, &api) || api.Code != r.Code || api.Message != r.Message || r.Code == "" {
				t.Errorf("%v; want %s: %s", err, r.Code, r.Message)
			}
		}
	}
	return k
}

// hostTasks are of each service, in every Region and variant.
func hostTasks() []task {
	ops := map[*Service][]string{}
	prefix := map[*Service]string{}
	for _, c := range testTable.All() {
		ops[c.service] = append(ops[c.service], c.Write.Name)
		if c.Read != nil {
			ops[c.service] = append(ops[c.service], c.Read.Name)
		}
		prefix[c.service] = strings.ReplaceAll(c.Write.HostPrefix, "{AccountId}", testAccount)
	}
	var tasks []task
	for s := range ops {
		tasks = append(tasks, task{Kind: "hosts", Service: s.Name, Ops: ops[s], name: "hosts " + s.Name, check: func(t *testing.T, r result) {
			if s.ID != r.ID || !slices.Equal(r.Names, []string{s.Signing}) {
				t.Errorf("id %q, signing %q; want %q, %q", s.ID, s.Signing, r.ID, r.Names)
			}
			for variant, hosts := range r.Hosts {
				v := Variant{FIPS: strings.Contains(variant, "fips"), DualStack: strings.Contains(variant, "dual")}
				for region, want := range hosts {
					host, signing := s.Host(region, v)
					if got := [2]string{prefix[s] + host, signing}; got != want {
						t.Errorf("%s %s: %q, want %q", region, variant, got, want)
					}
				}
			}
			if len(r.Hosts[""]) == 0 {
				t.Error("botocore has no host anywhere")
			}
		}})
	}
	slices.SortFunc(tasks, func(a, b task) int { return strings.Compare(a.name, b.name) })
	return tasks
}

func checkPartitions(t *testing.T, r result) {
	known := map[string]struct{ dns, dual string }{}
	for _, p := range r.Partitions {
		known[p.ID] = struct{ dns, dual string }{p.Outputs.DNS, p.Outputs.Dual}
		for region := range p.Regions {
			if got := event.Partition(region); got != p.ID && !strings.HasSuffix(region, "-global") {
				t.Errorf("Region %s is of %s, not %s", region, p.ID, got)
			}
		}
	}
	if !maps.Equal(suffixes, known) {
		t.Errorf("suffixes %v\nwant     %v", suffixes, known)
	}
}
