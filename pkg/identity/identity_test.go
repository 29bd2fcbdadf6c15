package identity_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/autotagd/autotagd/pkg/event"
	"github.com/autotagd/autotagd/pkg/identity"
)

// record makes a RunInstances record of a userIdentity.
func record(t testing.TB, userIdentity string) *event.Record {
	t.Helper()
	return call(t, "ec2.amazonaws.com", "RunInstances", userIdentity)
}

func call(t testing.TB, source, name, userIdentity string) *event.Record {
	t.Helper()
	r, err := event.Parse([]byte(`{"eventID":"e","eventSource":"` + source + `","eventName":"` + name + `","userIdentity":` + userIdentity + `}`))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestOwner(t *testing.T) {
	const linked = `"sessionContext":{"sessionIssuer":{"type":"Role","arn":"arn:aws:iam::111122223333:role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling","userName":"AWSServiceRoleForAutoScaling"}}`
	for _, test := range []struct {
		name, caller, owner string
		kind                identity.Kind
	}{
		{"IAM user", `{"type":"IAMUser","arn":"arn:aws:iam::111122223333:user/other","userName":"alice"}`, "alice", identity.Person},
		{"IAM user without userName, ARN with a path", `{"type":"IAMUser","arn":"arn:aws:iam::111122223333:user/staff/alice"}`, "alice", identity.Person},
		{"IAM user without anything", `{"type":"IAMUser"}`, "", identity.None},
		{"IAM user whose name AWS hides", `{"type":"IAMUser","userName":"HIDDEN_DUE_TO_SECURITY_REASONS"}`, "", identity.None},
		{"IAM user at the console", `{"type":"IAMUser","userName":"alice","invokedBy":"signin.amazonaws.com"}`, "alice", identity.Person},
		{"IAM user with temporary credentials and a source identity", `{"type":"IAMUser","userName":"alice","sessionContext":{"sourceIdentity":"alice@example.com"}}`, "alice@example.com", identity.Person},

		{"root", `{"type":"Root","principalId":"111122223333","userName":"account-alias"}`, "root", identity.Person},
		{"root by CloudFormation", `{"type":"Root","invokedBy":"cloudformation.amazonaws.com"}`, "root", identity.Person},

		{"session", `{"type":"AssumedRole","principalId":"AROAEXAMPLE:bob","arn":"arn:aws:sts::111122223333:assumed-role/Admin/bob"}`, "bob", identity.Person},
		{"session, in principalId alone", `{"type":"AssumedRole","principalId":"AROAEXAMPLE:bob"}`, "bob", identity.Person},
		{"session, in the ARN alone", `{"type":"AssumedRole","principalId":"AROAEXAMPLE","arn":"arn:aws:sts::111122223333:assumed-role/Admin/bob"}`, "bob", identity.Person},
		{"session after the first of two colons", `{"type":"AssumedRole","principalId":"AROAEXAMPLE:bob:x"}`, "bob:x", identity.Person},
		{"session differs: the ARN's", `{"type":"AssumedRole","principalId":"AROAEXAMPLE:bob","arn":"arn:aws:sts::111122223333:assumed-role/Admin/carol"}`, "carol", identity.Person},
		{"session under a user's ARN", `{"type":"AssumedRole","principalId":"AIDAEXAMPLE:bob","arn":"arn:aws:sts::111122223333:user/carol"}`, "bob", identity.Person},
		{"session of a role written with its path", `{"type":"AssumedRole","arn":"arn:aws:sts::111122223333:assumed-role/path/Admin/bob"}`, "bob", identity.Person},
		{"session in China", `{"type":"AssumedRole","arn":"arn:aws-cn:sts::111122223333:assumed-role/Admin/bob"}`, "bob", identity.Person},
		{"session by CloudFormation", `{"type":"AssumedRole","principalId":"AROAEXAMPLE:bob","invokedBy":"cloudformation.amazonaws.com"}`, "bob", identity.Person},
		{"session without a name", `{"type":"AssumedRole","principalId":"AROAEXAMPLE","arn":"arn:aws:iam::111122223333:role/Admin"}`, "", identity.None},
		{"source identity beats the session", `{"type":"AssumedRole","principalId":"AROAEXAMPLE:bob","sessionContext":{"sourceIdentity":"carol"}}`, "carol", identity.Person},
		{"source identity beats a made-up session", `{"type":"AssumedRole","principalId":"AROAEXAMPLE:botocore-session-1700000000","sessionContext":{"sourceIdentity":"carol"}}`, "carol", identity.Person},

		{"federated user", `{"type":"FederatedUser","principalId":"111122223333:dave","arn":"arn:aws:sts::111122223333:federated-user/dave"}`, "dave", identity.Person},
		{"federated user, in the ARN alone", `{"type":"FederatedUser","arn":"arn:aws:sts::111122223333:federated-user/dave"}`, "dave", identity.Person},
		{"federated user without a name", `{"type":"FederatedUser","principalId":"111122223333"}`, "", identity.None},

		{"SAML user", `{"type":"SAMLUser","principalId":"x:y","userName":"erin"}`, "erin", identity.Person},
		{"web identity user", `{"type":"WebIdentityUser","principalId":"x:y","userName":"erin"}`, "erin", identity.Person},
		{"Identity Center user", `{"type":"IdentityCenterUser","onBehalfOf":{"userId":"544894e8-80c1-707f-60e3-3ba6510dfac1"}}`, "544894e8-80c1-707f-60e3-3ba6510dfac1", identity.Person},
		{"Identity Center user with a name", `{"type":"IdentityCenterUser","userName":"erin","onBehalfOf":{"userId":"544894e8"}}`, "erin", identity.Person},
		{"unknown", `{"type":"Unknown","principalId":"frank:x"}`, "", identity.None},
		{"unknown with a name", `{"type":"Unknown","userName":"frank"}`, "frank", identity.Person},
		{"type of the future", `{"type":"Martian","arn":"arn:aws:iam::111122223333:user/frank","principalId":"X:frank"}`, "", identity.None},
		{"type of the future with a name", `{"type":"Martian","userName":"frank"}`, "frank", identity.Person},
		{"nothing", `{}`, "", identity.None},
		{"null", `null`, "", identity.None},
		{"wrong types", `{"type":["IAMUser"],"userName":{"a":1},"principalId":7,"sessionContext":[],"onBehalfOf":"x"}`, "", identity.None},

		{"another account", `{"type":"AWSAccount","principalId":"AIDAEXAMPLE","accountId":"444455556666"}`, "", identity.None},
		{"another account with a source identity", `{"type":"AWSAccount","accountId":"444455556666","userName":"x","sessionContext":{"sourceIdentity":"carol"}}`, "", identity.None},

		{"service", `{"type":"AWSService","invokedBy":"rds.amazonaws.com"}`, "rds.amazonaws.com", identity.Service},
		{"service without a name", `{"type":"AWSService"}`, "ec2.amazonaws.com", identity.Service},
		{"invokedBy alone", `{"accountId":"111122223333","invokedBy":"appmesh.amazonaws.com"}`, "appmesh.amazonaws.com", identity.Service},
		{"service-linked role", `{"type":"AssumedRole","principalId":"AROAEXAMPLE:AutoScaling","arn":"arn:aws:sts::111122223333:assumed-role/AWSServiceRoleForAutoScaling/AutoScaling",` + linked + `}`, "autoscaling.amazonaws.com", identity.Service},
		{"service-linked role with a source identity", `{"type":"AssumedRole","principalId":"AROAEXAMPLE:x","sessionContext":{"sourceIdentity":"carol","sessionIssuer":{"arn":"arn:aws:iam::1:role/aws-service-role/x.amazonaws.com/R"}}}`, "x.amazonaws.com", identity.Service},
		{"service-linked role as caller", `{"type":"Role","userName":"x","arn":"arn:aws:iam::111122223333:role/aws-service-role/eks.amazonaws.com/AWSServiceRoleForAmazonEKS"}`, "eks.amazonaws.com", identity.Service},
		{"service-linked role without its issuer, that is named beside it", `{"type":"AssumedRole","arn":"arn:aws:sts::111122223333:assumed-role/AWSServiceRoleForElasticLoadBalancing/ElasticLoadBalancing","invokedBy":"elasticloadbalancing.amazonaws.com"}`, "elasticloadbalancing.amazonaws.com", identity.Service},
		{"service-linked role without its issuer", `{"type":"AssumedRole","arn":"arn:aws:sts::111122223333:assumed-role/AWSServiceRoleForAutoScaling/AutoScaling"}`, "AutoScaling", identity.Service},
		{"service-linked role without a service", `{"type":"AssumedRole","principalId":"A:x","sessionContext":{"sessionIssuer":{"arn":"arn:aws:iam::1:role/aws-service-role/"}}}`, "", identity.None},
		{"launch by Auto Scaling beside root", `{"type":"Root","invokedBy":"autoscaling.amazonaws.com"}`, "autoscaling.amazonaws.com", identity.Service},
		{"launch by Spot Fleet beside a person", `{"type":"IAMUser","userName":"alice","invokedBy":"spotfleet.amazonaws.com"}`, "spotfleet.amazonaws.com", identity.Service},
		{"launch by EC2 Fleet beside a session", `{"type":"AssumedRole","principalId":"AROAEXAMPLE:bob","invokedBy":"ec2fleet.amazonaws.com","sessionContext":{"sourceIdentity":"carol"}}`, "ec2fleet.amazonaws.com", identity.Service},

		{"instance", session("i-0f53e22dbe5df8a89"), "Admin", identity.Workload},
		{"instance with an old id", session("i-1a2b3c4d"), "Admin", identity.Workload},
		{"a person, not an instance", session("i-ada"), "i-ada", identity.Person},
		{"a person, not hex", session("i-0f53e22dbe5df8a8x"), "i-0f53e22dbe5df8a8x", identity.Person},
		{"ECS task", session("d060be4ac3244e05aca4e067bfe241f8"), "Admin", identity.Workload},
		{"one digit short of a task", session("d060be4ac3244e05aca4e067bfe241f"), "d060be4ac3244e05aca4e067bfe241f", identity.Person},
		{"botocore", session("botocore-session-1700000000"), "Admin", identity.Workload},
		{"botocore's prefix and a name", session("botocore-session-bob"), "botocore-session-bob", identity.Person},
		{"Go SDK", session("aws-go-sdk-1700000000000000000"), "Admin", identity.Workload},
		{"JavaScript SDK", session("aws-sdk-js-session-1700000000000"), "Admin", identity.Workload},
		{"Java SDK", session("aws-sdk-java-1700000000000"), "Admin", identity.Workload},
		{"CLI", session("AWSCLI-Session"), "Admin", identity.Workload},
		{"GitHub Actions", session("GitHubActions"), "Admin", identity.Workload},
		{"GitHub Actions, named", session("GitHubActions-deploy"), "GitHubActions-deploy", identity.Person},
		{"CodeBuild", session("AWSCodeBuild-b20ef2ed-7da6-49f2-8afd-3604ae3ddc09"), "Admin", identity.Workload},
		{"CodeBuild's name and no build", session("AWSCodeBuild"), "AWSCodeBuild", identity.Person},
		{"ten digits", session("1700000000"), "Admin", identity.Workload},
		{"nine digits", session("170000000"), "170000000", identity.Person},
		{"made up, role from the issuer", `{"type":"AssumedRole","principalId":"AROAEXAMPLE:GitHubActions","sessionContext":{"sessionIssuer":{"type":"Role","arn":"arn:aws:iam::111122223333:role/path/Deploy"}}}`, "Deploy", identity.Workload},
		{"made up, role from the issuer's name", `{"type":"AssumedRole","principalId":"AROAEXAMPLE:GitHubActions","sessionContext":{"sessionIssuer":{"type":"Role","userName":"Deploy"}}}`, "Deploy", identity.Workload},
		{"made up, no role", `{"type":"AssumedRole","principalId":"AROAEXAMPLE:GitHubActions"}`, "", identity.None},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, owner := resolver(t).Of(record(t, test.caller))
			if owner.Name != test.owner || owner.Kind != test.kind {
				t.Errorf("got %s %q (%s), want %s %q", owner.Kind, owner.Name, owner.Reason, test.kind, test.owner)
			}
			if owner.Reason == "" {
				t.Error("no reason")
			}
		})
	}
}

