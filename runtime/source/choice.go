package source

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/siflet/siflet/runtime/registry"
)

// splitChoice splits "FILE", "FILE:TAG", "FILE:NAME:TAG", "FILE:@N" and
// "FILE@sha256:..." where FILE may have colons itself: the shortest that there is counts,
// unless the whole is there.
func splitChoice(text string) (name, choice string, err error) {
	if text == "" {
		return "", "", fmt.Errorf("%w: no path", registry.ErrReference)
	}
	if _, err := os.Stat(text); err == nil {
		return text, "", nil
	}
	first := ""
	for i, r := range text {
		digest := r == '@' && strings.HasPrefix(text[i:], "@sha256:")
		if i == 0 || r != ':' && !digest {
			continue
		}
		rest := text[i:]
		if !digest {
			rest = rest[1:]
		}
		if first == "" {
			first = text[:i]
		}
		if _, err := os.Stat(text[:i]); err == nil {
			if rest == "" {
				return "", "", fmt.Errorf("%w: nothing after the colon of %s", registry.ErrReference, text)
			}
			return text[:i], rest, nil
		}
	}
	if first == "" {
		first = text
	}
	_, err = os.Stat(first)
	return "", "", err
}

// held is an image in an archive or layout and the names it has there.
type held struct {
	names  []string
	digest v1.Hash
}

// chosen are the images that a choice means: all if it is empty.
func chosen(images []held, choice string) []int {
	means := func(match func(i int) bool) []int {
		var found []int
		for i := range images {
			if match(i) {
				found = append(found, i)
			}
		}
		return found
	}
	if choice == "" {
		return means(func(int) bool { return true })
	}
	if digest, ok := strings.CutPrefix(choice, "@"); ok {
		if n, err := strconv.Atoi(digest); err == nil {
			return means(func(i int) bool { return i == n })
		}
		return means(func(i int) bool { return images[i].digest.String() == digest })
	}
	for _, like := range []func(name string) bool{
		func(name string) bool { return name == choice },
		func(name string) bool { return canonical(name) == canonical(choice) },
		func(name string) bool { return tagOf(name) == choice },
	} {
		if found := means(func(i int) bool { return slices.ContainsFunc(images[i].names, like) }); found != nil {
			return found
		}
	}
	return nil
}

// canonical is a name in full, or as it is if it can't be one. A bare tag, which
// layouts have for names, is none.
func canonical(name string) string {
	ref, err := registry.ParseReference(name)
	if err != nil {
		return name
	}
	return ref.String()
}

func isFullName(name string) bool { return strings.ContainsAny(name, ":/") }

func tagOf(name string) string {
	if !isFullName(name) {
		return name
	}
	ref, err := registry.ParseReference(name)
	if err != nil {
		return ""
	}
	return ref.Tag
}

// tags are the names that are canonical or can be made so.
func tags(names []string) []string {
	var found []string
	for _, name := range names {
		ref, err := registry.ParseReference(name)
		if err == nil && isFullName(name) && !slices.Contains(found, ref.String()) {
			found = append(found, ref.String())
		}
	}
	return found
}

// choices lists images for someone to choose from.
func choices(images []held) string {
	var list []string
	for i, image := range images {
		list = append(list, ":@"+strconv.Itoa(i))
		if len(image.names) > 0 {
			list[i] = ":" + strings.Join(image.names, ", :")
		}
		if i == 31 {
			list = append(list, "…")
			break
		}
	}
	return strings.Join(list, ", ")
}

func notChosen(images []held, choice string) error {
	what := "there is no " + choice
	if choice == "" {
		what = "there is no image"
	}
	if len(images) == 0 {
		return kindOf(registry.ErrNotFound, "%s", what)
	}
	return kindOf(registry.ErrNotFound, "%s: append one of %s", what, choices(images))
}

func ambiguous(images []held) error {
	return fmt.Errorf("%w: several images: append one of %s", registry.ErrReference, choices(images))
}
