package fakeaws

import (
	"maps"
	"slices"
	"strconv"
	"time"
)

// addEC2 adds the events of EC2 that the fake can make.
func addEC2(out map[string]maker) {
	for name, do := range map[string]func(*making){
		"RunInstances": runInstances, "CreateImage": createImage, "CreateSnapshots": createSnapshots,
		"CreateVolume": func(m *making) {
			r := m.ec2("volume", m.aws.hexID("vol"))
			maps.Copy(r.attrs, map[string]string{"size": "100", "device": ""})
			m.call.request = m.tagged(object{"size": "100", "zone": m.zone(), "volumeType": "gp3", "encrypted": true}, "volume")
			m.call.response = object{
				"requestId": m.call.id, "volumeId": r.ID, "size": "100", "zone": m.zone(), "status": "creating",
				"createTime": m.call.at.UnixMilli(), "volumeType": "gp3", "encrypted": true, "tagSet": items(ec2Tags(m.spec.Tags)),
			}
		},
		"CreateSnapshot": func(m *making) {
			volume := m.spec.Of
			if volume == "" {
				volume = m.aws.hexID("vol")
			}
			r := m.ec2("snapshot", m.aws.hexID("snap"))
			r.attrs["volume"] = volume
			m.call.request = m.tagged(object{"volumeId": volume, "description": m.spec.Name}, "snapshot")
			m.call.response = object{
				"requestId": m.call.id, "snapshotId": r.ID, "volumeId": volume, "status": "pending", "startTime": m.call.at.UnixMilli(),
				"ownerId": m.call.scope.AccountID, "volumeSize": "100", "encrypted": true, "tagSet": items(ec2Tags(m.spec.Tags)),
			}
		},
		"CreateNetworkInterface": func(m *making) {
			r := m.ec2("network-interface", m.aws.hexID("eni"))
			m.call.request = m.tagged(object{"subnetId": m.subnet(), "description": m.spec.Name, "groupSet": object{}, "privateIpAddressesSet": object{}}, "network-interface")
			m.call.response = object{"requestId": m.call.id, "networkInterface": m.networkInterface(r.ID, "pending", false)}
		},
		"CreateSecurityGroup": func(m *making) {
			r := m.ec2("security-group", m.aws.hexID("sg"))
			m.call.request = m.tagged(object{"groupName": m.spec.Name, "groupDescription": "made for " + m.spec.Name, "vpcId": m.vpc()}, "security-group")
			m.call.response = object{"requestId": m.call.id, "_return": true, "groupId": r.ID, "tagSet": items(ec2Tags(m.spec.Tags))}
		},
		"CreateKeyPair": func(m *making) {
			r := m.ec2("key-pair", m.aws.hexID("key"))
			m.call.request = m.tagged(object{"keyName": m.spec.Name, "keyType": "ed25519"}, "key-pair")
			m.call.response = object{"requestId": m.call.id, "keyName": m.spec.Name, "keyPairId": r.ID, "keyFingerprint": m.aws.letters(40), "keyMaterial": "<sensitiveDataRemoved>"}
		},
		"AllocateAddress": func(m *making) {
			r := m.ec2("elastic-ip", m.aws.hexID("eipalloc"))
			m.call.request = m.tagged(object{"domain": "vpc"}, "elastic-ip")
			m.call.response = object{"requestId": m.call.id, "publicIp": "198.51.100." + itoa(m.aws.rng.IntN(256)), "domain": "vpc", "allocationId": r.ID}
		},
		"CreateVpc": func(m *making) {
			r := m.ec2("vpc", m.aws.hexID("vpc"))
			m.call.request = m.tagged(object{"cidrBlock": "10.20.0.0/16", "instanceTenancy": "default"}, "vpc")
			m.call.response = object{"requestId": m.call.id, "vpc": object{"vpcId": r.ID, "state": "pending", "cidrBlock": "10.20.0.0/16", "tagSet": items(ec2Tags(m.spec.Tags)), "isDefault": false}}
		},
		"CreateSubnet": func(m *making) {
			r := m.ec2("subnet", m.aws.hexID("subnet"))
			m.call.request = m.tagged(object{"vpcId": m.vpc(), "cidrBlock": "10.20.4.0/24"}, "subnet")
			m.call.response = object{"requestId": m.call.id, "subnet": object{
				"subnetId": r.ID, "subnetArn": r.ARN, "state": "available", "vpcId": m.vpc(), "cidrBlock": "10.20.4.0/24", "availabilityZone": m.zone(), "tagSet": items(ec2Tags(m.spec.Tags)),
			}}
		},
		"CreateLaunchTemplate": func(m *making) {
			r := m.ec2("launch-template", m.aws.hexID("lt"))
			m.call.request = object{"CreateLaunchTemplateRequest": m.wrapped(object{
				"LaunchTemplateName": m.spec.Name, "LaunchTemplateData": object{"InstanceType": "t3.micro", "ImageId": m.image()}, "ClientToken": m.aws.uuid(),
			}, "launch-template")}
			m.call.response = object{"CreateLaunchTemplateResponse": object{
				"xmlns": ec2Namespace, "requestId": m.call.id, "launchTemplate": object{
					"launchTemplateId": r.ID, "launchTemplateName": m.spec.Name, "latestVersionNumber": 1, "defaultVersionNumber": 1,
					"createTime": m.call.at.UTC().Format("2006-01-02T15:04:05.000Z"),
				},
			}}
		},
		"CreateNatGateway": func(m *making) {
			r := m.ec2("natgateway", m.aws.hexID("nat"))
			m.call.request = object{"CreateNatGatewayRequest": m.wrapped(object{
				"ConnectivityType": "private", "SubnetId": m.subnet(), "ClientToken": m.aws.uuid(),
			}, "natgateway")}
			m.call.response = object{"CreateNatGatewayResponse": object{
				"xmlns": ec2Namespace, "requestId": m.call.id, "natGateway": object{"natGatewayId": r.ID, "subnetId": m.subnet(), "vpcId": m.vpc(), "state": "pending"},
			}}
		},
	} {
		out[name] = maker{source: "ec2.amazonaws.com", service: "ec2", denyAction: "", do: do}
	}
}

