package cri

import (
	"strconv"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	criapi "k8s.io/cri-api/pkg/apis/runtime/v1"
)

func TestPartsOfAListFitIntoMessages(t *testing.T) {
	for name, c := range map[string]struct{ count, size, parts int }{
		"none": {0, 0, 0}, "small": {250, 10, 3}, "large": {200, 250_000, 13}, "larger than a part": {3, 5 << 20, 3},
	} {
		var list []*criapi.PodSandbox
		for n := range c.count {
			list = append(list, &criapi.PodSandbox{
				Id: strconv.Itoa(n), Annotations: map[string]string{"a": strings.Repeat("x", c.size)},
			})
		}
		parts, seen := 0, 0
		err := inParts(list, func(part []*criapi.PodSandbox) error {
			parts++
			for _, pod := range part {
				if pod.Id != strconv.Itoa(seen) {
					t.Fatalf("%s: pod %s comes in the place of %d", name, pod.Id, seen)
				}
				seen++
			}
			if size := proto.Size(&criapi.StreamPodSandboxesResponse{PodSandboxes: part}); size > 8<<20 {
				t.Errorf("%s: a part of %d has %d bytes", name, len(part), size)
			}
			return nil
		})
		if err != nil || parts != c.parts || seen != c.count {
			t.Errorf("%s: %d parts with %d pods, %v; want %d with %d", name, parts, seen, err, c.parts, c.count)
		}
	}
}
