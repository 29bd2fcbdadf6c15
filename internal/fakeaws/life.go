package fakeaws

import (
	"maps"
	"slices"
	"time"

	"github.com/autotagd/autotagd/pkg/event"
)

// Tag is somebody in the account setting tags by hand, after creation: a person's own Owner tag, say. It does nothing to
// what is deleted.
func (a *AWS) Tag(arn string, who Who, tags map[string]string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	r := a.byARN[arn]
	if r == nil || !r.exists() {
		return
	}
	now := a.Now()
	caller := who.ARN(event.Partition(r.Scope.Region), r.Scope.AccountID)
	for _, k := range slices.Sorted(maps.Keys(tags)) {
		r.write(now, caller, false, k, tags[k])
	}
	source, name, request := "tagging.amazonaws.com", "TagResources", object{"resourceARNList": []string{arn}, "tags": tags}
	if r.Service == "ec2" {
		source, name = "ec2.amazonaws.com", "CreateTags"
		request = object{"resourcesSet": items([]object{{"resourceId": r.ID}}), "tagSet": items(ec2Tags(tags))}
	}
	a.log(apiCall{
		scope: r.Scope, id: a.uuid(), at: now, source: source, name: name, who: who, request: request,
		response: object{"_return": true},
	}, a.visibility(), true)
}

// Delete deletes a resource; an instance takes its volumes and interfaces along.
func (a *AWS) Delete(arn string, who Who) {
	a.mu.Lock()
	defer a.mu.Unlock()
	r := a.byARN[arn]
	if r == nil || !r.exists() {
		return
	}
	now := a.Now()
	r.DeletedAt = now
	if r.Type == "instance" {
		for _, o := range a.byParent[r.ID] {
			if o.exists() {
				o.DeletedAt = now
			}
		}
	}
	name, request := "Delete"+noun(r), object{"name": r.ID}
	switch r.Type {
	case "instance":
		name, request = "TerminateInstances", object{"instancesSet": items([]object{{"instanceId": r.ID}})}
	case "image":
		name, request = "DeregisterImage", object{"imageId": r.ID}
	case "volume":
		request = object{"volumeId": r.ID}
	case "snapshot":
		request = object{"snapshotId": r.ID}
	}
	a.log(apiCall{
		scope: r.Scope, id: a.uuid(), at: now, source: a.makers[r.EventName].source, name: name, who: who, request: request,
		response: object{"_return": true},
	}, a.visibility(), true)
}

// noun is what the event that made a resource calls it: Bucket for CreateBucket.
func noun(r *Resource) string {
	switch r.Type {
	case "volume":
		return "Volume"
	case "network-interface":
		return "NetworkInterface"
	case "snapshot":
		return "Snapshot"
	}
	for _, verb := range [...]string{"Create", "Put", "Allocate"} {
		if n := len(verb); len(r.EventName) > n && r.EventName[:n] == verb {
			return r.EventName[n:]
		}
	}
	return r.EventName
}

// Other is one event of another kind than a create: a change or a read that makes nothing.
func (a *AWS) Other(scope event.Scope, source, name string, readOnly bool, who Who, spec ...Spec) string {
	var s Spec
	if len(spec) > 0 {
		s = spec[0]
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	at, delay := a.Now(), a.delay(s.Delay)
	if !s.At.IsZero() {
		at = s.At
	}
	id := a.uuid()
	if s.Error != "" {
		a.log(apiCall{
			scope: scope, id: id, at: at, source: source, name: name, readOnly: readOnly, who: who, errorCode: s.Error,
			errorMessage: "refused", request: object{"name": s.Name},
		}, delay, false)
		return id
	}
	at = at.Truncate(time.Second)
	a.addEvent(scope, &trailEvent{
		at: at.UnixNano(), visible: at.Add(delay).UnixNano(), id: id, source: source, name: name,
		readOnly: readOnly, who: a.intern(who), note: s.Name,
	})
	return id
}

// intern returns the one copy of who that many events share.
func (a *AWS) intern(who Who) *Who {
	w := a.whos[who]
	if w == nil {
		w = &who
		a.whos[who] = w
	}
	return w
}
