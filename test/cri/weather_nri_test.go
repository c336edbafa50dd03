package cri_test

import (
	"os"
	"slices"
	"testing"
)

func TestPluginsConnectWhenTheirSocketWasRemoved(t *testing.T) {
	a := start(t)
	before := &plugin{}
	before.connect(t, a, "10")
	emptied(t, a.dir+"/run")
	a.logs("the socket of NRI was gone")
	eventually(t, "a socket for plugins", func() bool {
		_, err := os.Lstat(a.nriSocket())
		return err == nil
	})
	after := &plugin{}
	after.connect(t, a, "20")
	a.serves()
	b := a.anew()
	b.hostPod("p")
	for name, p := range map[string]*plugin{"connected before": before, "connected after": after} {
		eventually(t, "the plugin that was "+name+" to hear of the pod", func() bool { return slices.Contains(p.events(), "run p") })
	}
}
