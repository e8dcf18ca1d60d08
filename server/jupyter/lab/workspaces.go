package lab

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"os"

	"cellar/internal/fault"
)

const (
	workspacesFolder = "workspaces"
	workspacesEnding = ".jupyterlab-workspace"
)

// workspace is the layout of one window: which documents are open and where.
type workspace struct {
	Data     json.RawMessage   `json:"data"`
	Metadata workspaceMetadata `json:"metadata"`
}

type workspaceMetadata struct {
	ID       string `json:"id"`
	Modified string `json:"last_modified,omitempty"`
	Created  string `json:"created,omitempty"`
}

// workspaceFile is made of a hash: people name workspaces as they like, at any length.
func workspaceFile(id string) string {
	sum := sha256.Sum256([]byte(id))
	return hex.EncodeToString(sum[:16]) + workspacesEnding
}

func (l *lab) workspacesRoute(w http.ResponseWriter, r *http.Request, id string) error {
	root, err := l.Store(r)
	if err != nil {
		return err
	}
	switch {
	case id == "" && (r.Method == http.MethodGet || r.Method == http.MethodHead):
		return allWorkspaces(w, root)
	case id == "":
		return fault.New(fault.Invalid, "no_id", "Which workspace?")
	case r.Method == http.MethodPut:
		return putWorkspace(w, r, root, id)
	case r.Method == http.MethodDelete:
		if err := root.Remove(workspacesFolder + "/" + workspaceFile(id)); err != nil {
			return fault.Wrap(fault.NotFound, "no_such_workspace", "There is no workspace "+id+".", err)
		}
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	own, err := find(root, workspacesFolder, workspaceFile(id))
	if err != nil {
		return err
	}
	one, err := readWorkspace(own)
	if err != nil || own.data == nil { // nobody made it yet: an empty one is what the browser wants
		one = workspace{Data: json.RawMessage("{}"), Metadata: workspaceMetadata{ID: id}}
	}
	return answer(w, http.StatusOK, one)
}

func readWorkspace(own kept) (one workspace, err error) {
	if err = json.Unmarshal(own.data, &one); err == nil {
		one.Metadata.Modified, one.Metadata.Created = stamp(own.changed), stamp(own.changed)
	}
	return one, err
}

func allWorkspaces(w http.ResponseWriter, root *os.Root) error {
	names, err := keptNames(root, workspacesFolder)
	if err != nil {
		return fault.Wrap(fault.Internal, "not_readable", "The workspaces could not be read.", err)
	}
	ids, values := []string{}, []workspace{}
	for _, name := range names {
		own, err := find(root, workspacesFolder, name)
		if err != nil {
			return err
		}
		one, err := readWorkspace(own)
		if err != nil {
			continue // deleted meanwhile, or not ours
		}
		ids, values = append(ids, one.Metadata.ID), append(values, one)
	}
	return answer(w, http.StatusOK, map[string]any{"workspaces": map[string]any{"ids": ids, "values": values}})
}

func putWorkspace(w http.ResponseWriter, r *http.Request, root *os.Root, id string) error {
	data, err := body(w, r)
	if err != nil {
		return err
	}
	var in workspace
	if err := json.Unmarshal(data, &in); err != nil || in.Data == nil || in.Data[0] != '{' {
		return fault.Wrap(fault.Invalid, "bad_workspace", "A workspace is an object with data and metadata.", orNull(err))
	}
	if in.Metadata.ID != id {
		return fault.Newf(fault.Invalid, "other_id", "The workspace is for %q, the address says %q.", in.Metadata.ID, id)
	}
	out, err := json.Marshal(workspace{Data: in.Data, Metadata: workspaceMetadata{ID: id}})
	if err != nil {
		return err
	}
	if err := keep(root, workspacesFolder, workspaceFile(id), out); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
