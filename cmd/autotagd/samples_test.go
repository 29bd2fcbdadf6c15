package main

import (
	"bytes"
	"encoding/json"
	"path"
	"slices"
	"strings"
	"testing"
)

// samplePolicy is a sample of deploy/iam, with what occurs in those of IAM's language.
type samplePolicy struct {
	Version   string
	Statement []struct {
		Sid, Effect, NotAction string
		Action                 []string
		Resource               any // one string, or several
		Condition              map[string]map[string]any
	}
}

// A request is what IAM decides about.
type request struct {
	action, resource string
	context          map[string][]string // by lower-case key, of which IAM minds no case
}

// decide returns Deny, Allow, or "" where no statement says anything.
func (p samplePolicy) decide(t *testing.T, r request) string {
	t.Helper()
	decision := ""
	for _, s := range p.Statement {
		applies := slices.ContainsFunc(s.Action, func(a string) bool { return like(a, r.action) })
		if s.NotAction != "" {
			applies = !like(s.NotAction, r.action)
		}
		applies = applies && slices.ContainsFunc(texts(s.Resource), func(a string) bool { return like(a, r.resource) })
		for operator, keys := range s.Condition {
			for key, values := range keys {
				applies = applies && holds(t, operator, r.context[strings.ToLower(key)], texts(values), r.context["aws:userid"])
			}
		}
		if applies && decision != "Deny" {
			decision = s.Effect
		}
	}
	return decision
}

// like matches as IAM does, for which a star stands for slashes too.
func like(pattern, s string) bool {
	slashes := strings.NewReplacer("/", "|")
	ok, err := path.Match(slashes.Replace(pattern), slashes.Replace(s))
	return ok && err == nil
}

// holds evaluates a condition. given has no value where the request doesn't have the key.
func holds(t *testing.T, operator string, given, values, userID []string) bool {
	t.Helper()
	anyOf := func(equal func(value, given string) bool) bool {
		return slices.ContainsFunc(given, func(g string) bool {
			return slices.ContainsFunc(values, func(v string) bool { return equal(v, g) })
		})
	}
	switch operator {
	case "ForAnyValue:StringEqualsIgnoreCase":
		return anyOf(strings.EqualFold)
	case "StringEquals":
		return anyOf(func(v, g string) bool { return g == strings.ReplaceAll(v, "${aws:userid}", userID[0]) })
	case "ArnNotLike":
		return !anyOf(like)
	case "Null":
		return (len(given) == 0) == (values[0] == "true")
	}
	t.Fatalf("a condition that this doesn't know: %s", operator)
	return false
}

