package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	ec2types "github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/iam"

	"github.com/autotagd/autotagd/internal/fakeaws"
	"github.com/autotagd/autotagd/pkg/event"
	"github.com/autotagd/autotagd/test/moto"
)

// An EC2 that we did not write makes instances with volumes and interfaces; CloudTrail, which it lacks, comes from the fake.
func TestTagsALaunchAtMoto(t *testing.T) {
	t.Parallel()
	const region, owner, principal = "eu-west-1", "maria.lopez@example.com", "AROAEXAMPLEEXAMPLE123:maria.lopez@example.com"
	url := moto.Start(t)
	client := ec2.New(ec2.Options{
		Region: region, BaseEndpoint: &url, Credentials: credentials.NewStaticCredentialsProvider("AKIAEXAMPLE", "secret", ""),
	})
	images, err := client.DescribeImages(t.Context(), &ec2.DescribeImagesInput{})
	if err != nil || len(images.Images) == 0 {
		t.Fatalf("moto has no image to launch: %v", err)
	}
	device := func(name string) ec2types.BlockDeviceMapping {
		return ec2types.BlockDeviceMapping{DeviceName: aws.String(name), Ebs: &ec2types.EbsBlockDevice{VolumeSize: aws.Int32(8)}}
	}
	launch, err := client.RunInstances(t.Context(), &ec2.RunInstancesInput{
		ImageId: images.Images[0].ImageId, MinCount: aws.Int32(2), MaxCount: aws.Int32(2), InstanceType: ec2types.InstanceTypeT3Micro,
		BlockDeviceMappings: []ec2types.BlockDeviceMapping{device("/dev/sda1"), device("/dev/sdf"), device("/dev/sdg")},
	})
	if err != nil {
		t.Fatal(err)
	}
	// What CloudTrail would write about it: the instances and their interfaces, not the volumes.
	var items []map[string]any
	want := map[string]bool{} // ids that must carry the tags
	for _, i := range launch.Instances {
		var interfaces []map[string]string
		for _, n := range i.NetworkInterfaces {
			interfaces = append(interfaces, map[string]string{"networkInterfaceId": *n.NetworkInterfaceId})
			want[*n.NetworkInterfaceId] = false
		}
		items = append(items, map[string]any{
			"instanceId": *i.InstanceId, "networkInterfaceSet": map[string]any{"items": interfaces}, "blockDeviceMapping": map[string]any{},
		})
		want[*i.InstanceId] = false
	}
	volumes, err := client.DescribeVolumes(t.Context(), &ec2.DescribeVolumesInput{})
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range volumes.Volumes {
		want[*v.VolumeId] = false
	}
	if len(want) < 2+2+6 {
		t.Fatalf("moto made %d resources, want 2 instances with an interface and 3 volumes each", len(want))
	}
	record, err := json.Marshal(map[string]any{
		"eventVersion": "1.11", "eventID": "6f1c0e9a-7d53-4d0c-9d1f-0a1b2c3d4e5f", "eventTime": time.Now().Add(-time.Minute).UTC().Format(time.RFC3339),
		"eventSource": "ec2.amazonaws.com", "eventName": "RunInstances", "awsRegion": region, "readOnly": false, "eventType": "AwsApiCall",
		"managementEvent": true, "eventCategory": "Management", "recipientAccountId": moto.AccountID,
		"userIdentity": map[string]any{
			"type": "AssumedRole", "principalId": principal, "accountId": moto.AccountID,
			"arn": "arn:aws:sts::" + moto.AccountID + ":assumed-role/AWSReservedSSO_Dev_0123456789abcdef/" + owner,
			"sessionContext": map[string]any{"sessionIssuer": map[string]any{
				"type": "Role", "userName": "AWSReservedSSO_Dev_0123456789abcdef", "accountId": moto.AccountID,
				"arn": "arn:aws:iam::" + moto.AccountID + ":role/aws-reserved/sso.amazonaws.com/AWSReservedSSO_Dev_0123456789abcdef",
			}},
		},
		"requestParameters": map[string]any{"instancesSet": map[string]any{"items": []any{map[string]any{"minCount": 2, "maxCount": 2}}}},
		"responseElements":  map[string]any{"instancesSet": map[string]any{"items": items}},
	})
	if err != nil {
		t.Fatal(err)
	}
	trail := fakeaws.New(fakeaws.Config{Accounts: []string{moto.AccountID}, Regions: []string{region}})
	trail.PutRecord(event.Scope{AccountID: moto.AccountID, Region: region}, string(record), time.Now().Add(-time.Second))

	c := start(t, []string{
		"AWS_REGION=" + region, "AWS_ENDPOINT_URL=" + url, "AWS_ENDPOINT_URL_CLOUDTRAIL=" + serve(t, trail),
		"STATE_DIRECTORY=" + t.TempDir(),
		`AUTOTAGD_CONFIG_YAML=
global_region: off
tagging: {batch_wait: 100ms}
web: {listen: "127.0.0.1:0"}
`,
	}, "run", "--once")
	if code := c.wait(t, time.Minute); code != exitDone {
		t.Fatalf("run --once: exit code %d, want %d\n%s", code, exitDone, c.tail())
	}
	tags, err := client.DescribeTags(t.Context(), &ec2.DescribeTagsInput{})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]map[string]string{}
	for _, tag := range tags.Tags {
		if got[*tag.ResourceId] == nil {
			got[*tag.ResourceId] = map[string]string{}
		}
		got[*tag.ResourceId][*tag.Key] = *tag.Value
	}
	for id := range want {
		if g := got[id]; g["Owner"] != owner || g["PrincipalId"] != principal {
			t.Errorf("%s: tags %v, want Owner %s and PrincipalId %s", id, g, owner, principal)
		}
		delete(got, id)
	}
	if len(got) > 0 {
		t.Errorf("tagged besides: %v", got)
	}
}

