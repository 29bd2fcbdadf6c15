package tagger

import (
	"slices"
	"time"

	"github.com/autotagd/autotagd/pkg/event"
	"github.com/autotagd/autotagd/pkg/resource"
)

// relieve makes room for new events, or for the backlog, in a Scope that is full: an action that fails, or that gets more than
// AWS lets through, is to hold up no other. It takes the first of three ways that does something.
func (t *Tagger) relieve(scope event.Scope, backlog bool) {
	failing := func(g *group) bool { return g.failures >= relieveAt } // one failure may be a hiccup
	_ = t.putOffEarly(scope, failing, false) || !backlog && t.putBack(scope) || t.putOffEarly(scope, t.slow, true)
}

// putOffEarly defers the Jobs of some groups early; of those that work, only so many: better to wait than to be missed for
// want of room. It reports whether there were any.
func (t *Tagger) putOffEarly(scope event.Scope, some func(*group) bool, work bool) bool {
	now, did := time.Now(), false
	for k, g := range t.groups {
		if k.scope != scope || !some(g) {
			continue
		}
		for tk := range g.members {
			if !work || tk.stored || g.stored < hardStored/2 {
				did = t.putOff(tk, now) || did
			}
		}
	}
	return did
}

// slow reports whether throttles have left little of the rate of one of the calls that the group's Jobs take.
func (t *Tagger) slow(g *group) bool {
	return slices.ContainsFunc(t.callsOf(g), func(api resource.TagAPI) bool {
		l := t.limiters[laneKey{g.place, api}]
		return l != nil && l.slow()
	})
}

// callsOf returns the calls that the group's Jobs take.
func (t *Tagger) callsOf(g *group) []resource.TagAPI {
	calls := []resource.TagAPI{g.api}
	switch g.api {
	case resource.EC2CreateTags:
		calls = append(calls, describeTags)
	case resource.TagResources:
		calls = append(calls, getResources)
	case describeVolumes:
		calls = append(calls, describeInstances)
	}
	for tk := range g.members { // of one action, and so of one service
		switch call := tk.job.Resource.OwnCall(); {
		case call != nil && readsAlone(tk.job.Resource):
			calls = append(calls, call.Read)
		case call != nil && g.api.Own():
			calls = append(calls, getResources)
		}
		break
	}
	return calls
}
