package lab

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"cellar/internal/fault"
)

// pack is one package that the build holds.
type pack struct {
	Name          string `json:"name"`
	VersionInfo   string `json:"versionInfo"`
	LicenseID     string `json:"licenseId"`
	ExtractedText string `json:"extractedText"`
}

type bundle struct {
	Packages []pack `json:"packages"`
}

type bundles map[string]bundle

// readLicenses reads {bundles: {name: {packages}}}. The build may bring just the packages, or nothing.
func readLicenses(build fs.FS) (bundles, error) {
	data, err := readBuilt(build, "licenses.json")
	if fault.ClassOf(err) == fault.NotFound || errors.Is(err, fs.ErrNotExist) {
		return bundles{}, nil
	}
	if err != nil {
		return nil, err
	}
	var file struct {
		Bundles  bundles `json:"bundles"`
		Packages []pack  `json:"packages"`
	}
	if err := json.Unmarshal(data, &file); err != nil {
		return nil, err
	}
	if file.Bundles == nil {
		file.Bundles = bundles{"@jupyterlab/application-top": {file.Packages}}
	}
	return file.Bundles, nil
}

// licensesRoute answers the licences of what the page is made of, to be looked at or (download) to be kept:
// then under the name that jupyter_server gives, which scripts may look for.
func (l *lab) licensesRoute(w http.ResponseWriter, r *http.Request, _ string) error {
	q := r.URL.Query()
	chosen, err := l.licenses.matching(q.Get("bundles"))
	if err != nil {
		return err
	}
	text, kind, ending := "", "", ""
	switch format := q.Get("format"); format {
	case "", "json":
		data, err := json.Marshal(map[string]any{"bundles": chosen})
		if err != nil {
			return err
		}
		text, kind, ending = string(data), "application/json", "json"
	case "csv":
		text, kind, ending = chosen.csv(), "text/csv; charset=utf-8", "csv"
	case "markdown":
		text, kind, ending = chosen.markdown(asked(q, "full_text", true)), "text/markdown; charset=utf-8", "md"
	default:
		return fault.New(fault.Invalid, "bad_format", "The licenses come as json, csv or markdown.")
	}
	w.Header().Set("Content-Type", kind)
	if asked(q, "download", false) {
		w.Header().Set("Content-Disposition", `attachment; filename="jupyterlab-licenses.`+ending+`"`)
	}
	_, _ = w.Write([]byte(text))
	return nil
}

// asked reads a yes or no as jupyter_server writes them: true, 1, false, 0.
func asked(q url.Values, name string, otherwise bool) bool {
	if !q.Has(name) {
		return otherwise
	}
	value := q.Get(name)
	return value != "" && value != "0" && value != "false"
}

// matching are the bundles whose names begin with a match of the pattern; no pattern is all of them.
func (b bundles) matching(pattern string) (bundles, error) {
	match, err := regexp.Compile("^(?:" + pattern + ")")
	if err != nil {
		return nil, fault.Wrap(fault.Invalid, "bad_pattern", "What bundles says is not a regular expression.", err)
	}
	out := bundles{}
	for name, one := range b {
		if match.MatchString(name) {
			out[name] = one
		}
	}
	return out, nil
}

func (b bundles) csv() string {
	var text strings.Builder
	out := csv.NewWriter(&text)
	_ = out.Write([]string{"bundle", "name", "versionInfo", "licenseId", "extractedText"})
	for _, name := range slices.Sorted(maps.Keys(b)) {
		for _, p := range b[name].Packages {
			_ = out.Write([]string{name, p.Name, p.VersionInfo, p.LicenseID, p.ExtractedText})
		}
	}
	out.Flush()
	return text.String()
}

// markdown has the licences' texts in it when full is said: a page of some hundred packages is long.
func (b bundles) markdown(full bool) string {
	var out strings.Builder
	for _, name := range slices.Sorted(maps.Keys(b)) {
		fmt.Fprintf(&out, "# %s\n\n", name)
		for _, p := range b[name].Packages {
			fmt.Fprintf(&out, "## %s `%s` %s\n\n", p.Name, p.VersionInfo, p.LicenseID)
			switch {
			case full && p.ExtractedText == "":
				out.WriteString("> No license text available\n\n")
			case full:
				out.WriteString(indented(p.ExtractedText) + "\n\n")
			}
		}
	}
	return out.String()
}

// indented is a block of code: nothing in it is taken for Markdown.
func indented(text string) string {
	return "    " + strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\n    ")
}
