package event

import "strings"

// Tags returns the tags at p that were given at creation; nil if there are none. Whatever form a service uses is read:
// lists of {key, value}, {Key, Value}, {tagKey, tagValue}, plain maps, and these inside items, member or a tag
// specification. Of a key that comes twice the first is taken. Keys or values that AWS has hidden are left out, so the
// absence of a tag proves nothing.
func (r *Record) Tags(p Path) map[string]string {
	for _, names := range p.alternatives {
		tags := map[string]string{}
		for _, v := range r.at(names) {
			collectTags(tags, v, 0)
		}
		if len(tags) > 0 {
			return tags
		}
	}
	return nil
}

// maxTagDepth bounds how deep tags may lie in wrappings; AWS uses two.
const maxTagDepth = 4

// collectTags adds the tags in v, an object.
func collectTags(tags map[string]string, v value, depth int) {
	if depth > maxTagDepth || !v.is('{') {
		return
	}
	if key, val, ok := tagPair(v); ok {
		addTag(tags, key, val)
		return
	}
	wrapped := false
	for name, inner := range v.members() {
		if (inner.is('{') || inner.is('[')) && wrapsTags(name) {
			wrapped = true
			for element := range inner.elements() {
				collectTags(tags, element, depth+1)
			}
		}
	}
	if wrapped {
		return
	}
	for name, inner := range v.members() {
		if val, ok := inner.scalar(); ok {
			addTag(tags, name, val)
		}
	}
}

func wrapsTags(name string) bool {
	switch lower(name) {
	case "items", "item", "member", "entry", "tag", "tags", "tagset", "taglist":
		return true
	}
	return false
}

// tagPair reads {key, value} in its spellings. A tag may lack its value, but then nothing else may be there that would
// make it a plain map, nor may it have a key that is no text.
func tagPair(v value) (key, val string, ok bool) {
	var hasKey, hasValue bool
	others := 0
	for name, inner := range v.members() {
		switch lower(name) {
		case "key", "tagkey":
			if s, isText := inner.scalar(); isText && !hasKey {
				key, hasKey = s, true
			} else if !inner.isNull() {
				key, hasKey = hidden, true
			}
		case "value", "tagvalue":
			hasValue = true
			if s, isText := inner.scalar(); isText {
				val = s
			} else if !inner.isNull() {
				val = hidden
			}
		case "tag", "xmlns", "propagateatlaunch", "resourceid", "resourcetype":
		default:
			others++
		}
	}
	return key, val, hasKey && (hasValue || others == 0)
}

func addTag(tags map[string]string, key, val string) {
	if key == "" || key == hidden || val == hidden {
		return
	}
	key, val = strings.ToValidUTF8(key, "\uFFFD"), strings.ToValidUTF8(val, "\uFFFD")
	if _, ok := tags[key]; !ok {
		tags[key] = val
	}
}