// session is an assumed role's caller with this session name.
func session(name string) string {
	return `{"type":"AssumedRole","principalId":"AROAEXAMPLE:` + name + `","arn":"arn:aws:sts::111122223333:assumed-role/Admin/` + name + `"}`
}

func TestOnlyALaunchIsTheFleetsOwn(t *testing.T) {
	caller := `{"type":"IAMUser","userName":"alice","invokedBy":"autoscaling.amazonaws.com"}`
	if _, o := resolver(t).Of(call(t, "ec2.amazonaws.com", "CreateVolume", caller)); o.Name != "alice" {
		t.Errorf("CreateVolume is credited to %q, want alice", o.Name)
	}
	if _, o := resolver(t).Of(call(t, "iam.amazonaws.com", "CreateServiceLinkedRole", caller)); o.Name != "alice" {
		t.Errorf("CreateServiceLinkedRole is credited to %q, want alice", o.Name)
	}
	if _, o := resolver(t).Of(call(t, "ec2.amazonaws.com", "CreateFleet", caller)); o.Kind != identity.Service {
		t.Errorf("CreateFleet is credited to %s %q, want the service", o.Kind, o.Name)
	}
}

func TestAServiceWithoutANameIsNobody(t *testing.T) {
	r, err := event.Parse([]byte(`{"eventID":"e","userIdentity":{"type":"AWSService"}}`))
	if err != nil {
		t.Fatal(err)
	}
	if _, o := resolver(t).Of(r); o.Kind != identity.None || o.Reason == "" {
		t.Errorf("got %+v", o)
	}
}

