package launch

import "github.com/siflet/siflet/runtime/linux"

// labelled adds the SELinux label of all that will be in a new file system to its
// options.
func (s *stage) labelled(options []string) []string {
	if s.p.Root.Label == "" {
		return options
	}
	return append(options, "context="+s.p.Root.Label)
}

// label labels the root of a file system that several containers share and that
// can't be mounted with the label of one.
func (s *stage) label(tree int) error {
	if s.p.Root.Label == "" {
		return nil
	}
	return linux.SetLabel(tree, s.p.Root.Label)
}

// newMount makes a file system that the kernel keeps in memory.
func (s *stage) newMount(fs string, options []string, a linux.Attr) (int, error) {
	if fs == "tmpfs" || fs == "devpts" {
		options = s.labelled(options)
	}
	tree, err := linux.NewMount(fs, options, a)
	if err != nil || fs != "mqueue" {
		return tree, err
	}
	return tree, s.label(tree)
}