func readSample(t *testing.T, name string) samplePolicy {
	t.Helper()
	var p samplePolicy
	dec := json.NewDecoder(bytes.NewReader(readFile(t, deployDir+"/iam/"+name)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&p); err != nil {
		t.Fatal(err)
	}
	return p
}

// What the samples deny and allow.
func TestSamplePolicies(t *testing.T) {
	t.Parallel()
	const (
		instance = "arn:aws:ec2:eu-west-1:111122223333:instance/i-0123456789abcdef0"
		bucket   = "arn:aws:s3:::acme"
	)
	keys := func(keys ...string) map[string][]string { return map[string][]string{"aws:tagkeys": keys} }
	tagged := func(principal string) map[string][]string {
		return map[string][]string{"aws:resourcetag/principalid": {principal}}
	}
	for _, test := range []struct {
		name, policy, role string // who: of what role
		request            request
		want               string
	}{
		{"set", "protect-tags", "dev", request{"ec2:CreateTags", instance, keys("Owner")}, "Deny"},
		{"set with others, in another case", "protect-tags", "dev", request{"ec2:CreateTags", instance, keys("Team", "principalid")}, "Deny"},
		{"set another", "protect-tags", "dev", request{"ec2:CreateTags", instance, keys("Team")}, ""},
		{"set, by us", "protect-tags", "autotagd", request{"ec2:CreateTags", instance, keys("Owner")}, ""},
		{"set, by us in another account", "protect-tags", "autotagd-member", request{"tag:TagResources", "*", keys("Owner")}, ""},
		{"set, by one with a path", "protect-tags", "dev/autotagd", request{"ec2:CreateTags", instance, keys("Owner")}, "Deny"},
		{"create with it", "protect-tags", "dev", request{"ec2:RunInstances", instance, keys("Name", "Owner")}, "Deny"},
		{"create with others", "protect-tags", "dev", request{"ec2:RunInstances", instance, keys("Name")}, ""},
		{"create without", "protect-tags", "dev", request{"ec2:RunInstances", instance, nil}, ""},
		{"remove", "protect-tags", "dev", request{"lambda:UntagResource", "arn:aws:lambda:eu-west-1:111122223333:function:f", keys("PrincipalId")}, "Deny"},
		{"remove all", "protect-tags", "dev", request{"ec2:DeleteTags", instance, nil}, "Deny"},
		{"remove another", "protect-tags", "dev", request{"ec2:DeleteTags", instance, keys("Team")}, ""},
		{"replace all", "protect-tags", "dev", request{"s3:PutBucketTagging", bucket, nil}, "Deny"},
		{"replace all, by us", "protect-tags", "autotagd", request{"s3:PutBucketTagging", bucket, nil}, ""},
		{"sign in with a session tag", "protect-tags", "dev", request{"sts:AssumeRole", "arn:aws:iam::111122223333:role/x", keys("Owner")}, ""},
		{"anything else", "protect-tags", "dev", request{"s3:PutBucketPolicy", bucket, nil}, ""},

		{"stop one's own", "own-resources", "dev", request{"ec2:StopInstances", instance, tagged("AROAEXAMPLE:maria")}, "Allow"},
		{"stop another's", "own-resources", "dev", request{"ec2:StopInstances", instance, tagged("AROAEXAMPLE:bert")}, ""},
		{"stop nobody's", "own-resources", "dev", request{"ec2:StopInstances", instance, nil}, ""},
		{"tag one's own", "own-resources", "dev", request{"ec2:CreateTags", instance, tagged("AROAEXAMPLE:maria")}, ""},
		{"delete one's own snapshot", "own-resources", "dev", request{"ec2:DeleteSnapshot", "arn:aws:ec2:eu-west-1::snapshot/snap-1", tagged("AROAEXAMPLE:maria")}, "Allow"},
		{"stop one's own database", "own-resources", "dev", request{"rds:StopDBInstance", "arn:aws:rds:eu-west-1:111122223333:db:x", tagged("AROAEXAMPLE:maria")}, "Allow"},
		{"delete another's function", "own-resources", "dev", request{"lambda:DeleteFunction", "arn:aws:lambda:eu-west-1:111122223333:function:f", tagged("AROAEXAMPLE:bert")}, ""},
	} {
		t.Run(test.policy+": "+test.name, func(t *testing.T) {
			r := test.request
			r.context = map[string][]string{"aws:userid": {"AROAEXAMPLE:maria"}, "aws:principalarn": {"arn:aws:iam::111122223333:role/" + test.role}}
			for key, values := range test.request.context {
				r.context[key] = values
			}
			if got := readSample(t, test.policy+".json").decide(t, r); got != test.want {
				t.Errorf("%s: %q, want %q", r.action, got, test.want)
			}
		})
	}
}

// Each call that tags, and to which IAM knows no keys, or that replaces all, is in protect-tags.json.
func TestProtectTagsKnowsTheCallsWithoutKeys(t *testing.T) {
	t.Parallel()
	var denied []string
	for _, s := range readSample(t, "protect-tags.json").Statement {
		if s.Sid == "CallsWithoutKeys" {
			denied = s.Action
		}
	}
	seen := 0
	for _, p := range readPolicies(t, deployDir+"/iam") {
		for _, s := range p.Statement {
			if !strings.HasSuffix(s.Sid, "AnyKey") {
				continue
			}
			for _, action := range s.Action {
				// What else a call that updates does can't be denied: docs/iam.md says so.
				if name := action[strings.Index(action, ":")+1:]; strings.HasPrefix(name, "Update") && !strings.Contains(name, "Tags") {
					continue
				}
				if seen++; !slices.Contains(denied, action) {
					t.Errorf("protect-tags.json doesn't deny %s, which carries any key", action)
				}
			}
		}
	}
	if seen < 5 {
		t.Errorf("only %d calls carry any key: are the statements called otherwise?", seen)
	}
}

// A service control policy has at most 5,120 characters, white space and all where it is given by the API.
func TestProtectTagsIsSmall(t *testing.T) {
	t.Parallel()
	if n := len(readFile(t, deployDir+"/iam/protect-tags.json")); n > 5120 {
		t.Errorf("protect-tags.json has %d characters, a service control policy may have 5,120", n)
	}
}
