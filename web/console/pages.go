package console

import (
	"net/http"
	"strings"
)

// Home shows the projects.
func (c *Console) Home(w http.ResponseWriter, _ *http.Request, p Page) {
	c.render(w, http.StatusOK, "home", view{Page: p, Title: "Projects", Section: "projects", Module: "home"})
}

// Project shows one project: its kernels, checkpoints and nodes.
func (c *Console) Project(w http.ResponseWriter, _ *http.Request, p Page, info ProjectInfo) {
	if info.Name == "" {
		info.Name = info.ID
	}
	c.render(w, http.StatusOK, "project", view{Page: p, Title: info.Name, Section: "projects", Module: "project", Project: info})
}

// Node shows one node of a project: its last hour, revisions, aliases and keys.
func (c *Console) Node(w http.ResponseWriter, _ *http.Request, p Page, project ProjectInfo, node NodeInfo) {
	if project.Name == "" {
		project.Name = project.ID
	}
	c.render(w, http.StatusOK, "node", view{Page: p, Title: node.Name, Section: "projects", Module: "node", Project: project, Node: node})
}

// Sessions shows the kernels of all projects that the person may open.
func (c *Console) Sessions(w http.ResponseWriter, _ *http.Request, p Page) {
	c.render(w, http.StatusOK, "sessions", view{Page: p, Title: "Sessions", Section: "sessions", Module: "sessions"})
}

// Account shows the person's password and API tokens.
func (c *Console) Account(w http.ResponseWriter, _ *http.Request, p Page) {
	c.render(w, http.StatusOK, "account", view{Page: p, Title: "Account", Section: "account", Module: "account"})
}

// People shows who has an account; for administrators.
func (c *Console) People(w http.ResponseWriter, _ *http.Request, p Page) {
	c.render(w, http.StatusOK, "people", view{Page: p, Title: "People", Section: "people", Module: "people"})
}

// Usage shows what compute has cost the person; an administrator, what it cost everybody.
func (c *Console) Usage(w http.ResponseWriter, _ *http.Request, p Page) {
	c.render(w, http.StatusOK, "usage", view{Page: p, Title: "Usage", Section: "usage", Module: "usage"})
}

// Machine shows the configurations and what the doctor finds; for administrators.
func (c *Console) Machine(w http.ResponseWriter, _ *http.Request, p Page) {
	c.render(w, http.StatusOK, "machine", view{Page: p, Title: "Machine", Section: "machine", Module: "machine"})
}

// Shared shows a notebook that somebody shares, in a frame that has no part in this page's origin.
func (c *Console) Shared(w http.ResponseWriter, _ *http.Request, p Page, s SharedInfo) {
	module := ""
	if p.Person != nil {
		module = "shared"
	}
	c.render(w, http.StatusOK, "shared", view{Page: p, Title: s.Name, Module: module, Bare: true, Shared: s})
}

// NotShared says that a link shows nothing to whoever opens it, in the same words whatever the reason.
// Who is not signed in is offered to, and comes back to next.
func (c *Console) NotShared(w http.ResponseWriter, _ *http.Request, p Page, detail, next string) {
	c.render(w, http.StatusNotFound, "notshared", view{Page: p, Title: "Nothing here", Detail: detail, Bare: true, Next: local(p.Base, next)})
}

// SignIn asks for name and password. The form goes to {base}/signin by POST with name,
// password, next and _xsrf. Message, when there is one, says why the last attempt failed.
func (c *Console) SignIn(w http.ResponseWriter, _ *http.Request, p Page, next, message string, status int) {
	p.Person = nil
	c.render(w, status, "signin", view{Page: p, Title: "Sign in", Next: local(p.Base, next), Message: message})
}

// FirstPassword welcomes a person who came without a password and offers to keep one. The form
// goes to {base}/account/password by POST with password, again and _xsrf.
func (c *Console) FirstPassword(w http.ResponseWriter, _ *http.Request, p Page, message string) {
	status := http.StatusOK
	if message != "" {
		status = http.StatusUnprocessableEntity
	}
	c.render(w, status, "firstpassword", view{Page: p, Title: "Welcome", Module: "firstpassword", Message: message})
}

// Error tells a person what went wrong; id, when there is one, is also in the log.
func (c *Console) Error(w http.ResponseWriter, _ *http.Request, p Page, status int, title, detail, id string) {
	if title == "" {
		title = http.StatusText(status)
	}
	c.render(w, status, "error", view{Page: p, Title: title, Detail: detail, ID: id, Status: status})
}

// local keeps next only when it is a path of this server: a sign-in page must not send people
// elsewhere, not even through a hub that forgets to look.
func local(base, next string) string {
	if !strings.HasPrefix(next, "/") || strings.HasPrefix(next, "//") || strings.ContainsAny(next, "\\\r\n\t") {
		return base + "/"
	}
	return next
}