func TestIdentityIsWhatTheRecordSays(t *testing.T) {
	id, _ := resolver(t).Of(record(t, `{"type":"AssumedRole","principalId":"AROAEXAMPLE:bob","arn":"arn:aws:sts::111122223333:assumed-role/Admin/bob","accountId":"111122223333",
		"invokedBy":"cloudformation.amazonaws.com","sessionContext":{"sourceIdentity":"carol","sessionIssuer":{"type":"Role","userName":"Other","arn":"arn:aws:iam::111122223333:role/Other"}}}`))
	want := identity.Identity{
		Type: "AssumedRole", PrincipalID: "AROAEXAMPLE:bob", ARN: "arn:aws:sts::111122223333:assumed-role/Admin/bob", AccountID: "111122223333",
		RoleName: "Admin", SessionName: "bob", SourceIdentity: "carol", InvokedBy: "cloudformation.amazonaws.com",
	}
	if id != want {
		t.Errorf("got  %+v\nwant %+v", id, want)
	}
	id, _ = resolver(t).Of(record(t, `{"type":"AWSAccount","principalId":"AIDAEXAMPLE","accountId":"444455556666"}`))
	if want = (identity.Identity{Type: "AWSAccount", PrincipalID: "AIDAEXAMPLE", AccountID: "444455556666", Foreign: "444455556666"}); id != want {
		t.Errorf("got  %+v\nwant %+v", id, want)
	}
}

