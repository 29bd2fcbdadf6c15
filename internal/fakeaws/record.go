package fakeaws

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/autotagd/autotagd/pkg/event"
)

// apiCall is what a record tells of one call.
type apiCall struct {
	scope             event.Scope
	id                string // EventID
	at                time.Time
	source, name      string
	who               Who
	request, response any // nil is null
	readOnly          bool
	errorCode         string
	errorMessage      string
	agent             string // "": the caller's usual one
	ip                string // "": the caller's usual one
}

// record writes a record as CloudTrail does.
func (c apiCall) record() string {
	account := c.scope.AccountID
	request := digest(c.id, "request")
	r := object{
		"eventVersion": "1.11", "userIdentity": c.who.userIdentity(event.Partition(c.scope.Region), account, c.at),
		"eventTime": c.at.UTC().Format("2006-01-02T15:04:05Z"), "eventSource": c.source, "eventName": c.name, "awsRegion": c.scope.Region,
		"sourceIPAddress": c.who.sourceIP(account), "userAgent": c.who.userAgent(),
		"requestParameters": c.request, "responseElements": c.response,
		"requestID": request[:8] + "-" + request[8:12] + "-4" + request[13:16] + "-a" + request[17:20] + "-" + request[20:32],
		"eventID":   c.id, "readOnly": c.readOnly, "eventType": "AwsApiCall", "managementEvent": true,
		"recipientAccountId": account, "eventCategory": "Management",
	}
	if c.agent != "" {
		r["userAgent"] = c.agent
	}
	if c.ip != "" {
		r["sourceIPAddress"] = c.ip
	}
	if c.errorCode != "" {
		r["errorCode"], r["errorMessage"], r["responseElements"] = c.errorCode, c.errorMessage, nil
	}
	if c.who.invokedBy == "" {
		service, _, _ := strings.Cut(c.source, ".")
		r["tlsDetails"] = object{
			"tlsVersion": "TLSv1.3", "cipherSuite": "TLS_AES_128_GCM_SHA256", "clientProvidedHostHeader": service + "." + c.scope.Region + ".amazonaws.com",
		}
		if c.who.console {
			r["sessionCredentialFromConsole"] = "true"
		}
	}
	b, err := json.Marshal(r)
	if err != nil {
		panic("fakeaws: record is not JSON: " + err.Error()) // a bug here, not bad input
	}
	return string(b)
}

// log puts a call into its Scope's trail, to be shown after delay, or now if that is later and there is no delay. The record
// is written at once if keep is set, else at each showing, from what c holds. It returns when it will show.
func (a *AWS) log(c apiCall, delay time.Duration, keep bool) time.Time {
	c.at = c.at.UTC().Truncate(time.Second)
	visible := c.at.Add(delay)
	if now := a.Now(); delay == 0 && visible.Before(now) {
		visible = now
	}
	e := &trailEvent{at: c.at.UnixNano(), visible: visible.UnixNano(), id: c.id, source: c.source, name: c.name, readOnly: c.readOnly}
	if e.call = &c; keep {
		e.raw = c.record()
		e.call = &apiCall{who: c.who} // for the Username
	}
	a.addEvent(c.scope, e)
	return visible
}

func (a *AWS) addEvent(s event.Scope, e *trailEvent) {
	t := a.trail(s)
	t.add(e)
	if t.seq%10_000 == 0 {
		t.forget(a.Now().Add(-a.cfg.Retention))
	}
}

// logCall puts a call of the program under test into the trail, as in life.
func (a *AWS) logCall(c *call, ans answer) {
	rec := apiCall{
		scope: c.scope, id: a.uuid(), at: c.now, source: c.service + ".amazonaws.com", name: c.op, who: a.caller(c), agent: c.agent,
		readOnly: c.op != "CreateTags" && c.op != "TagResources", errorCode: ans.code,
	}
	switch c.op {
	case "CreateTags":
		var ids, tags []object
		for _, id := range c.params("ResourceId") {
			ids = append(ids, object{"resourceId": id})
		}
		for i := 1; c.form.Has("Tag." + itoa(i) + ".Key"); i++ {
			tags = append(tags, object{"key": c.form.Get("Tag." + itoa(i) + ".Key"), "value": c.form.Get("Tag." + itoa(i) + ".Value")})
		}
		rec.request = object{"resourcesSet": items(ids), "tagSet": items(tags)}
		rec.response = object{"requestId": rec.id, "_return": true}
	case "TagResources":
		var in struct {
			ResourceARNList []string
			Tags            map[string]string
		}
		_ = json.Unmarshal(c.body, &in) // it was read before
		rec.request = object{"resourceARNList": in.ResourceARNList, "tags": in.Tags}
		rec.response = object{"failedResourcesMap": object{}}
		for _, arn := range in.ResourceARNList {
			a.logForwarded(c, arn, in.Tags)
		}
	}
	a.log(rec, a.visibility(), false)
}

// logForwarded is the record of the owning service, which TagResources calls for us.
func (a *AWS) logForwarded(c *call, arn string, tags map[string]string) {
	r := a.byARN[arn]
	if r == nil || r.denyAction == "" {
		return
	}
	prefix, op, _ := strings.Cut(r.denyAction, ":")
	a.log(apiCall{
		scope: c.scope, id: a.uuid(), at: c.now, source: prefix + ".amazonaws.com", name: op, who: a.caller(c).On("tagging.amazonaws.com"),
		request: object{"resourceArn": arn, "tags": tags},
	}, a.visibility(), false)
}

func items(of []object) object {
	if len(of) == 0 {
		return object{}
	}
	return object{"items": of}
}

// uuid is a random UUID by the seed.
func (a *AWS) uuid() string {
	hi, lo := a.rng.Uint64(), a.rng.Uint64()
	return fmt.Sprintf("%08x-%04x-4%03x-%04x-%012x", hi>>32, hi>>16&0xffff, hi&0xfff, lo>>48&0x3fff|0x8000, lo&0xffffffffffff)
}

// hexID is an EC2 id: the prefix, 0 and 16 hex digits.
func (a *AWS) hexID(prefix string) string { return fmt.Sprintf("%s-0%016x", prefix, a.rng.Uint64()) }

// letters is n random lower-case letters and digits.
func (a *AWS) letters(n int) string {
	b := make([]byte, (n+1)/2)
	for i := range b {
		b[i] = byte(a.rng.Uint32())
	}
	return hex.EncodeToString(b)[:n]
}
