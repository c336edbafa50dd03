package source

import (
	goruntime "runtime"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sys/cpu"
)

// platforms are those whose images run here, the best first. arch is a GOARCH
// name; empty is this machine's. An image for the plain architecture goes before one for a
// newer processor, so that all nodes of a cluster have the same.
func platforms(arch string) []v1.Platform {
	level := 4
	if arch == "" || arch == goruntime.GOARCH {
		arch, level = goruntime.GOARCH, amd64Level()
	}
	var found []v1.Platform
	add := func(arch string, variants ...string) {
		for _, variant := range variants {
			found = append(found, v1.Platform{OS: "linux", Architecture: arch, Variant: variant})
		}
	}
	switch arch {
	case "amd64":
		add("amd64", []string{"", "v2", "v3", "v4"}[:level]...)
		add("386", "")
	case "arm64":
		add("arm64", "")
		add("arm", "v8", "v7", "v6", "v5")
	case "arm":
		add("arm", "v7", "v6", "v5")
	default:
		add(arch, "")
	}
	return found
}

// amd64Level is the x86-64 level of this machine's processor.
func amd64Level() int {
	x := &cpu.X86
	v2 := x.HasCX16 && x.HasLAHF && x.HasPOPCNT && x.HasSSE3 && x.HasSSSE3 && x.HasSSE41 && x.HasSSE42
	v3 := v2 && x.HasAVX && x.HasAVX2 && x.HasBMI1 && x.HasBMI2 && x.HasF16C && x.HasFMA && x.HasLZCNT && x.HasMOVBE && x.HasOSXSAVE
	v4 := v3 && x.HasAVX512F && x.HasAVX512BW && x.HasAVX512CD && x.HasAVX512DQ && x.HasAVX512VL
	switch {
	case v4:
		return 4
	case v3:
		return 3
	case v2:
		return 2
	}
	return 1
}

// rank is the place of p among those wanted, or -1.
func rank(wanted []v1.Platform, p v1.Platform) int {
	p = normal(p)
	return slices.IndexFunc(wanted, func(w v1.Platform) bool {
		return w.OS == p.OS && w.Architecture == p.Architecture && w.Variant == p.Variant
	})
}

// normal spells a platform the one way: by GOOS and GOARCH names, without the
// variant that its architecture implies.
func normal(p v1.Platform) v1.Platform {
	os, arch, variant := strings.ToLower(p.OS), strings.ToLower(p.Architecture), strings.ToLower(p.Variant)
	switch arch {
	case "x86_64", "x86-64":
		arch = "amd64"
	case "aarch64":
		arch = "arm64"
	case "armhf":
		arch, variant = "arm", "v7"
	case "armel":
		arch, variant = "arm", "v6"
	case "i386":
		arch = "386"
	}
	if variant != "" && variant[0] >= '0' && variant[0] <= '9' {
		variant = "v" + variant
	}
	switch {
	case arch == "amd64" && variant == "v1", arch == "arm64" && (variant == "v8" || variant == "v8.0"), arch == "386":
		variant = ""
	case arch == "arm" && variant == "":
		variant = "v7"
	}
	return v1.Platform{OS: os, Architecture: arch, Variant: variant}
}

// spelled is a platform for people.
func spelled(p v1.Platform) string {
	text := p.OS + "/" + p.Architecture
	if p.Variant != "" {
		text += "/" + p.Variant
	}
	if p.OSVersion != "" {
		text += " " + p.OSVersion
	}
	return text
}
