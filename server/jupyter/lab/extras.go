package lab

import "net/http"

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
