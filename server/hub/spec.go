package hub

import (
	"slices"
	"strconv"
	"strings"

	"cellar/kernel/language"
	"cellar/kernel/packages"
)

// Image is a kernel image and the kernels it holds.
type Image struct {
	Name  string // the operator's, for what needs to be told apart
	Ref   string // in the machine's store, with the digest: name:tag@sha256:...
	Specs []KernelSpec
	// Languages is what it holds of what language servers need.
	Languages language.Place
	Packages  packages.Set
}

// KernelSpec is a kernel that an image offers.
type KernelSpec struct {
	Name                                 string // as offered
	Own                                  string // as in its image; Name differs where an earlier image has it
	From                                 string // the image's name
	Image                                string // the image's reference
	DisplayName, Language, InterruptMode string
	Dir                                  string // of its kernel.json, in the image
	Argv                                 []string
	Env                                  map[string]string
	Metadata                             map[string]any
	Resources                            map[string][]byte
}

// offer brings the kernels of all images together. The first image keeps its
// names, so that adding one changes nothing for the notebooks there are.
func offer(images []Image) map[string]KernelSpec {
	out := map[string]KernelSpec{}
	for _, image := range images {
		for _, s := range image.Specs {
			s.Own, s.From, s.Image = s.Name, image.Name, image.Ref
			if _, taken := out[s.Name]; taken {
				s.Name = s.suffixed()
				s.DisplayName += ", " + image.Name
			}
			for n := 2; ; n++ {
				if _, taken := out[s.Name]; !taken {
					break
				}
				s.Name = s.suffixed() + "-" + strconv.Itoa(n)
			}
			out[s.Name] = s
		}
	}
	return out
}

// suffixed is the name of a kernel whose own name an earlier image has.
func (s KernelSpec) suffixed() string { return s.Own + "-" + s.From }

// defaultSpec is what starts when nobody says which: Python, of the first image.
func defaultSpec(images []Image, specs map[string]KernelSpec) string {
	if len(images) == 0 || len(images[0].Specs) == 0 {
		return ""
	}
	first := images[0].Specs
	if slices.ContainsFunc(first, func(s KernelSpec) bool { return s.Name == "python3" }) {
		return "python3"
	}
	return specs[first[0].Name].Name
}

// specFor is the kernelspec of a kernel on record. Its name alone could find
// another image's: names change when images are given in another order. And its
// image alone may be gone: one that was built anew has another digest.
func (h *Hub) specFor(k Kernel) (best KernelSpec, ok bool) {
	rank := 0
	for _, s := range h.specs {
		r := s.fits(k)
		if r > rank || r > 0 && r == rank && s.Name < best.Name { // one image by two names: always the same of them
			best, rank = s, r
		}
	}
	return best, rank > 0
}

// fits says how well s describes k: 0 means not at all.
func (s KernelSpec) fits(k Kernel) int {
	named := s.Name == k.Spec
	if !named && s.Own != k.Spec && s.suffixed() != k.Spec {
		return 0
	}
	rank := 0
	if named {
		rank = 1
	}
	tag, _, _ := strings.Cut(s.Image, "@")
	switch {
	case s.Image == k.Image:
		rank += 4
	case strings.HasPrefix(k.Image, tag+"@"):
		rank += 2
	}
	return rank
}
