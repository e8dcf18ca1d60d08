package contents

// Notebooks of format 3 (2012 to 2014) are brought into format 4 as they are read, as Jupyter does; a save then
// writes format 4.

// upgradeFrom3 changes a parsed notebook of format 3 in place.
func upgradeFrom3(nb *value) {
	cells := value{kind: kindArray}
	for _, sheet := range nb.get("worksheets").items() {
		for _, cell := range sheet.get("cells").items() {
			if cell.is(kindObject) {
				upgradeCell(&cell)
			}
			cells.kids = append(cells.kids, cell)
		}
	}
	nb.drop("worksheets")
	nb.set("cells", cells)
	ensure(nb, "metadata", kindObject).drop("name") // the file's name is the notebook's now
	nb.set("nbformat", value{kind: kindNumber, text: []byte("4")})
	nb.set("nbformat_minor", value{kind: kindNumber, text: []byte("5")})
}

// items are an array's items; nothing else has any.
func (v *value) items() []value {
	if !v.is(kindArray) {
		return nil
	}
	v.takeApart()
	return v.kids
}

// move gives a member another name, where it is there.
func (v *value) move(from, to string) {
	if m := v.get(from); m != nil {
		moved := *m
		moved.key = nil
		v.drop(from)
		v.set(to, moved)
	}
}

func upgradeCell(cell *value) {
	ensure(cell, "metadata", kindObject)
	switch kind := cell.get("cell_type").str(); kind {
	case "code":
		cell.move("input", "source")
		cell.move("prompt_number", "execution_count")
		cell.move("collapsed", "was collapsed")
		if c := cell.get("was collapsed"); c.is(kindLiteral) {
			cell.get("metadata").set("collapsed", value{kind: kindLiteral, text: c.text})
		}
		cell.drop("was collapsed")
		cell.drop("language")
		outputs := cell.get("outputs").items()
		for i := range outputs {
			if outputs[i].is(kindObject) {
				upgradeOutput(&outputs[i])
			}
		}
	case "html":
		cell.set("cell_type", text("markdown"))
	case "heading":
		upgradeHeading(cell)
	}
}

func text(s string) value { return value{kind: kindString, text: []byte(s)} }

// upgradeHeading makes a heading cell a line of Markdown.
func upgradeHeading(cell *value) {
	level := 1
	if n := numberText(cell.get("level")); len(n) == 1 && n >= "1" && n <= "6" {
		level = int(n[0] - '0')
	}
	join(cell.get("source"))
	marks := []byte("###### ")[6-level:]
	var line []byte
	if s := cell.get("source"); s.is(kindString) {
		s.settle()
		line = s.text
	}
	cell.drop("level")
	cell.set("cell_type", text("markdown"))
	cell.set("source", value{kind: kindString, text: append(append([]byte(nil), marks...), line...)})
}

// mimesOf3 are the short names that format 3 had for what an output shows.
var mimesOf3 = []struct{ short, mime string }{
	{"text", "text/plain"}, {"html", "text/html"}, {"svg", "image/svg+xml"}, {"png", "image/png"}, {"jpeg", "image/jpeg"},
	{"latex", "text/latex"}, {"json", "application/json"}, {"javascript", "application/javascript"},
}

func upgradeOutput(out *value) {
	switch out.get("output_type").str() {
	case "pyerr":
		out.set("output_type", text("error"))
		return
	case "stream":
		out.move("stream", "name")
		if out.get("name") == nil {
			out.set("name", text("stdout"))
		}
		return
	case "pyout":
		out.set("output_type", text("execute_result"))
		out.move("prompt_number", "execution_count")
	}
	ensure(out, "metadata", kindObject)
	data := value{kind: kindObject}
	for _, m := range mimesOf3 {
		if v := out.get(m.short); v != nil {
			shown := *v
			shown.key = nil
			out.drop(m.short)
			data.set(m.mime, shown)
		}
	}
	out.set("data", data)
}
