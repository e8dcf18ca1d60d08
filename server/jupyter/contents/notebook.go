package contents

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
	"strings"

	"cellar/internal/fault"
)

// A notebook has two forms, both JSON. On disk it is as nbformat writes it: lines in lists, names
// sorted, nothing transient. In memory, which is what clients get and send, every text is one string.

// NewNotebook is an empty notebook in its form in memory.
const NewNotebook = `{"cells":[],"metadata":{},"nbformat":4,"nbformat_minor":5}`

// parseNotebook reads either form and answers the form in memory.
func parseNotebook(in []byte) (value, error) {
	v, err := parse(in)
	if err != nil {
		code := "notebook_unreadable"
		if fault.CodeOf(err) == "too_large" {
			code = "too_large"
		}
		return value{}, fault.Wrap(fault.ClassOf(err), code,
			"The notebook cannot be read. "+fault.Sentence(err), err)
	}
	return v, toMemory(&v)
}

// toMemory checks a parsed notebook and brings it into its form in memory.
func toMemory(nb *value) error {
	minor, err := version(nb)
	if err != nil {
		return err
	}
	ensure(nb, "metadata", kindObject)
	ensure(nb, "cells", kindArray)
	cells := nb.get("cells").kids
	if len(cells) > maxCells {
		return fault.Newf(fault.Exhausted, "too_large", "The notebook has %d cells; %d are the most that can be opened.", len(cells), maxCells)
	}
	for i := range cells {
		if !cells[i].is(kindObject) {
			return fault.Newf(fault.Invalid, "notebook_unreadable",
				"The notebook cannot be read. Its cell %d is not an object.", i+1)
		}
		joinCell(&cells[i])
	}
	if minor >= 5 {
		nameCells(cells)
	}
	return nil
}

// version answers the minor number of a notebook of format 4.
func version(nb *value) (minor int, err error) {
	format := nb.get("nbformat")
	major, err := strconv.Atoi(numberText(format))
	if err != nil {
		return 0, fault.New(fault.Invalid, "notebook_unreadable",
			"The notebook cannot be read. It is JSON, but has no notebook format number (nbformat).")
	}
	if major == 3 {
		upgradeFrom3(nb)
		return 5, nil
	}
	if major != 4 {
		return 0, fault.Newf(fault.Unsupported, "notebook_version",
			"The notebook is of format %d; only formats 3 and 4 can be opened. `jupyter nbconvert --to notebook` converts it.", major)
	}
	minor, err = strconv.Atoi(numberText(nb.get("nbformat_minor")))
	if err != nil {
		nb.set("nbformat_minor", value{kind: kindNumber, text: []byte("0")})
		minor = 0
	}
	return minor, nil
}

func numberText(v *value) string {
	if !v.is(kindNumber) {
		return ""
	}
	return string(v.text)
}

// ensure gives an object a member of a kind, empty, where it has none: clients do not look twice.
func ensure(v *value, name string, kind byte) *value {
	if m := v.get(name); m.is(kind) {
		m.takeApart()
		return m
	}
	v.set(name, value{kind: kind})
	return v.get(name)
}

func joinCell(cell *value) {
	ensure(cell, "metadata", kindObject)
	join(cell.get("source"))
	ensure(cell, "source", kindString)
	eachMember(cell.get("attachments"), joinBundle)
	if cell.get("cell_type").str() != "code" {
		return
	}
	ensure(cell, "outputs", kindArray)
	if cell.get("execution_count") == nil {
		cell.set("execution_count", literal("null"))
	}
	outputs := cell.get("outputs").kids
	for i := range outputs {
		switch outputs[i].get("output_type").str() {
		case "execute_result", "display_data":
			joinBundle(outputs[i].get("data"))
		default:
			join(outputs[i].get("text"))
		}
	}
}

func eachMember(v *value, do func(*value)) {
	if v.is(kindObject) {
		for i := range v.kids {
			do(&v.kids[i])
		}
	}
}

// joinBundle joins the texts of a MIME bundle. A list under a JSON type is data, not lines.
func joinBundle(bundle *value) {
	eachMember(bundle, func(m *value) {
		if !isJSONType(string(m.key)) {
			join(m)
		}
	})
}

func isJSONType(mime string) bool {
	return mime == "application/json" || strings.HasPrefix(mime, "application/") && strings.HasSuffix(mime, "+json")
}

// join makes one string of a list of strings; anything else stays as it is.
func join(v *value) {
	if !v.is(kindArray) {
		return
	}
	if v.kind == kindLines {
		v.kind = kindJoined
		return
	}
	size := 0
	for i := range v.kids {
		if v.kids[i].kind != kindString {
			return
		}
		size += len(v.kids[i].text)
	}
	text := make([]byte, 0, size)
	for i := range v.kids {
		text = append(text, v.kids[i].text...)
	}
	*v = value{kind: kindString, key: v.key, text: text}
}

// nameCells gives an ID to each cell without one and to each whose ID is taken. The ID follows from
// the cell's text and place, so that two loads of one file agree: the hub's and the browser's.
func nameCells(cells []value) {
	taken := make(map[string]bool, len(cells))
	for i := range cells {
		id := cells[i].get("id").str()
		for n := 0; !validID(id) || taken[id]; n++ {
			sum := sha256.Sum256([]byte(strconv.Itoa(i) + "/" + strconv.Itoa(n) + "/" + cells[i].get("source").str()))
			id = hex.EncodeToString(sum[:4])
		}
		taken[id] = true
		cells[i].set("id", value{kind: kindString, text: []byte(id)})
	}
}

// validID follows nbformat 4.5: 1 to 64 of letters, digits, - and _.
func validID(id string) bool {
	if id == "" || len(id) > 64 {
		return false
	}
	for _, c := range []byte(id) {
		if !(c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z' || c == '-' || c == '_') {
			return false
		}
	}
	return true
}

// diskForm encodes a notebook in memory as nbformat writes it. It takes nb apart: do not use it after.
func diskForm(nb *value) []byte {
	meta := nb.get("metadata")
	for _, transient := range []string{"signature", "orig_nbformat", "orig_nbformat_minor"} {
		meta.drop(transient)
	}
	cells := nb.get("cells").kids
	for i := range cells {
		cells[i].get("metadata").drop("trusted")
		splitCell(&cells[i])
	}
	return append(nb.appendIndented(make([]byte, 0, nb.weight()), 0), '\n')
}

func splitCell(cell *value) {
	split(cell.get("source"))
	eachMember(cell.get("attachments"), splitBundle)
	if cell.get("cell_type").str() != "code" {
		return
	}
	outputs := cell.get("outputs").kids
	for i := range outputs {
		switch outputs[i].get("output_type").str() {
		case "execute_result", "display_data":
			splitBundle(outputs[i].get("data"))
		case "stream":
			split(outputs[i].get("text"))
		}
	}
}

func splitBundle(bundle *value) {
	eachMember(bundle, func(m *value) {
		if mime := string(m.key); strings.HasPrefix(mime, "text/") || mime == "application/javascript" || mime == "image/svg+xml" {
			split(m)
		}
	})
}

func split(v *value) {
	if v.is(kindString) {
		v.settle()
		v.kind = kindSplit
	}
}
