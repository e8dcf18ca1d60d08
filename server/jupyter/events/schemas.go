package events

import (
	"slices"

	"cellar/internal/fault"
)

// The schemas of Jupyter Server that are registered here.
const (
	ContentsService = "https://events.jupyter.org/jupyter_server/contents_service/v1"
	KernelActions   = "https://events.jupyter.org/jupyter_server/kernel_actions/v1"
)

// schema is what an event by that ID must be.
type schema struct {
	version string
	check   func(data map[string]any) error
}

var schemas = map[string]schema{
	ContentsService: {"1", func(data map[string]any) error {
		if err := oneOf(data, "action", true, "get", "create", "save", "upload", "rename", "copy", "delete"); err != nil {
			return err
		}
		return texts(data, []string{"path"}, []string{"source_path"})
	}},
	KernelActions: {"1", func(data map[string]any) error {
		if err := oneOf(data, "action", true, "start", "interrupt", "shutdown", "restart"); err != nil {
			return err
		}
		if err := oneOf(data, "status", false, "error", "success"); err != nil {
			return err
		}
		if code, there := data["status_code"]; there {
			if _, is := code.(float64); !is {
				return fault.New(fault.Invalid, "event_data", "status_code is to be a number.")
			}
		}
		// Only a kernel that did not start may have no ID.
		must, may := []string{"msg", "kernel_id"}, []string{"kernel_name"}
		if status := data["status"]; data["action"] == "start" && (status == nil || status == "error") {
			must, may = must[:1], append(may, "kernel_id")
		}
		return texts(data, must, may)
	}},
}

func texts(data map[string]any, must, may []string) error {
	for _, key := range slices.Concat(must, may) {
		value, there := data[key]
		if !there && slices.Contains(must, key) {
			return fault.Newf(fault.Invalid, "event_data", "The event's data lack %s.", key)
		}
		if _, is := value.(string); there && !is {
			return fault.Newf(fault.Invalid, "event_data", "%s is to be a string.", key)
		}
	}
	return nil
}

func oneOf(data map[string]any, key string, must bool, values ...string) error {
	value, there := data[key]
	if !there && !must {
		return nil
	}
	if text, is := value.(string); is && slices.Contains(values, text) {
		return nil
	}
	return fault.Newf(fault.Invalid, "event_data", "%s is to be one of %v.", key, values)
}
