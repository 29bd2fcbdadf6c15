package main

import (
	"regexp"
	"slices"
	"testing"
)

// An exception is a kind of command in the documents that is not run as it stands.
type exception struct {
	doc     string // "" is all of them
	command string // a regular expression of the whole command
	instead string // what is run instead; "" is nothing
	why     string
}

// exceptions has every command that the tests do not run as it stands. One that is in no document any more is an error.
var exceptions = []exception{
	{"", `make demo`, "autotagd demo --seed 4 --duration 5s", "it goes on until Ctrl-C, and begins with a seed of its own"},
	{"", `make build`, "", "the tests have built it, with the same flags but for the version"},

	{"", `(.*&& )?sudo .*`, "", "it installs, starts or removes what belongs to the host"},
	{"", `(systemctl|journalctl) .*`, "", "it needs systemd as the host's init system, and the service"},
	{"", `(aws ecr get-login-password \| )?docker .*`, "", "it needs Docker's daemon"},

	{"docs/systemd.md", `tar xf .*`, "", "a release makes the archive"},
	{"docs/systemd.md", `cd /etc/autotagd`, "cp deploy/debian/autotagd.yaml .", "the package makes the directory and puts the file there"},
	{"docs/systemd.md", `autotagd health .*`, "", "it asks the service, which does not run here"},
	{"docs/systemd.md", `cat /etc/.*`, "", "the reader wrote the file"},

	{"docs/ecs.md", `export AWS_REGION=eu-west-1 VERSION=.*`, "export AWS_REGION=eu-west-1 VERSION=v1.2.3", "it asks git, and the tests' directory is no clone"},
	{"docs/ecs.md", `aws logs tail .*`, "", "it goes on until Ctrl-C, and version 1 of the AWS CLI, which is what PyPI has, lacks it"},
	{"docs/ecs.md", `aws cloudformation deploy .*(Configuration='poll|OrganizationRole=).*`, "", "moto can't update this stack"},
	{"docs/ecs.md", `aws cloudformation deploy \S+ \S+ \S+ \S+ \S+ \S+ .*--parameter-overrides Image="\$registry/autotagd:\$VERSION"`, "", "the image is the one that is there, and so CloudFormation has nothing to update"},
	{"docs/ecs.md", `bin/autotagd status .*`, "", "CloudFormation made the table at moto, and autotagd's AWS is the fake"},
	{"docs/ecs.md", `aws cloudformation activate-organizations-access`, "", "moto lacks it"},
	{"docs/ecs.md", `aws cloudformation create-stack-instances .*`, "", "the account at moto is in no organization"},
	{"docs/ecs.md", `aws (iam create-role|logs create-log-group) .*`, "", "it is there already: the stack, to which this is the alternative, has made it"},
	{"docs/ecs.md", `\$EDITOR .*`, "", "it is for a person"},

	{"docs/monitoring.md", `aws (ecs update-service|ec2 authorize-security-group-ingress) .*`, "", "the cluster and the groups are the reader's"},
}

func (e exception) is(s step) bool {
	return s.typed != "" && (e.doc == "" || e.doc == s.doc) && regexp.MustCompile(`^(?s:`+e.command+`)$`).MatchString(s.typed)
}

// Every exception is still needed, and each command is one exception's at most.
func TestNoExceptionIsStale(t *testing.T) {
	var all []step
	for _, d := range documents(t) {
		all = append(all, stepsOf(t, d)...)
	}
	for i, e := range exceptions {
		if e.why == "" {
			t.Errorf("%s: no reason is given", e.command)
		}
		if !slices.ContainsFunc(all, func(s step) bool { return slices.IndexFunc(exceptions, func(e exception) bool { return e.is(s) }) == i }) {
			t.Errorf("no document has %s (%s) any more, or an exception before it has all of them: take it out of the list", e.command, e.why)
		}
	}
}