// ec2 makes a resource of the call with the tags of the spec.
func (m *making) ec2(typ, id string) *Resource {
	return m.add(typ, id, m.ec2ARN(typ, id), m.spec.Tags, m.spec.HiddenTags)
}

func (m *making) ec2ARN(typ, id string) string {
	arn := m.arn("ec2", typ+"/"+id)
	if typ == "snapshot" || typ == "image" { // these ARNs have no account
		s := m.call.scope
		arn = m.arn("ec2", "")
		arn = arn[:len(arn)-len(s.AccountID)-1] + ":" + typ + "/" + id
	}
	return arn
}

// tagged adds the spec's tags to a request in the plain form.
func (m *making) tagged(request object, typ string) object {
	var specs []object
	if len(m.spec.Tags) > 0 {
		specs = append(specs, object{"resourceType": typ, "tags": ec2Tags(m.spec.Tags)})
	}
	if len(m.spec.VolumeTags) > 0 {
		specs = append(specs, object{"resourceType": "volume", "tags": ec2Tags(m.spec.VolumeTags)})
	}
	if len(specs) > 0 {
		request["tagSpecificationSet"] = items(specs)
	}
	return request
}

// wrapped adds them in the form of EC2's newer operations: one tag is an object, several are a list, numbers are guessed.
func (m *making) wrapped(request object, typ string) object {
	var tags []object
	for i, k := range slices.Sorted(maps.Keys(m.spec.Tags)) {
		var v any = m.spec.Tags[k]
		if n, err := strconv.Atoi(m.spec.Tags[k]); err == nil {
			v = n
		}
		tags = append(tags, object{"Key": k, "Value": v, "tag": i + 1})
	}
	switch len(tags) {
	case 0:
	case 1:
		request["TagSpecification"] = object{"ResourceType": typ, "tag": 1, "Tag": tags[0]}
	default:
		request["TagSpecification"] = object{"ResourceType": typ, "tag": 1, "Tag": tags}
	}
	return request
}

