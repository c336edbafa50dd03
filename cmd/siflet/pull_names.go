package main

import (
	"net/url"
	"path"
	"path/filepath"
	"strings"

	"github.com/siflet/siflet/runtime/source"
)

// places finds the image and the output in what was called with.
func (o *pullOptions) places(args []string) (uri, output string, err error) {
	uri = args[0]
	if len(args) == 2 {
		if uri, output, err = imageAndOutput(args[0], args[1]); err != nil {
			return "", "", err
		}
	}
	if o.name != "" {
		if output != "" {
			return "", "", usageError{text: "--name and an output contradict each other: give one of them"}
		}
		output = o.name
	}
	if output == "" {
		suffix := ".sif"
		if o.oci {
			suffix = ".oci.sif"
		}
		if output = defaultOutput(uri, suffix); output == "" {
			return "", "", usageError{text: "no name for the output can be made of " + source.Shown(uri) + ": give one"}
		}
	}
	return uri, filepath.Join(o.dir, output), nil
}

// imageAndOutput tells which is which: the image has a scheme or, if there is
// none, does not end in .sif; else it comes last, as in Singularity.
func imageAndOutput(a, b string) (uri, output string, err error) {
	isURI := func(arg string) bool {
		scheme, _, ok := source.Scheme(arg)
		return ok && scheme != "" || strings.Contains(arg, "://")
	}
	isFile := func(arg string) bool { return strings.HasSuffix(arg, ".sif") }
	switch {
	case isURI(a) && isURI(b):
		return "", "", usageError{text: "two images are given: " + source.Shown(a) + " and " + source.Shown(b) + "; want one and a file to write it to"}
	case isURI(a), !isURI(b) && isFile(b) && !isFile(a):
		return a, b, nil
	default:
		return b, a, nil
	}
}

// defaultOutput makes a file name of an image's, as Singularity does:
// docker://a/b:1 becomes b_1.sif. It is empty where there is nothing to take.
func defaultOutput(uri, suffix string) string {
	scheme, _, _ := source.Scheme(uri)
	if scheme == "http" || scheme == "https" {
		address, err := url.Parse(uri)
		if err != nil {
			return ""
		}
		return fileName(path.Base(address.Path))
	}
	_, rest, _ := source.Scheme(source.Shown(uri))
	name := fileName(path.Base(rest))
	if name == "" {
		return ""
	}
	name, tag, ok := strings.Cut(name, ":")
	if !ok {
		tag = "latest"
	}
	tag, _, _ = strings.Cut(tag, ",")
	return name + "_" + tag + suffix
}

// fileName is the text if it can be a file's name.
func fileName(text string) string {
	if text == "" || text == "." || text == ".." || strings.ContainsAny(text, "/\x00") {
		return ""
	}
	return text
}
