package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// remote is how the commands that work on a server find it, and who they are.
type remote struct {
	Server    string `help:"Address of the server." default:"http://127.0.0.1:8888" placeholder:"URL"`
	Token     string `help:"API token. Others on this machine may see it on a command line: rather set the variable, or name a file." placeholder:"TOKEN"`
	TokenFile string `help:"File with the API token, readable by you alone (mode 0600). Default: cellar/token in your folder of settings." placeholder:"FILE"`
	JSON      bool   `name:"json" help:"Print what the server answers, as JSON."`
}

// inProject is remote for what belongs to a project.
type inProject struct {
	remote
	Project string `help:"ID of the project." required:"" short:"p" placeholder:"ID"`
}

// maxAnswer bounds what is read of an answer in bytes: a call's outputs and some
// more.
const maxAnswer = 32 << 20

// secret is the token, from wherever it was given.
func (r remote) secret() (string, error) {
	if r.Token != "" {
		return r.Token, nil
	}
	name := r.TokenFile
	if name == "" {
		dir, err := os.UserConfigDir()
		if err != nil {
			return "", errors.New("no token: give --token-file, or set CELLAR_TOKEN")
		}
		name = filepath.Join(dir, "cellar", "token")
	}
	st, err := os.Stat(name)
	if errors.Is(err, os.ErrNotExist) && r.TokenFile == "" {
		return "", fmt.Errorf("no token: set CELLAR_TOKEN, give --token-file, or put one into %s (an administrator makes one with: cellar token)", name)
	}
	if err != nil {
		return "", err
	}
	if st.Mode().Perm()&0o077 != 0 {
		return "", fmt.Errorf("%s can be read by others: chmod 600 %s", name, name)
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return "", err
	}
	if token := strings.TrimSpace(string(b)); token != "" {
		return token, nil
	}
	return "", fmt.Errorf("%s is empty", name)
}

// problem is what the server says of a request that failed.
type problem struct {
	Status    int      `json:"status"`
	Title     string   `json:"title"`
	Detail    string   `json:"detail"`
	Code      string   `json:"code"`
	ID        string   `json:"id"`
	Traceback []string `json:"traceback"`
}

// Error implements error.
func (p *problem) Error() string {
	text := p.Detail
	if text == "" {
		text = p.Title
	}
	for _, line := range p.Traceback {
		text += "\n  " + line
	}
	if p.Code != "" {
		text += " (" + p.Code + ")"
	}
	return text
}

// send makes one request with a token or key and returns the answer's body.
func (r remote) send(ctx context.Context, secret, method, path string, body any, header http.Header) ([]byte, error) {
	var content io.Reader
	switch b := body.(type) {
	case nil:
	case []byte:
		content = bytes.NewReader(b)
	default:
		encoded, err := json.Marshal(b)
		if err != nil {
			return nil, err
		}
		content = bytes.NewReader(encoded)
	}
	req, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(r.Server, "/")+path, content)
	if err != nil {
		return nil, err
	}
	for name, values := range header {
		req.Header[name] = values
	}
	req.Header.Set("Authorization", "Bearer "+secret)
	req.Header.Set("Content-Type", "application/json")
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }} // a token goes where it was meant to go
	res, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("the server does not answer: %w", err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("the answer broke off: %w", err)
	}
	if res.StatusCode >= 300 {
		p := &problem{}
		if json.Unmarshal(answer, p) != nil || p.Status == 0 {
			return nil, fmt.Errorf("the server answers %s", res.Status)
		}
		return nil, p
	}
	return answer, nil
}

// do asks the API; out, if there is one, gets the answer.
func (r remote) do(ctx context.Context, method, path string, in, out any) ([]byte, error) {
	token, err := r.secret()
	if err != nil {
		return nil, err
	}
	answer, err := r.send(ctx, token, method, "/api/v1"+path, in, nil)
	if err != nil || out == nil || len(answer) == 0 {
		return answer, err
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return nil, fmt.Errorf("the server's answer cannot be read: %w", err)
	}
	return answer, nil
}

type operation struct {
	ID       string          `json:"id"`
	Done     bool            `json:"done"`
	Message  string          `json:"message"`
	Error    *problem        `json:"error"`
	Response json.RawMessage `json:"response"`
}

// begin starts an operation and waits for its end. Who interrupts the command
// cancels the operation.
func (r remote) begin(ctx context.Context, method, path string, in, out any) ([]byte, error) {
	var o operation
	if _, err := r.do(ctx, method, path, in, &o); err != nil {
		return nil, err
	}
	return r.await(ctx, o, out)
}

// await waits for the end of an operation that was begun.
func (r remote) await(ctx context.Context, o operation, out any) ([]byte, error) {
	said := ""
	for !o.Done {
		if o.Message != said && !r.JSON {
			said = o.Message
			fmt.Fprintln(os.Stderr, said+" …")
		}
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			_, err := r.do(last, http.MethodDelete, "/operations/"+o.ID, nil, nil)
			return nil, errors.Join(errors.New("cancelled"), err)
		case <-time.After(150 * time.Millisecond):
		}
		if _, err := r.do(ctx, http.MethodGet, "/operations/"+o.ID, nil, &o); err != nil && ctx.Err() == nil {
			return nil, err
		}
	}
	if o.Error != nil {
		return nil, o.Error
	}
	if out != nil {
		return o.Response, json.Unmarshal(o.Response, out)
	}
	return o.Response, nil
}

// at is the address of something in the project.
func (r inProject) at(kind string, names ...string) string {
	path := "/projects/" + url.PathEscape(r.Project) + "/" + kind
	for _, n := range names {
		path += "/" + url.PathEscape(n)
	}
	return path
}

// print writes the server's JSON, if that was asked for, else what text writes.
func (r remote) print(w io.Writer, raw []byte, text func()) error {
	if !r.JSON {
		text()
		return nil
	}
	var b bytes.Buffer
	if err := json.Indent(&b, raw, "", "  "); err != nil {
		return err
	}
	_, err := fmt.Fprintln(w, b.String())
	return err
}
