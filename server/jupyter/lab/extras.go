package lab

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"io/fs"
	"net/http"
	"strings"

	"cellar/internal/fault"
)

// translations: the languages there are, or one language's texts. English is in the code itself.
func (l *lab) translations(w http.ResponseWriter, _ *http.Request, locale string) error {
	data := map[string]any{}
	if locale == "" {
		data["en"] = map[string]string{"displayName": "English", "nativeName": "English"}
	}
	return answer(w, http.StatusOK, map[string]any{"data": data, "message": ""})
}

// listings: which extensions may be installed from the browser. None can, so no lists.
func (l *lab) listings(w http.ResponseWriter, _ *http.Request, _ string) error {
	none := []any{}
	return answer(w, http.StatusOK, map[string]any{
		"blocked_extensions_uris": none, "allowed_extensions_uris": none,
		"blocked_extensions": none, "allowed_extensions": none,
	})
}

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

// readLicenses answers {bundles: {name: {packages}}}. The build may bring just the packages, or nothing.
func readLicenses(build fs.FS) ([]byte, error) {
	data, err := readBuilt(build, "licenses.json")
	if fault.ClassOf(err) == fault.NotFound || errors.Is(err, fs.ErrNotExist) {
		return []byte(`{"bundles":{}}`), nil
	}
	if err != nil {
		return nil, err
	}
	var file struct {
		Bundles  map[string]bundle `json:"bundles"`
		Packages []pack            `json:"packages"`
	}
	if err := json.Unmarshal(data, &file); err != nil {
		return nil, err
	}
	if file.Bundles == nil {
		file.Bundles = map[string]bundle{"@jupyterlab/application-top": {file.Packages}}
	}
	return json.Marshal(map[string]any{"bundles": file.Bundles})
}

func (l *lab) licensesRoute(w http.ResponseWriter, r *http.Request, _ string) error {
	q := r.URL.Query()
	format, ending := q.Get("format"), "json"
	if format == "csv" || format == "markdown" {
		ending = map[string]string{"csv": "csv", "markdown": "md"}[format]
	}
	if q.Get("download") != "" {
		w.Header().Set("Content-Disposition", `attachment; filename="licenses.`+ending+`"`)
	}
	if ending == "json" {
		return writeJSON(w, http.StatusOK, l.licenses)
	}
	var file struct{ Bundles map[string]bundle }
	if err := json.Unmarshal(l.licenses, &file); err != nil {
		return err
	}
	if ending == "csv" {
		return licensesCSV(w, file.Bundles)
	}
	w.Header().Set("Content-Type", "text/markdown; charset=utf-8")
	var b strings.Builder
	for name, one := range file.Bundles {
		b.WriteString("# " + name + "\n\n")
		for _, p := range one.Packages {
			b.WriteString("## " + p.Name + " " + p.VersionInfo + "\n\n" + p.LicenseID + "\n\n")
		}
	}
	_, _ = w.Write([]byte(b.String()))
	return nil
}

func licensesCSV(w http.ResponseWriter, bundles map[string]bundle) error {
	w.Header().Set("Content-Type", "text/csv; charset=utf-8")
	out := csv.NewWriter(w)
	_ = out.Write([]string{"name", "versionInfo", "licenseId", "bundle"})
	for name, one := range bundles {
		for _, p := range one.Packages {
			_ = out.Write([]string{p.Name, p.VersionInfo, p.LicenseID, name})
		}
	}
	out.Flush()
	return nil
}