func ec2Tags(tags map[string]string) []object {
	out := make([]object, 0, len(tags))
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		out = append(out, object{"key": k, "value": tags[k]})
	}
	return out
}

func (m *making) zone() string   { return m.call.scope.Region + "a" }
func (m *making) vpc() string    { return "vpc-0" + digest(m.call.scope.String(), "vpc")[:16] }
func (m *making) subnet() string { return "subnet-0" + digest(m.call.scope.String(), "subnet")[:16] }
func (m *making) image() string  { return "ami-0" + digest(m.call.scope.Region, "ami")[:16] }

func (m *making) networkInterface(id, status string, passedIn bool) object {
	return object{
		"networkInterfaceId": id, "subnetId": m.subnet(), "vpcId": m.vpc(), "ownerId": m.call.scope.AccountID, "status": status,
		"macAddress": "02:" + id[5:7] + ":" + id[7:9] + ":" + id[9:11] + ":" + id[11:13] + ":" + id[13:15], "privateIpAddress": "10.0.1.10",
		"sourceDestCheck": true, "interfaceType": "interface", "groupSet": object{"items": []object{{"groupId": "sg-0" + digest(id)[:16]}}},
		"attachment": object{
			"attachmentId": "eni-attach-0" + digest(id, "attach")[:16], "deviceIndex": 0, "networkCardIndex": 0, "status": "attaching",
			"attachTime": m.call.at.UnixMilli(), "deleteOnTermination": !passedIn,
		},
		"privateIpAddressesSet": object{"item": []object{{"privateIpAddress": "10.0.1.10", "primary": true}}}, "tagSet": object{},
	}
}

// runInstances launches. The record names the instances and their interfaces, never the volumes.
func runInstances(m *making) {
	const kind = "t3.micro"
	instance := object{"imageId": m.image(), "minCount": 1, "maxCount": m.spec.Count}
	m.call.request = m.tagged(object{
		"instancesSet": items([]object{instance}), "instanceType": kind, "blockDeviceMapping": object{}, "monitoring": object{"enabled": false},
		"disableApiTermination": false, "clientToken": m.aws.uuid(), "ebsOptimized": false,
	}, "instance")
	if m.spec.Interface != "" {
		m.call.request.(object)["networkInterfaceSet"] = items([]object{{"networkInterfaceId": m.spec.Interface, "deviceIndex": 0}})
	}
	var launched []object
	var beside []*Resource // volumes: after all that the record names
	for i := range m.spec.Count {
		r := m.ec2("instance", m.aws.hexID("i"))
		eni := m.spec.Interface
		if eni == "" {
			eni = m.aws.hexID("eni")
			n := m.add("network-interface", eni, m.ec2ARN("network-interface", eni))
			n.Parent = r.ID
		}
		maps.Copy(r.attrs, map[string]string{"interface": eni, "image": m.image()})
		launched = append(launched, object{
			"instanceId": r.ID, "imageId": m.image(), "instanceState": object{"code": 0, "name": "pending"}, "privateDnsName": "ip-10-0-1-10." + m.call.scope.Region + ".compute.internal",
			"amiLaunchIndex": i, "productCodes": object{}, "instanceType": kind, "launchTime": m.call.at.UnixMilli(),
			"placement": object{"availabilityZone": m.zone(), "tenancy": "default"}, "monitoring": object{"state": "disabled"}, "subnetId": m.subnet(),
			"vpcId": m.vpc(), "privateIpAddress": "10.0.1.10", "architecture": "x86_64", "rootDeviceType": "ebs", "rootDeviceName": "/dev/xvda",
			"blockDeviceMapping": object{}, "virtualizationType": "hvm", "hypervisor": "xen", "tagSet": items(ec2Tags(m.spec.Tags)),
			"groupSet": object{}, "sourceDestCheck": true, "networkInterfaceSet": items([]object{m.networkInterface(eni, "in-use", m.spec.Interface != "")}),
			"ebsOptimized": false, "enaSupport": true,
		})
		for v := range m.spec.Volumes + 1 {
			id := m.aws.hexID("vol")
			vol := m.add("volume", id, m.ec2ARN("volume", id), m.spec.VolumeTags)
			vol.Parent = r.ID
			maps.Copy(vol.attrs, map[string]string{"size": "8", "device": "/dev/sd" + string(rune('a'+v%26)), "instance": r.ID})
			beside = append(beside, vol)
		}
	}
	m.last(beside)
	reservation := object{
		"requestId": m.call.id, "reservationId": m.aws.hexID("r"), "ownerId": m.call.scope.AccountID, "groupSet": object{}, "instancesSet": items(launched),
	}
	if m.call.who.Kind == Service {
		reservation["requesterId"] = m.call.scope.AccountID
	}
	m.call.response = reservation
}

