package fakeaws

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/autotagd/autotagd/pkg/event"
)

// Spec is what a Create may say about the call. The zero Spec is one resource with a made-up name and no tags.
type Spec struct {
	Name  string
	Count int // instances of a launch; 0 is one
	// Volumes are the volumes of each instance beside its root volume, or those that CreateSnapshots takes.
	Volumes int
	// Tags given in the request, VolumeTags those of a launch's volumes, HiddenTags those that the record does not show (a
	// launch template's).
	Tags, VolumeTags, HiddenTags map[string]string
	// Interface is a network interface that a launch is given instead of making its own.
	Interface string
	// Of is what an image or snapshot is made of: an instance or a volume.
	Of string
	// Error makes the call fail with that errorCode; nothing is made.
	Error string
	// Delay is when LookupEvents shows the event: 0 draws it, a negative one is at once.
	Delay time.Duration
	// At is the time of the event if it is not now.
	At time.Time
}

// Created is what a Create made.
type Created struct {
	EventID       string
	Time, Visible time.Time
	// Resources that the event made, those that its record names first. None if it failed or repeated an upsert.
	Resources []Resource
}

// IDs returns the ids of the resources of a type ("instance", "volume", "sqs", ...), or of all for "".
func (c Created) IDs(typ string) []string {
	var out []string
	for _, r := range c.Resources {
		if typ == "" || r.Type == typ {
			out = append(out, r.ID)
		}
	}
	return out
}

// making is one create call under way, under the lock.
type making struct {
	aws       *AWS
	call      apiCall
	spec      Spec
	maker     maker
	resources []*Resource
	repeated  *Resource
}

// maker makes what one event name stands for.
type maker struct {
	source     string
	service    string
	denyAction string // IAM action of the service's own tag call
	global     bool   // in us-east-1 whatever the Region, where that is one of ours
	upsert     bool   // said again it succeeds and makes nothing
	ownCall    bool   // TagResources does not reach it
	noCall     bool   // nor does any other call
	prefix     string // of made-up names
	do         func(*making)
}

// Creates lists the event names that Create can make, sorted.
func (a *AWS) Creates() []string { return slices.Sorted(maps.Keys(a.makers)) }

