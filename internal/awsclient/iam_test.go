package awsclient_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/aws/smithy-go"
	"github.com/google/go-cmp/cmp"

	"github.com/autotagd/autotagd/pkg/event"
)

// An iamPage answers one of IAM's List...Tags calls.
func iamPage(operation, tags, more string) *http.Response {
	if more != "" {
		more = "<IsTruncated>true</IsTruncated><Marker>" + more + "</Marker>"
	}
	return answer(200, "text/xml", fmt.Sprintf(`<%[1]sResponse><%[1]sResult><Tags>%[2]s</Tags>%[3]s</%[1]sResult></%[1]sResponse>`, operation, tags, more))
}

func iamTag(key, value string) string {
	return "<member><Key>" + key + "</Key><Value>" + value + "</Value></member>"
}

// IAM takes a name for some kinds and an ARN for others; of a path only what follows it is the name.
func TestIAMTagsAsksForEachKindInItsOwnWay(t *testing.T) {
	const arn = "arn:aws:iam::111122223333:"
	cases := map[string]struct{ resource, operation, parameter, value string }{
		"role":                {"role/deploy", "ListRoleTags", "RoleName", "deploy"},
		"role with a path":    {"role/service-role/team/deploy", "ListRoleTags", "RoleName", "deploy"},
		"user":                {"user/alice", "ListUserTags", "UserName", "alice"},
		"policy with a path":  {"policy/team/read", "ListPolicyTags", "PolicyArn", arn + "policy/team/read"},
		"instance profile":    {"instance-profile/web", "ListInstanceProfileTags", "InstanceProfileName", "web"},
		"server certificate":  {"server-certificate/web", "ListServerCertificateTags", "ServerCertificateName", "web"},
		"OpenID provider":     {"oidc-provider/token.example.com/a", "ListOpenIDConnectProviderTags", "OpenIDConnectProviderArn", arn + "oidc-provider/token.example.com/a"},
		"SAML provider":       {"saml-provider/corp", "ListSAMLProviderTags", "SAMLProviderArn", arn + "saml-provider/corp"},
		"virtual MFA device":  {"mfa/alice", "ListMFADeviceTags", "SerialNumber", arn + "mfa/alice"},
		"kind without a call": {"group/admins", "", "", ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			asked := ""
			a := account(t, &requests{answer: func(operation string, r *http.Request) (*http.Response, error) {
				if !strings.HasPrefix(operation, "List") {
					return nil, nil
				}
				asked = operation
				if got := form(t, r).Get(c.parameter); got != c.value {
					t.Errorf("%s = %q, want %q", c.parameter, got, c.value)
				}
				return iamPage(operation, iamTag("Owner", "bob"), ""), nil
			}})
			tags, known, err := a.IAMTags(t.Context(), ireland, arn+c.resource)
			if err != nil {
				t.Fatal(err)
			}
			if asked != c.operation || known != (c.operation != "") {
				t.Errorf("asked %q, known = %v; want %q", asked, known, c.operation)
			}
			if known && !cmp.Equal(tags, map[string]string{"Owner": "bob"}) {
				t.Errorf("tags = %v", tags)
			}
		})
	}
}

func form(t *testing.T, r *http.Request) url.Values {
	t.Helper()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	values, err := url.ParseQuery(string(body))
	if err != nil {
		t.Fatal(err)
	}
	return values
}

func TestIAMTagsReadsEveryPage(t *testing.T) {
	a := account(t, &requests{answer: func(operation string, r *http.Request) (*http.Response, error) {
		switch {
		case operation != "ListRoleTags":
			return nil, nil
		case form(t, r).Get("Marker") == "":
			return iamPage(operation, iamTag("Team", "x"), "m1"), nil
		default:
			return iamPage(operation, iamTag("Owner", "bob"), ""), nil
		}
	}})
	tags, known, err := a.IAMTags(t.Context(), ireland, "arn:aws:iam::111122223333:role/deploy")
	if want := map[string]string{"Team": "x", "Owner": "bob"}; err != nil || !known || !cmp.Equal(tags, want) {
		t.Errorf("tags = %v, %v, %v; want %v", tags, known, err, want)
	}
}

// What could not be read is an error, never a resource without tags: its Owner would be written over.
func TestIAMTagsNeverGivesPartOfTheTags(t *testing.T) {
	const role = "arn:aws:iam::111122223333:role/deploy"
	pages := 0
	endless := account(t, &requests{answer: func(operation string, _ *http.Request) (*http.Response, error) {
		if operation != "ListRoleTags" {
			return nil, nil
		}
		pages++
		return iamPage(operation, iamTag("a", "b"), "again"), nil
	}})
	if tags, _, err := endless.IAMTags(t.Context(), ireland, role); err == nil || tags != nil || pages > 20 {
		t.Errorf("tags = %v, error = %v after %d pages", tags, err, pages)
	}

	attempts := 0
	failing := account(t, &requests{answer: func(operation string, _ *http.Request) (*http.Response, error) {
		if operation != "ListRoleTags" {
			return nil, nil
		}
		if attempts++; attempts == 1 {
			return iamPage(operation, iamTag("a", "b"), "m1"), nil
		}
		return refusal(503, "ServiceUnavailable", "later"), nil
	}})
	tags, _, err := failing.IAMTags(t.Context(), ireland, role)
	var api smithy.APIError
	if !errors.As(err, &api) || api.ErrorCode() != "ServiceUnavailable" || tags != nil || attempts != 2 {
		t.Errorf("tags = %v, error = %v after %d attempts, want AWS's error after two", tags, err, attempts)
	}

	willing := account(t, &requests{answer: func(operation string, _ *http.Request) (*http.Response, error) {
		if operation != "ListRoleTags" {
			return nil, nil
		}
		return iamPage(operation, "", ""), nil
	}})
	if _, _, err := willing.IAMTags(t.Context(), event.Scope{AccountID: "999999999999", Region: "us-east-1"}, role); err == nil {
		t.Error("read another account's")
	}
	if _, _, err := willing.IAMTags(t.Context(), ireland, "deploy"); err == nil {
		t.Error("read what is no ARN")
	}
}