// last puts the resources that the record does not name after those that it does.
func (m *making) last(beside []*Resource) {
	named := slices.DeleteFunc(slices.Clone(m.resources), func(r *Resource) bool { return slices.Contains(beside, r) })
	if len(named) != len(m.resources) {
		m.resources = append(named, beside...)
	}
}

// createImage makes an image of an instance, and a snapshot of each of its volumes. The snapshots show in DescribeImages
// when the image is no longer pending.
func createImage(m *making) {
	instance := m.spec.Of
	if instance == "" {
		instance = m.aws.hexID("i")
	}
	image := m.ec2("image", m.aws.hexID("ami"))
	image.readyAt = m.call.at.Add(m.aws.cfg.ImageTime)
	maps.Copy(image.attrs, map[string]string{"name": m.spec.Name, "instance": instance})
	for range m.snapshots(instance) {
		id := m.aws.hexID("snap")
		s := m.add("snapshot", id, m.ec2ARN("snapshot", id))
		s.Parent = image.ID
		s.attrs["volume"] = instance
	}
	m.call.request = m.tagged(object{"instanceId": instance, "name": m.spec.Name, "noReboot": true}, "image")
	m.call.response = object{"requestId": m.call.id, "imageId": image.ID}
}

// snapshots is how many snapshots an instance's volumes make.
func (m *making) snapshots(instance string) int {
	n := 0
	for _, r := range m.aws.byParent[instance] {
		if r.Type == "volume" && r.exists() {
			n++
		}
	}
	return max(n, 1+m.spec.Volumes)
}

// createSnapshots makes a snapshot of each volume of an instance, in the wrapped form: one is an object, several are a list.
func createSnapshots(m *making) {
	instance := m.spec.Of
	if instance == "" {
		instance = m.aws.hexID("i")
	}
	var set []object
	for range m.snapshots(instance) {
		r := m.ec2("snapshot", m.aws.hexID("snap"))
		r.attrs["volume"] = m.aws.hexID("vol")
		set = append(set, object{
			"snapshotId": r.ID, "volumeId": r.attrs["volume"], "state": "pending", "ownerId": m.call.scope.AccountID, "volumeSize": 8,
			"startTime": m.call.at.UTC().Format(time.RFC3339),
		})
	}
	var item any = set
	if len(set) == 1 {
		item = set[0]
	}
	m.call.request = object{"CreateSnapshotsRequest": m.wrapped(object{"InstanceSpecification": object{"InstanceId": instance}, "Description": m.spec.Name}, "snapshot")}
	m.call.response = object{"CreateSnapshotsResponse": object{"xmlns": ec2Namespace, "requestId": m.call.id, "snapshotSet": object{"item": item}}}
}