// Create makes one create event, by who, and its resources. The name is the event's: see Creates. It panics for another.
func (a *AWS) Create(scope event.Scope, name string, who Who, spec ...Spec) Created {
	var s Spec
	if len(spec) > 0 {
		s = spec[0]
	}
	m, ok := a.makers[name]
	if !ok {
		panic(fmt.Errorf("%w: %s", ErrUnknownEvent, name))
	}
	if m.global && slices.Contains(a.cfg.Regions, "us-east-1") {
		scope.Region = "us-east-1"
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.Now()
	at := now
	if !s.At.IsZero() {
		at = s.At
	}
	if s.Name == "" {
		s.Name = a.made(m.prefix)
	}
	s.Count = max(s.Count, 1)
	mk := &making{aws: a, spec: s, maker: m, call: apiCall{
		scope: scope, id: a.uuid(), at: at, source: m.source, name: name, who: who, errorCode: s.Error,
	}}
	if s.Error != "" {
		mk.call.errorMessage = "You are not authorized to perform this operation. User: " + who.ARN("aws", scope.AccountID) + " is not authorized to perform this action because no identity-based policy allows it"
	}
	m.do(mk)
	if mk.repeated != nil && !m.upsert && s.Error == "" {
		mk.call.errorCode, mk.call.errorMessage = "ResourceAlreadyExistsException", "The resource "+s.Name+" already exists"
	}
	visible := a.log(mk.call, a.delay(s.Delay), true)
	if r := mk.repeated; r != nil && m.upsert && s.Error == "" && who.Owner != "" {
		r.Repeats = append(r.Repeats, who)
	}
	made := Created{EventID: mk.call.id, Time: at.UTC().Truncate(time.Second), Visible: visible}
	for _, r := range mk.resources {
		r.VisibleAt = visible
		a.register(r)
		made.Resources = append(made.Resources, r.copy())
	}
	return made
}

func (a *AWS) delay(d time.Duration) time.Duration {
	switch {
	case d < 0:
		return 0
	case d == 0:
		return a.visibility()
	default:
		return d
	}
}

// register makes a resource exist.
func (a *AWS) register(r *Resource) {
	a.order = append(a.order, r)
	a.byARN[r.ARN] = r
	if r.Parent != "" {
		a.byParent[r.Parent] = append(a.byParent[r.Parent], r)
	}
	if r.Service == "ec2" {
		ids := a.byID[r.Scope]
		if ids == nil {
			ids = make(map[string]*Resource)
			a.byID[r.Scope] = ids
		}
		ids[r.ID] = r
	}
}

// add makes a resource of the call, with the tags that it was given; nothing if the call fails or the resource is there.
func (m *making) add(typ, id, arn string, tags ...map[string]string) *Resource {
	r := &Resource{
		Scope: m.call.scope, ARN: arn, ID: id, Type: typ, Service: m.maker.service, EventID: m.call.id, EventName: m.call.name,
		CreatedAt: m.call.at, Who: m.call.who, PrincipalID: m.call.who.PrincipalID(m.call.scope.AccountID),
		Upsert: m.maker.upsert, OwnCallOnly: m.maker.ownCall, NoCall: m.maker.noCall, denyAction: m.maker.denyAction,
		AtCreation: make(map[string]string), Tags: make(map[string]string), since: make(map[string]time.Time),
		attrs: make(map[string]string), readyAt: m.call.at,
	}
	if d := m.aws.cfg.Consistency; d > 0 {
		r.consistentAt = r.CreatedAt.Add(time.Duration(m.aws.rng.Int64N(int64(d))))
	}
	for _, set := range tags {
		for k, v := range set {
			r.AtCreation[k], r.Tags[k], r.since[k], r.everTagged = v, v, m.call.at, true
		}
	}
	if old := m.aws.byARN[arn]; old != nil && old.exists() {
		m.repeated = old
	} else if m.spec.Error == "" {
		m.resources = append(m.resources, r)
	}
	return r
}

// named is a resource of a service other than EC2, with the tags of the spec.
func (m *making) named(arn string) {
	m.add(m.maker.service, m.spec.Name, arn, m.spec.Tags, m.spec.HiddenTags)
}

func (m *making) arn(service, resource string) string {
	s := m.call.scope
	return "arn:" + event.Partition(s.Region) + ":" + service + ":" + s.Region + ":" + s.AccountID + ":" + resource
}

// withTags adds tags to a request as a member, in the spelling of its service, if there are any.
func (m *making) withTags(request object, member string, spelled func(map[string]string) any) object {
	if len(m.spec.Tags) > 0 {
		request[member] = spelled(m.spec.Tags)
	}
	return request
}

func asMap(tags map[string]string) any { return tags }

// asList spells tags as a list of objects with these two members.
func asList(key, value string) func(map[string]string) any {
	return func(tags map[string]string) any {
		out := make([]object, 0, len(tags))
		for _, k := range slices.Sorted(maps.Keys(tags)) {
			out = append(out, object{key: k, value: tags[k]})
		}
		return out
	}
}

// made makes up a name as people and pipelines give them.
func (a *AWS) made(prefix string) string {
	words := [...]string{"orders", "billing", "search", "reports", "media", "sessions", "inventory", "ledger", "mailer", "webhooks", "catalog", "metrics"}
	envs := [...]string{"dev", "test", "staging", "prod", "sandbox"}
	name := prefix + pick(a.rng, words[:]) + "-" + pick(a.rng, envs[:])
	a.names[name]++
	if n := a.names[name]; n > 1 {
		name += "-" + itoa(n)
	}
	return name
}

func pick[T any](rng *rand.Rand, of []T) T { return of[rng.IntN(len(of))] }

// makers is every event that the fake can make. EC2's are in ec2.go.
func makers() map[string]maker {
	keyValue, capital := asList("key", "value"), asList("Key", "Value")
	out := map[string]maker{
		"CreateBucket": {source: "s3.amazonaws.com", service: "s3", denyAction: "s3:PutBucketTagging", prefix: "acme-", do: func(m *making) {
			host := m.spec.Name + ".s3." + m.call.scope.Region + ".amazonaws.com"
			m.call.request = object{"bucketName": m.spec.Name, "Host": host, "x-amz-acl": "private", "CreateBucketConfiguration": object{
				"xmlns": "http://s3.amazonaws.com/doc/2006-03-01/", "LocationConstraint": m.call.scope.Region,
			}}
			m.named("arn:" + event.Partition(m.call.scope.Region) + ":s3:::" + m.spec.Name)
		}},
		"CreateQueue": {source: "sqs.amazonaws.com", service: "sqs", denyAction: "sqs:TagQueue", upsert: true, do: func(m *making) {
			m.call.request = m.withTags(object{"queueName": m.spec.Name, "attribute": object{"VisibilityTimeout": "30"}}, "tags", asMap)
			m.call.response = object{"queueUrl": "https://sqs." + m.call.scope.Region + ".amazonaws.com/" + m.call.scope.AccountID + "/" + m.spec.Name}
			m.named(m.arn("sqs", m.spec.Name))
		}},
		"CreateTopic": {source: "sns.amazonaws.com", service: "sns", denyAction: "sns:TagResource", upsert: true, do: func(m *making) {
			arn := m.arn("sns", m.spec.Name)
			m.call.request = m.withTags(object{"name": m.spec.Name}, "tags", keyValue)
			m.call.response = object{"topicArn": arn}
			m.named(arn)
		}},
		"CreateFunction20150331": {source: "lambda.amazonaws.com", service: "lambda", denyAction: "lambda:TagResource", do: func(m *making) {
			arn := m.arn("lambda", "function:"+m.spec.Name)
			m.call.request = m.withTags(object{
				"functionName": m.spec.Name, "runtime": "python3.13", "handler": "app.handler", "code": object{}, "publish": false, "timeout": 30,
				"role": "arn:aws:iam::" + m.call.scope.AccountID + ":role/lambda-basic", "memorySize": 256, "packageType": "Zip",
			}, "tags", asMap)
			m.call.response = object{"functionName": m.spec.Name, "functionArn": arn, "runtime": "python3.13", "state": "Pending", "version": "$LATEST", "codeSize": 18234}
			m.named(arn)
		}},
		"CreateTable": {source: "dynamodb.amazonaws.com", service: "dynamodb", denyAction: "dynamodb:TagResource", do: func(m *making) {
			arn := m.arn("dynamodb", "table/"+m.spec.Name)
			m.call.request = m.withTags(object{
				"tableName": m.spec.Name, "billingMode": "PAY_PER_REQUEST", "keySchema": []object{{"attributeName": "pk", "keyType": "HASH"}},
				"attributeDefinitions": []object{{"attributeName": "pk", "attributeType": "S"}},
			}, "tags", keyValue)
			m.call.response = object{"tableDescription": object{
				"tableName": m.spec.Name, "tableArn": arn, "tableId": m.aws.uuid(), "tableStatus": "CREATING", "itemCount": 0, "tableSizeBytes": 0,
			}}
			m.named(arn)
			for _, r := range m.resources {
				r.readyAt = m.call.at.Add(8 * time.Second)
			}
		}},
		"CreateLogGroup": {source: "logs.amazonaws.com", service: "logs", denyAction: "logs:TagResource", prefix: "/acme/", do: func(m *making) {
			m.call.request = m.withTags(object{"logGroupName": m.spec.Name}, "tags", asMap)
			m.named(m.arn("logs", "log-group:"+m.spec.Name))
		}},
		"CreateSecret": {source: "secretsmanager.amazonaws.com", service: "secretsmanager", denyAction: "secretsmanager:TagResource", do: func(m *making) {
			arn := m.arn("secretsmanager", "secret:"+m.spec.Name+"-"+m.aws.letters(6))
			m.call.request = m.withTags(object{"name": m.spec.Name, "clientRequestToken": m.aws.uuid(), "forceOverwriteReplicaSecret": false}, "tags", keyValue)
			m.call.response = object{"arn": arn, "name": m.spec.Name}
			m.named(arn)
		}},
		"CreateKey": {source: "kms.amazonaws.com", service: "kms", denyAction: "kms:TagResource", do: func(m *making) {
			m.spec.Name = m.aws.uuid()
			arn := m.arn("kms", "key/"+m.spec.Name)
			m.call.request = m.withTags(object{"description": "", "keySpec": "SYMMETRIC_DEFAULT", "keyUsage": "ENCRYPT_DECRYPT", "origin": "AWS_KMS", "multiRegion": false},
				"tags", asList("tagKey", "tagValue"))
			m.call.response = object{"keyMetadata": object{
				"aWSAccountId": m.call.scope.AccountID, "keyId": m.spec.Name, "arn": arn, "enabled": true, "keyState": "Enabled", "keyManager": "CUSTOMER",
			}}
			m.named(arn)
		}},
		"CreateDBInstance": {source: "rds.amazonaws.com", service: "rds", denyAction: "rds:AddTagsToResource", do: func(m *making) {
			asked := m.spec.Name
			m.spec.Name = strings.ToLower(asked)
			arn := m.arn("rds", "db:"+m.spec.Name)
			m.call.request = m.withTags(object{
				"dBInstanceIdentifier": asked, "engine": "postgres", "dBInstanceClass": "db.t4g.medium", "allocatedStorage": 50,
				"masterUsername": "acme", "masterUserPassword": "HIDDEN_DUE_TO_SECURITY_REASONS",
			}, "tags", keyValue)
			m.call.response = object{"dBInstanceArn": arn, "dBInstanceIdentifier": m.spec.Name, "dBInstanceStatus": "creating", "engine": "postgres"}
			m.named(arn)
		}},
		"CreateRole": {source: "iam.amazonaws.com", service: "iam", denyAction: "iam:TagRole", global: true, do: func(m *making) {
			arn := "arn:" + event.Partition(m.call.scope.Region) + ":iam::" + m.call.scope.AccountID + ":role/" + m.spec.Name
			m.call.request = m.withTags(object{"roleName": m.spec.Name, "assumeRolePolicyDocument": `{"Version":"2012-10-17","Statement":[]}`}, "tags", keyValue)
			m.call.response = object{"role": object{"roleName": m.spec.Name, "arn": arn, "path": "/", "roleId": "AROA" + id16(m.call.scope.AccountID, m.spec.Name)}}
			m.named(arn)
		}},
		"CreateRepository": {source: "ecr.amazonaws.com", service: "ecr", denyAction: "ecr:TagResource", prefix: "acme/", do: func(m *making) {
			arn := m.arn("ecr", "repository/"+m.spec.Name)
			m.call.request = m.withTags(object{"repositoryName": m.spec.Name}, "tags", keyValue)
			m.call.response = object{"repository": object{"repositoryArn": arn, "repositoryName": m.spec.Name, "registryId": m.call.scope.AccountID}}
			m.named(arn)
		}},
		"CreateStateMachine": {source: "states.amazonaws.com", service: "states", denyAction: "states:TagResource", upsert: true, do: func(m *making) {
			arn := m.arn("states", "stateMachine:"+m.spec.Name)
			m.call.request = m.withTags(object{"name": m.spec.Name, "definition": "HIDDEN_DUE_TO_SECURITY_REASONS", "type": "STANDARD"}, "tags", keyValue)
			m.call.response = object{"stateMachineArn": arn}
			m.named(arn)
		}},
		"PutRule": {source: "events.amazonaws.com", service: "events", denyAction: "events:TagResource", upsert: true, do: func(m *making) {
			arn := m.arn("events", "rule/"+m.spec.Name)
			m.call.request = m.withTags(object{"name": m.spec.Name, "scheduleExpression": "rate(5 minutes)", "state": "ENABLED"}, "tags", keyValue)
			m.call.response = object{"ruleArn": arn}
			m.named(arn)
		}},
		"PutMetricAlarm": {source: "monitoring.amazonaws.com", service: "cloudwatch", denyAction: "cloudwatch:TagResource", upsert: true, do: func(m *making) {
			m.call.request = m.withTags(object{"alarmName": m.spec.Name, "metricName": "CPUUtilization", "namespace": "AWS/EC2", "threshold": 80, "period": 300}, "tags", capital)
			m.named(m.arn("cloudwatch", "alarm:"+m.spec.Name))
		}},
		"PutParameter": {source: "ssm.amazonaws.com", service: "ssm", denyAction: "ssm:AddTagsToResource", upsert: true, prefix: "/acme/", do: func(m *making) {
			m.call.request = m.withTags(object{"name": m.spec.Name, "type": "String", "value": "HIDDEN_DUE_TO_SECURITY_REASONS"}, "tags", keyValue)
			m.named(m.arn("ssm", "parameter/"+strings.TrimPrefix(m.spec.Name, "/")))
			version := 1
			if m.repeated != nil {
				version += 1 + len(m.repeated.Repeats)
			}
			m.call.response = object{"version": version, "tier": "Standard"}
		}},
		"CreateStream": {source: "kinesis.amazonaws.com", service: "kinesis", denyAction: "kinesis:AddTagsToStream", do: func(m *making) {
			m.call.request = m.withTags(object{"streamName": m.spec.Name, "shardCount": 1}, "tags", asMap)
			m.named(m.arn("kinesis", "stream/"+m.spec.Name))
		}},
		"CreateFileSystem": {source: "elasticfilesystem.amazonaws.com", service: "elasticfilesystem", denyAction: "elasticfilesystem:TagResource", do: func(m *making) {
			token := m.spec.Name
			m.spec.Name = m.aws.hexID("fs")
			arn := m.arn("elasticfilesystem", "file-system/"+m.spec.Name)
			m.call.request = m.withTags(object{"creationToken": token, "encrypted": true}, "tags", keyValue)
			m.call.response = object{"fileSystemId": m.spec.Name, "fileSystemArn": arn, "creationToken": token, "lifeCycleState": "creating"}
			m.named(arn)
		}},
		"CreateRestApi": {source: "apigateway.amazonaws.com", service: "apigateway", denyAction: "apigateway:TagResource", ownCall: true, do: func(m *making) {
			id := m.aws.letters(10)
			m.call.request = object{"createRestApiInput": m.withTags(object{"name": m.spec.Name}, "tags", asMap)}
			m.call.response = object{"id": id, "name": m.spec.Name}
			m.named("arn:" + event.Partition(m.call.scope.Region) + ":apigateway:" + m.call.scope.Region + "::/restapis/" + id)
		}},
		"CreateStack": {source: "cloudformation.amazonaws.com", service: "cloudformation", ownCall: true, noCall: true, do: func(m *making) {
			arn := m.arn("cloudformation", "stack/"+m.spec.Name+"/"+m.aws.letters(12))
			m.call.request = m.withTags(object{"stackName": m.spec.Name}, "tags", keyValue)
			m.call.response = object{"stackId": arn}
			m.named(arn)
		}},
	}
	addEC2(out)
	return out
}