// Each document that `autotagd policy` prints is one that create-policy takes, by the rules that moto knows of AWS's.
func TestPoliciesAtMoto(t *testing.T) {
	t.Parallel()
	url := moto.Start(t)
	client := iam.New(iam.Options{
		Region: "us-east-1", BaseEndpoint: &url, Credentials: credentials.NewStaticCredentialsProvider("AKIAEXAMPLE", "secret", ""),
	})
	n := 0
	take := func(args any, stdout io.Reader) {
		for stream := json.NewDecoder(stdout); ; n++ {
			var document json.RawMessage
			if err := stream.Decode(&document); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				t.Fatal(err)
			}
			_, err := client.CreatePolicy(t.Context(), &iam.CreatePolicyInput{PolicyName: aws.String(fmt.Sprintf("autotagd-%d", n)), PolicyDocument: aws.String(string(document))})
			if err != nil {
				t.Errorf("%v: %v\n%s", args, err, document)
			}
		}
	}
	for _, args := range [][]string{{"policy"}, {"policy", "--services", "ec2,s3,iam"}, {"policy", "--services", "s3control"}} {
		var stdout, stderr bytes.Buffer
		if code := run(t.Context(), environment{args, nil, &stdout, &stderr, func(string) string { return "" }}); code != exitDone {
			t.Fatalf("%v: exit code %d: %s", args, code, &stderr)
		}
		take(args, &stdout)
	}
	for _, role := range []bool{false, true} {
		stdout, _ := policiesOfAccounts(t, role, "")
		take(accountsYAML, strings.NewReader(stdout))
	}
	for _, name := range glob(t, deployDir+"/iam", []string{"*.json", "organization/*.json"}) {
		take(name, bytes.NewReader(readFile(t, deployDir+"/iam/"+name)))
	}
	if n < 16 {
		t.Errorf("%d documents, want at least 16", n)
	}
}
