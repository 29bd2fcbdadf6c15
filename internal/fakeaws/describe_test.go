package fakeaws_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/autotagd/autotagd/internal/fakeaws"
)

func filter(name string, values ...string) []types.Filter {
	return []types.Filter{{Name: aws.String(name), Values: values}}
}

func TestDescribeALaunch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := connect(t, fakeaws.Config{})
		made := c.aws.Create(c.aws.Scope(), "RunInstances", maria, fakeaws.Spec{Count: 7, Volumes: 2, VolumeTags: map[string]string{"Name": "data"}})
		other := c.aws.Create(c.aws.Scope(), "RunInstances", maria)
		instances := made.IDs("instance")

		var got []string
		pages := ec2.NewDescribeVolumesPaginator(c.ec2, &ec2.DescribeVolumesInput{
			Filters: filter("attachment.instance-id", instances...), MaxResults: aws.Int32(5),
		})
		n := 0
		for pages.HasMorePages() {
			out, err := pages.NextPage(c.ctx)
			if err != nil {
				t.Fatal(err)
			}
			n++
			for _, v := range out.Volumes {
				got = append(got, *v.VolumeId)
				if !slices.Contains(instances, *v.Attachments[0].InstanceId) || *v.Tags[0].Value != "data" {
					t.Errorf("volume %+v", v)
				}
			}
		}
		want := made.IDs("volume")
		slices.Sort(want)
		if !slices.Equal(got, want) || n != 5 {
			t.Errorf("%d pages, volumes %v, want 5 and %v", n, got, want)
		}

		out, err := c.ec2.DescribeInstances(c.ctx, &ec2.DescribeInstancesInput{InstanceIds: []string{instances[0], other.IDs("instance")[0]}})
		if err != nil || len(out.Reservations) != 2 {
			t.Fatalf("%v, %v", out, err)
		}
		for _, r := range out.Reservations {
			i := r.Instances[0]
			if *i.InstanceId == instances[0] && (len(i.BlockDeviceMappings) != 3 || !slices.Contains(made.IDs("network-interface"), *i.NetworkInterfaces[0].NetworkInterfaceId)) {
				t.Errorf("instance %+v", i)
			}
		}
		nis, err := c.ec2.DescribeNetworkInterfaces(c.ctx, &ec2.DescribeNetworkInterfacesInput{Filters: filter("attachment.instance-id", instances...)})
		if err != nil || len(nis.NetworkInterfaces) != 7 || *nis.NetworkInterfaces[0].Attachment.InstanceId == "" {
			t.Errorf("interfaces: %+v, %v", nis, err)
		}
		_, err = c.ec2.DescribeVolumes(c.ctx, &ec2.DescribeVolumesInput{Filters: filter("attachment.instance-id", make([]string, 201)...)})
		if code(err) != "FilterLimitExceeded" {
			t.Errorf("201 values: %v", err)
		}
		_, err = c.ec2.DescribeVolumes(c.ctx, &ec2.DescribeVolumesInput{VolumeIds: []string{"vol-0123456789abcdef0"}})
		if code(err) != "InvalidVolume.NotFound" {
			t.Errorf("unknown volume: %v", err)
		}
		_, err = c.ec2.DescribeVolumes(c.ctx, &ec2.DescribeVolumesInput{DryRun: aws.Bool(true)})
		if code(err) != "DryRunOperation" {
			t.Errorf("dry run: %v", err)
		}
	})
}

func TestImageIsPendingWithoutSnapshots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := connect(t, fakeaws.Config{})
		launch := c.aws.Create(c.aws.Scope(), "RunInstances", maria, fakeaws.Spec{Volumes: 1})
		made := c.aws.Create(c.aws.Scope(), "CreateImage", maria, fakeaws.Spec{Of: launch.IDs("instance")[0]})
		see := func() (types.ImageState, []string) {
			out, err := c.ec2.DescribeImages(c.ctx, &ec2.DescribeImagesInput{ImageIds: made.IDs("image")})
			if err != nil {
				t.Fatal(err)
			}
			var snapshots []string
			for _, m := range out.Images[0].BlockDeviceMappings {
				snapshots = append(snapshots, *m.Ebs.SnapshotId)
			}
			return out.Images[0].State, snapshots
		}
		if state, got := see(); state != "pending" || len(got) != 0 {
			t.Errorf("at once: %s, %v", state, got)
		}
		time.Sleep(21 * time.Second)
		state, got := see()
		want := made.IDs("snapshot")
		slices.Sort(got)
		slices.Sort(want)
		if state != "available" || len(got) != 2 || !slices.Equal(got, want) {
			t.Errorf("then: %s, %v, want %v", state, got, want)
		}
		out, err := c.ec2.DescribeSnapshots(c.ctx, &ec2.DescribeSnapshotsInput{SnapshotIds: want})
		if err != nil || len(out.Snapshots) != 2 {
			t.Errorf("%+v, %v", out, err)
		}
	})
}

func TestNewIDsAreUnknownForAMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := connect(t, fakeaws.Config{Consistency: time.Minute, Seed: 3})
		made := c.aws.Create(c.aws.Scope(), "RunInstances", maria, fakeaws.Spec{Count: 20})
		seen := func() int {
			out, err := c.ec2.DescribeInstances(c.ctx, &ec2.DescribeInstancesInput{Filters: filter("instance-id", made.IDs("instance")...)})
			if err != nil {
				t.Fatal(err)
			}
			return len(out.Reservations)
		}
		if n := seen(); n > 5 {
			t.Errorf("%d of 20 known at once", n)
		}
		time.Sleep(30 * time.Second)
		if n := seen(); n < 4 || n > 16 {
			t.Errorf("%d of 20 known after half the time", n)
		}
		time.Sleep(30 * time.Second)
		if n := seen(); n != 20 {
			t.Errorf("%d of 20 known in the end", n)
		}
	})
}

func TestDescribeRegions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := connect(t, fakeaws.Config{Regions: []string{"eu-west-1", "us-east-1"}})
		out, err := c.ec2.DescribeRegions(c.ctx, &ec2.DescribeRegionsInput{})
		if err != nil || len(out.Regions) != 2 || *out.Regions[0].RegionName != "eu-west-1" {
			t.Errorf("%+v, %v", out, err)
		}
		all, err := c.ec2.DescribeRegions(c.ctx, &ec2.DescribeRegionsInput{AllRegions: aws.Bool(true), Filters: filter("opt-in-status", "not-opted-in")})
		if err != nil || len(all.Regions) != 1 {
			t.Errorf("%+v, %v", all, err)
		}
	})
}