func TestTrustInSessionNames(t *testing.T) {
	ci := identity.Trust{Role: "ci-*", Trust: false}
	all := identity.Trust{Role: "*", Trust: true}
	for _, test := range []struct {
		name  string
		trust []identity.Trust
		role  string
		owner string
	}{
		{"no entries: trusted", nil, "ci-deploy", "bob"},
		{"first match wins", []identity.Trust{ci, all}, "ci-deploy", "ci-deploy"},
		{"first match wins, the other way round", []identity.Trust{all, ci}, "ci-deploy", "bob"},
		{"another role", []identity.Trust{ci, all}, "Admin", "bob"},
		{"no match: not trusted", []identity.Trust{{Role: "AWSReservedSSO_*", Trust: true}}, "Admin", "Admin"},
		{"match: trusted", []identity.Trust{{Role: "AWSReservedSSO_*", Trust: true}}, "AWSReservedSSO_Admin_0123456789abcdef", "bob"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, owner := resolver(t, test.trust...).Of(record(t, `{"type":"AssumedRole","arn":"arn:aws:sts::111122223333:assumed-role/`+test.role+`/bob"}`))
			if owner.Name != test.owner {
				t.Errorf("got %s %q, want %q", owner.Kind, owner.Name, test.owner)
			}
		})
	}
	t.Run("source identity needs no trust", func(t *testing.T) {
		_, owner := resolver(t, identity.Trust{Role: "*"}).Of(record(t, `{"type":"AssumedRole","principalId":"A:bob","sessionContext":{"sourceIdentity":"carol"}}`))
		if owner.Name != "carol" {
			t.Errorf("got %q, want carol", owner.Name)
		}
	})
	for _, bad := range []string{"", "[a", `\`} {
		if _, err := identity.New([]identity.Trust{all, {Role: bad}}); err == nil || !strings.Contains(err.Error(), "session_names[1].role") {
			t.Errorf("glob %q: error %v, want one that names session_names[1].role", bad, err)
		}
	}
}

func FuzzOwner(f *testing.F) {
	f.Add("AssumedRole", "AROAEXAMPLE:bob", "arn:aws:sts::111122223333:assumed-role/Admin/bob", "", "", "", "")
	f.Add("IAMUser", "AIDA", "arn:aws:iam::1:user/p/alice", "alice", "autoscaling.amazonaws.com", "carol", "")
	f.Add("FederatedUser", "1:dave", "arn:aws:sts::1:federated-user/dave", "", "", "", "arn:aws:iam::1:role/aws-service-role/x/y")
	f.Add("AWSAccount", "", "arn:::::", "", "", "", ":role/aws-service-role/")
	res, err := identity.New([]identity.Trust{{Role: "c[a-z]*"}, {Role: "*", Trust: true}})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, typ, principal, arn, user, invokedBy, source, issuer string) {
		b, err := json.Marshal(map[string]any{"eventID": "e", "eventSource": "ec2.amazonaws.com", "eventName": "RunInstances", "userIdentity": map[string]any{
			"type": typ, "principalId": principal, "arn": arn, "userName": user, "invokedBy": invokedBy,
			"sessionContext": map[string]any{"sourceIdentity": source, "sessionIssuer": map[string]any{"arn": issuer}},
		}})
		if err != nil {
			t.Fatal(err)
		}
		r, err := event.Parse(b)
		if err != nil {
			t.Fatal(err)
		}
		u := r.UserIdentity
		id, owner := res.Of(r)
		switch {
		case owner.Reason == "":
			t.Error("no reason")
		case (owner.Kind == identity.None) != (owner.Name == ""):
			t.Errorf("%+v", owner)
		case owner.Credited() && owner.Name != "root" && !strings.Contains(u.PrincipalID+" "+u.ARN+" "+u.UserName+" "+u.SourceIdentity+" "+u.SessionIssuer.ARN, owner.Name):
			t.Errorf("%q does not stand in the record %s", owner.Name, b)
		case owner.Credited() && (id.Type == "AWSService" || id.Type == "AWSAccount"):
			t.Errorf("%s was credited: %+v", id.Type, owner)
		case owner.Kind == identity.Person && id.SourceIdentity != "" && owner.Name != id.SourceIdentity:
			t.Errorf("%q beat the source identity %q", owner.Name, id.SourceIdentity)
		}
	})
}
