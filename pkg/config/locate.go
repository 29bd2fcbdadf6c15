package config

import "go.yaml.in/yaml/v4"

// locate returns where in the file the character at offset of n's value stands, whatever the value's quotes and folds are. It
// follows text and value side by side; where they part, which no form of a scalar should do, it is the value's beginning.
func locate(lines []string, n *yaml.Node, offset int) place {
	start := place{n.Line, n.Column}
	if n.Kind != yaml.ScalarNode || offset < 0 {
		return start
	}
	c := cursor{lines: lines, line: n.Line - 1, style: n.Style}
	c.enter()
	c.column = n.Column - 1
	switch {
	case n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0:
		c.nextLine()
	case n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0:
		c.column++
	}
	for i, r := range []rune(n.Value) {
		c.settle(r)
		if i == offset {
			return c.place()
		}
		if !c.pass(r) {
			return start
		}
	}
	return c.place()
}

// cursor is a place in the file's text.
type cursor struct {
	lines        []string
	style        yaml.Style
	line, column int // from 0
	text         []rune
	folded       int // line breaks of a fold in double quotes that was gone over, still to come in the value
}

func (c *cursor) enter() {
	c.text = nil
	if c.line >= 0 && c.line < len(c.lines) {
		c.text = []rune(c.lines[c.line])
	}
	if len(c.text) > 0 && c.text[len(c.text)-1] == '\r' {
		c.text = c.text[:len(c.text)-1]
	}
}

func (c *cursor) place() place { return place{c.line + 1, c.column + 1} }

func (c *cursor) atEnd() bool { return c.column >= len(c.text) }

// nextLine goes to the first character of the next line that isn't indentation.
func (c *cursor) nextLine() bool {
	if c.line++; c.line >= len(c.lines) {
		return false
	}
	c.enter()
	for c.column = 0; !c.atEnd() && blank(c.text[c.column]); c.column++ {
	}
	return true
}

// settle goes over folds to where r stands, if r is no space itself.
func (c *cursor) settle(r rune) {
	if blank(r) || r == '\n' {
		return
	}
	for {
		at := c.column
		for !c.atEnd() && blank(c.text[c.column]) {
			c.column++
		}
		if !c.atEnd() && !c.joined() {
			return
		}
		if !c.nextLine() {
			c.column = at
			return
		}
	}
}

// joined reports whether the line ends here, with a backslash that joins it to the next.
func (c *cursor) joined() bool {
	return c.style&yaml.DoubleQuotedStyle != 0 && c.column == len(c.text)-1 && c.text[c.column] == '\\'
}

// pass goes over what stands for r in the text.
func (c *cursor) pass(r rune) bool {
	if c.style&yaml.DoubleQuotedStyle != 0 && (blank(r) || r == '\n') {
		return c.passSpace(r)
	}
	switch {
	case c.style&yaml.DoubleQuotedStyle != 0 && !c.atEnd() && c.text[c.column] == '\\':
		return c.escape()
	case r == '\n':
		c.nextLine()
		return true
	case blank(r):
		// Indentation that a block keeps was skipped with the rest of it, and a fold is gone over when a character follows.
		if !c.atEnd() && blank(c.text[c.column]) {
			c.column++
		}
		return true
	case c.style&yaml.SingleQuotedStyle != 0 && r == '\'':
		c.column++
	}
	found := !c.atEnd() && c.text[c.column] == r
	c.column++
	return found
}

// passSpace is pass in double quotes, where a line break may stand in a fold or be escaped, and a fold has a line break less than lines end in it.
func (c *cursor) passSpace(r rune) bool {
	if c.folded > 0 && r == '\n' {
		c.folded--
		return true
	}
	for c.joined() {
		c.nextLine()
	}
	if !c.onlyBlank() {
		if c.text[c.column] == '\\' {
			return c.escape()
		}
		c.column++
		return blank(r)
	}
	breaks := 0
	for more := true; more && c.onlyBlank(); breaks++ {
		more = c.nextLine()
	}
	c.folded = max(breaks-2, 0)
	return true
}

// onlyBlank reports whether the rest of the line is blank.
func (c *cursor) onlyBlank() bool {
	for i := c.column; i < len(c.text); i++ {
		if !blank(c.text[i]) {
			return false
		}
	}
	return true
}

// escape goes over an escape of a double-quoted scalar.
func (c *cursor) escape() bool {
	if c.column+1 >= len(c.text) {
		return false
	}
	digits := map[rune]int{'x': 2, 'u': 4, 'U': 8}[c.text[c.column+1]]
	c.column += 2 + digits
	return true
}

func blank(r rune) bool { return r == ' ' || r == '\t' }
