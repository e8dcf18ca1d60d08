// Command ociwrite wraps one root file system tar as an OCI image layout in a tar.
// It does not know how the root file system was made, nor who will read the image.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "ociwrite:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	flags := flag.NewFlagSet("ociwrite", flag.ContinueOnError)
	layer := flags.String("layer", "", "uncompressed tar of the root file system")
	config := flags.String("config", "", "JSON file with the image's config section (Env, User, WorkingDir, Labels ...)")
	name := flags.String("name", "", "reference name, such as cellar/base:1")
	arch := flags.String("arch", "amd64", "architecture as OCI names it")
	out := flags.String("out", "", "the tar to write")
	if err := flags.Parse(args); err != nil {
		return err
	}
	for flag, value := range map[string]string{"layer": *layer, "config": *config, "name": *name, "out": *out} {
		if value == "" {
			return fmt.Errorf("-%s is missing", flag)
		}
	}
	section, err := os.ReadFile(*config)
	if err != nil {
		return err
	}
	in, err := os.Open(*layer)
	if err != nil {
		return err
	}
	defer in.Close()
	return replace(*out, func(w io.Writer) error {
		return Write(w, in, Image{Name: *name, Architecture: *arch, Config: section, CreatedBy: "cellar " + strings.SplitN(*name, ":", 2)[0]})
	})
}

// replace writes a file beside path and renames it over path once all of it is there.
func replace(path string, write func(io.Writer) error) (err error) {
	temporary := path + ".new"
	f, err := os.Create(temporary)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(temporary)
		}
	}()
	if err := write(f); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(temporary, path)
}
